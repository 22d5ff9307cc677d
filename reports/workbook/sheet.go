package workbook

import (
	"context"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// Sheet is a table on worksheets of its own: on further ones of the same name with
// a number where its rows do not fit on one.
type Sheet[T any] struct {
	Name    string
	Columns []table.Column[T]
	Rows    iter.Seq2[T, error]
	// Choices make a form of it: the words to choose from in the second column.
	// All cells but those of value Input are locked against slips.
	Choices []string
}

// The values of cells are those of a table's columns and these, which say how
// they look.
type (
	Title   string // of a worksheet
	Header  string // above a column of a block
	Label   string // before a value
	ID      string // text even when it is all digits
	Left    int    // a number right beside its label
	Wrapped string
	Warning string   // something is not as it should be
	Failed  string   // something is bad
	Input   struct{} // to be filled in
	Link    struct {
		Value  any
		Target string // a Location; "" leads nowhere
	}
)

// Add writes a table.
func Add[T any](ctx context.Context, b *Book, t Sheet[T]) error {
	s := &sheet{book: b, name: t.Name, choices: t.Choices}
	for _, c := range t.Columns {
		s.headings = append(s.headings, c.Heading())
		s.widths = append(s.widths, c.Width)
	}
	if err := s.start(); err != nil {
		return err
	}
	err := table.Each(ctx, t.Rows, func(row T) error {
		if s.row > b.Rows {
			if err := s.end(); err != nil {
				return err
			}
			if err := s.start(); err != nil {
				return err
			}
			b.Split = append(b.Split, s.tab)
		}
		b.here = Location(s.tab, s.row+1)
		lines := 1
		for i, c := range t.Columns {
			text := s.cell(i, c.Kind, c.Value(row))
			if c.Kind == table.KindWrapped {
				lines = max(lines, linesIn(text, c.Width))
			}
		}
		return s.endRow(lines)
	})
	if err != nil {
		return err
	}
	return s.end()
}

// AddBlocks writes a worksheet of blocks of rows, an empty row after each, with
// columns of these widths. Only the last two columns wrap.
func (b *Book) AddBlocks(tab string, widths []float64, blocks ...[][]any) error {
	s := &sheet{book: b, name: tab, widths: widths}
	if err := s.start(); err != nil {
		return err
	}
	for _, block := range blocks {
		for _, row := range block {
			lines := 1
			if s.row == 0 {
				lines = 2 // the title
			}
			for i, value := range row {
				kind := table.KindPlain
				switch value.(type) {
				case int:
					kind = table.KindNumber
				case table.Instant:
					kind = table.KindDate
				}
				text := s.cell(i, kind, value)
				if i >= len(widths)-2 {
					lines = max(lines, linesIn(text, widths[i]))
				}
			}
			if err := s.endRow(lines); err != nil {
				return err
			}
		}
		s.row++
	}
	return s.end()
}

// sheet writes worksheets (ECMA-376 part 1, section 18.3) row by row.
type sheet struct {
	book     *Book
	name     string
	headings []string // none: no table
	widths   []float64
	choices  []string

	number int // of the worksheet, from 1
	tab    string
	row    int // last row written on it
	out    io.Writer
	cells  []byte   // of the next row
	text   []byte   // not yet written
	refs   []string // names of the columns
	links  []string // of this worksheet, as XML
}

// start begins the next worksheet, with its header where it is a table.
func (s *sheet) start() error {
	s.number++
	s.row, s.links, s.refs, s.tab = 0, nil, nil, s.name
	if s.number > 1 {
		s.tab = fmt.Sprintf("%s (%d)", s.name, s.number)
	}
	file := s.book.file
	index, err := file.NewSheet(s.tab)
	if err != nil {
		return err
	}
	err = file.SetDefinedName(&excelize.DefinedName{Name: "_xlnm.Print_Titles", RefersTo: fmt.Sprintf("'%s'!$1:$1", s.tab), Scope: s.tab})
	if err != nil {
		return err
	}
	for id, name := range file.GetSheetMap() {
		if name != s.tab {
			continue
		}
		if s.out, err = s.book.worksheet(fmt.Sprintf("xl/worksheets/sheet%d.xml", id)); err != nil {
			return err
		}
	}
	s.write(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>`, "\n",
		`<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetPr><pageSetUpPr fitToPage="1"/></sheetPr><sheetViews><sheetView workbookViewId="0"`)
	if index == 0 {
		s.write(` tabSelected="1"`)
	}
	s.write(`>`)
	if s.headings != nil { // which stay
		s.write(`<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/><selection pane="bottomLeft" activeCell="A2" sqref="A2"/>`)
	}
	s.write(`</sheetView></sheetViews><cols>`)
	for i, width := range s.widths {
		ref, err := excelize.ColumnNumberToName(i + 1)
		if err != nil {
			return err
		}
		s.refs = append(s.refs, ref)
		s.write(fmt.Sprintf(`<col min="%d" max="%d" width="%g" customWidth="1"/>`, i+1, i+1, width))
	}
	s.write(`</cols><sheetData>`)
	if s.headings == nil {
		return nil
	}
	lines := 1
	for i, heading := range s.headings {
		s.cell(i, table.KindPlain, Header(heading))
		lines = max(lines, linesIn(heading, s.widths[i]-3)) // the filter's button takes room
	}
	return s.endRow(lines)
}

func (s *sheet) write(texts ...string) {
	for _, text := range texts {
		s.text = append(s.text, text...)
	}
}

const (
	lineHeight = 15.0 // points
	highest    = 20   // lines: a cell's text may have thousands
)

// endRow writes the row of the cells. It says how high it is where it is higher
// than a line: not every spreadsheet finds the height of wrapped text when it
// opens a file.
func (s *sheet) endRow(lines int) error {
	s.row++
	s.text = append(s.text, `<row r="`...)
	s.text = strconv.AppendInt(s.text, int64(s.row), 10)
	if lines > 1 {
		s.write(fmt.Sprintf(`" ht="%g" customHeight="1`, lineHeight*float64(min(lines, highest))))
	}
	s.text = append(append(append(s.text, `">`...), s.cells...), `</row>`...)
	s.cells = s.cells[:0]
	if len(s.text) < 64<<10 {
		return nil
	}
	return s.flush()
}

func (s *sheet) flush() error {
	_, err := s.out.Write(s.text)
	s.text = s.text[:0]
	return err
}

// linesIn estimates the lines that a cell's text takes when it wraps.
func linesIn(text string, width float64) int {
	count := 0
	for line := range strings.SplitSeq(text, "\n") {
		count += 1 + int(float64(max(0, utf8.RuneCountInString(line)-1))/max(1, width))
	}
	return count
}

// mark is what stands out in a column: numbers of a range, or a word. Excel
// takes any text for more than any number, so that a range has two ends.
type mark struct{ least, most, word string }

// marks are what a reader of tokens and waivers looks for, by heading. The
// platform revokes tokens at 90 idle days; two weeks are enough to renew one.
var marks = map[string]mark{
	"Idle days":       {least: "90", most: "999999"},
	"Expires in days": {least: "-999999", most: "14"},
	"Never expires":   {word: "yes"},
	"Expires soon":    {word: "yes"},
	"Days left":       {least: "-999999", most: "14"},
	"All data read":   {word: "no"},
}

// end completes a worksheet: what is locked, the filter over all its rows, what
// stands out, what can be chosen, links, and how it looks on paper. The standard
// has them in this order.
func (s *sheet) end() error {
	s.write(`</sheetData>`)
	if s.choices != nil {
		s.write(`<sheetProtection sheet="1" objects="1" scenarios="1" formatCells="1" formatColumns="0" formatRows="0" insertColumns="1" insertRows="1" insertHyperlinks="1"`,
			` deleteColumns="1" deleteRows="1" selectLockedCells="0" sort="0" autoFilter="0" pivotTables="1" selectUnlockedCells="0"/>`)
	}
	if s.headings != nil {
		all := fmt.Sprintf("A1:%s%d", s.refs[len(s.refs)-1], s.row)
		if err := s.book.file.AutoFilter(s.tab, all, nil); err != nil { // for the hidden name that goes with it
			return err
		}
		s.write(`<autoFilter ref="`, all, `"/>`)
	}
	for i, heading := range s.headings {
		m, ok := marks[heading]
		if !ok || s.row < 2 {
			continue
		}
		ref, priority := s.refs[i], 2*i+1
		// Blank cells count as 0 and are let be.
		s.write(fmt.Sprintf(`<conditionalFormatting sqref="%s2:%s%d"><cfRule type="containsBlanks" dxfId="%d" priority="%d" stopIfTrue="1"><formula>LEN(TRIM(%s2))=0</formula></cfRule>`,
			ref, ref, s.row, s.book.styles.none, priority, ref))
		operator, formulas := "between", "<formula>"+m.least+"</formula><formula>"+m.most+"</formula>"
		if m.word != "" {
			operator, formulas = "equal", `<formula>"`+m.word+`"</formula>`
		}
		s.write(fmt.Sprintf(`<cfRule type="cellIs" dxfId="%d" priority="%d" operator="%s">%s</cfRule></conditionalFormatting>`, s.book.styles.notable, priority+1, operator, formulas))
	}
	if s.choices != nil {
		s.write(fmt.Sprintf(`<dataValidations count="1"><dataValidation type="list" errorStyle="stop" allowBlank="1" showErrorMessage="1" errorTitle="%s" error="Choose %s, or leave the cell empty." sqref="B2:B%d"><formula1>"%s"</formula1></dataValidation></dataValidations>`,
			s.headings[1], strings.Join(s.choices, ", "), max(2, s.row), strings.Join(s.choices, ",")))
	}
	if s.links != nil {
		s.write(`<hyperlinks>`)
		s.write(s.links...)
		s.write(`</hyperlinks>`)
	}
	total := 0.0
	for _, width := range s.widths {
		total += width
	}
	pages := 1 + int(total/250) // so many side by side keep columns legible
	s.write(fmt.Sprintf(`<pageSetup orientation="landscape" fitToWidth="%d" fitToHeight="0"/></worksheet>`, pages))
	return s.flush()
}

// cell adds a cell to the row and returns its text. Only strings, numbers and
// dates come out of it: no text can become a formula.
func (s *sheet) cell(column int, kind table.Kind, value any) (text string) {
	styles := &s.book.styles
	style := styles.kinds[kind]
	leads := false
	if link, ok := value.(Link); ok {
		value = link.Value
		if leads = link.Target != "" && len(s.links) < s.book.links; leads {
			s.links = append(s.links, fmt.Sprintf(`<hyperlink ref="%s%d" location="%s"/>`, s.refs[column], s.row+1, appendEscaped(nil, link.Target)))
		}
	}
	number := ""
	switch v := value.(type) {
	case nil:
		return ""
	case table.Unknown, table.Never:
		style, text = styles.absent, s.book.text(value)
	case table.Instant:
		text = v.Text()
		// A date is the days since the end of 1899, up to the year 9999.
		if days := 25_569 + float64(v)/86_400_000; days >= 1 && days < 2_958_466 {
			number = strconv.FormatFloat(days, 'f', -1, 64)
		}
	case Input:
		style = styles.input
	case int:
		number = strconv.Itoa(v)
	case int64:
		number = strconv.FormatInt(v, 10)
	case Left:
		style, number = styles.kinds[table.KindLeft], strconv.Itoa(int(v))
	default:
		if own, ok := styles.of(value); ok {
			style = own
		}
		text = s.book.text(value)
	}
	if leads {
		style = styles.link
	}
	s.cells = append(append(s.cells, `<c r="`...), s.refs[column]...)
	s.cells = strconv.AppendInt(s.cells, int64(s.row+1), 10)
	s.cells = append(s.cells, `" s="`...)
	s.cells = strconv.AppendInt(s.cells, int64(style), 10)
	if number != "" {
		s.cells = append(append(append(s.cells, `"><v>`...), number...), `</v></c>`...)
		return number
	}
	// An empty text makes a cell as well: it keeps the long id before it from
	// running over.
	s.cells = append(s.cells, `" t="inlineStr"><is><t`...)
	if text != strings.TrimSpace(text) {
		s.cells = append(s.cells, ` xml:space="preserve"`...)
	}
	s.cells = appendEscaped(append(s.cells, '>'), text)
	s.cells = append(s.cells, `</t></is></c>`...)
	return text
}

// text is the harmless text of a value, as far as it fits.
func (b *Book) text(value any) string {
	text := ""
	switch v := value.(type) {
	case string:
		text = engine.Defuse(v)
	case bool, table.Unknown, table.Never:
		return table.Print(v)
	case engine.ControlStatus:
		text = strings.ReplaceAll(string(v), "_", " ")
	case []string:
		text = engine.Defuse(strings.Join(v, ", "))
	case table.Lines:
		text = strings.Join(table.Map(v, engine.Defuse), "\n")
	default:
		text = engine.Defuse(fmt.Sprint(value))
	}
	shown, cut := cutCell(text)
	if cut {
		b.Cut++
	}
	return shown
}

// What a cell of Excel holds.
const (
	cellUnits     = 32_767 // UTF-16 units
	cellLineFeeds = 253
)

// cutCell cuts text where Excel would, and says in the cell how much is missing.
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

// codedCharacter is what a spreadsheet takes for the character of this number.
var codedCharacter = regexp.MustCompile(`_x[0-9A-Fa-f]{4}_`)

// appendEscaped appends text as XML. Harmless text has no character that XML does
// not know. A spreadsheet takes _x0041_ for A: such an underscore is written so
// itself.
func appendEscaped(b []byte, text string) []byte {
	from := 0
	for i := 0; i < len(text); i++ {
		code := ""
		switch text[i] {
		case '&':
			code = "&amp;"
		case '<':
			code = "&lt;"
		case '>':
			code = "&gt;"
		case '"':
			code = "&quot;"
		case '_':
			if len(text) >= i+7 && text[i+1] == 'x' && codedCharacter.MatchString(text[i:i+7]) {
				code = "_x005F_"
			}
		}
		if code != "" {
			b = append(append(b, text[from:i]...), code...)
			from = i + 1
		}
	}
	return append(b, text[from:]...)
}
