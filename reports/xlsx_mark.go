package reports

import (
	"fmt"

	"github.com/xuri/excelize/v2"
)

// mark is what stands out in a column: numbers of a range, or a word. Excel
// takes any text for more than any number, so that a range has two ends.
type mark struct{ least, most, word string }

// marks are what a reader of tokens and waivers looks for, by heading. The
// platform revokes tokens at 90 idle days; two weeks are enough to renew one.
func marks() map[string]mark {
	return map[string]mark{
		"Idle days":       {least: "90", most: "999999"},
		"Expires in days": {least: "-999999", most: "14"},
		"Never expires":   {word: "yes"},
		"Expires soon":    {word: "yes"},
		"Days left":       {least: "-999999", most: "14"},
		"All data read":   {word: "no"},
	}
}

// mark adds the conditions to the columns of a worksheet that have them.
func (s *sheet) mark() error {
	if s.row < 2 {
		return nil
	}
	known := marks()
	for i, heading := range s.headings {
		m, ok := known[heading]
		if !ok {
			continue
		}
		column, err := excelize.ColumnNumberToName(i + 1)
		if err != nil {
			return err
		}
		if err := s.book.condition(s.tab(), fmt.Sprintf("%s2:%s%d", column, column, s.row), m); err != nil {
			return err
		}
	}
	return nil
}

// condition marks the cells of a range. Blank ones count as 0 and are let be.
func (b *book) condition(tab, cells string, m mark) error {
	rule := excelize.ConditionalFormatOptions{Type: "cell", Criteria: "between", MinValue: m.least, MaxValue: m.most, Format: &b.styles.warning}
	if m.word != "" {
		rule = excelize.ConditionalFormatOptions{Type: "cell", Criteria: "==", Value: `"` + m.word + `"`, Format: &b.styles.warning}
	}
	blank := excelize.ConditionalFormatOptions{Type: "blanks", StopIfTrue: true, Format: &b.styles.none}
	return b.file.SetConditionalFormat(tab, cells, []excelize.ConditionalFormatOptions{blank, rule})
}
