package reports

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// cell makes a worksheet's cell of a column's value. Only strings, numbers and
// dates come out of it: no text can become a formula.
func (b *book) cell(k table.Kind, value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case table.Unknown:
		return excelize.Cell{StyleID: b.styles.absent, Value: "unknown"}
	case table.Never:
		return excelize.Cell{StyleID: b.styles.absent, Value: "never"}
	case table.Instant:
		return excelize.Cell{StyleID: b.styles.kinds[k], Value: time.UnixMilli(int64(v)).UTC()}
	case int, int64:
		return excelize.Cell{StyleID: b.styles.kinds[k], Value: v}
	case bool:
		return excelize.Cell{StyleID: b.styles.kinds[k], Value: yesNo(v)}
	case engine.Severity:
		return excelize.Cell{StyleID: b.styles.severity[v], Value: engine.Defuse(string(v))}
	case engine.Status:
		return excelize.Cell{StyleID: b.styles.status[v], Value: engine.Defuse(string(v))}
	case engine.ControlStatus:
		return excelize.Cell{StyleID: b.styles.control[v], Value: controlWord(v)}
	case []string:
		return b.textCell(k, engine.Defuse(strings.Join(v, ", ")))
	case table.Lines:
		return b.textCell(k, strings.Join(table.Map(v, engine.Defuse), "\n"))
	}
	return b.textCell(k, engine.Defuse(fmt.Sprint(value)))
}

// textCell makes a cell of harmless text. An empty text makes a cell as well:
// it keeps the long id before it from running over.
func (b *book) textCell(k table.Kind, text string) any {
	shown, cut := cutCell(text)
	if cut {
		b.cut++
	}
	return excelize.Cell{StyleID: b.styles.kinds[k], Value: shown}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// What a cell of Excel holds.
const (
	cellUnits     = 32_767 // UTF-16 units
	cellLineFeeds = 253
)

// cutCell cuts text where Excel, or worse excelize without a word, would, and
// says in the cell how much is missing.
func cutCell(text string) (shown string, cut bool) {
	if len(text) <= cellUnits && strings.Count(text, "\n") <= cellLineFeeds {
		return text, false
	}
	fits := prefixThatFits(text, cellUnits)
	if fits == len(text) {
		return text, false
	}
	fits = prefixThatFits(text, cellUnits-len(cutMark)-20) // room for the mark and its number
	return text[:fits] + fmt.Sprintf(cutMark, utf8.RuneCountInString(text[fits:])), true
}

const cutMark = "…[cut, %d characters more]"

// prefixThatFits is the length of the longest beginning within the limits.
func prefixThatFits(text string, units int) int {
	feeds := cellLineFeeds
	for i, r := range text {
		units -= utf16.RuneLen(r)
		if r == '\n' {
			feeds--
		}
		if units < 0 || feeds < 0 {
			return i
		}
	}
	return len(text)
}
