package workbook

import (
	"cmp"
	"errors"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// styles are the ids of a workbook's cell styles.
type styles struct {
	kinds   [table.KindLeft + 1]int
	words   map[any]int // severities, statuses and states of controls that stand out
	header  int
	title   int
	bold    int
	absent  int // unknown, never
	link    int
	input   int
	bad     int
	unsure  int
	notable int // conditional
	none    int // conditional, changes nothing
}

// of is the style of a value that has one of its own, whatever its column.
func (s *styles) of(value any) (style int, ok bool) {
	switch v := value.(type) {
	case Title:
		return s.title, true
	case Header:
		return s.header, true
	case Label:
		return s.bold, true
	case ID:
		return s.kinds[table.KindID], true
	case Wrapped:
		return s.kinds[table.KindWrapped], true
	case Warning:
		return s.unsure, true
	case Failed:
		return s.bad, true
	case engine.Severity, engine.Status, engine.ControlStatus:
		style, ok = s.words[v]
	}
	return style, ok
}

// dateFormat is the only one that no country reads wrongly. All times are UTC.
const dateFormat = "yyyy-mm-dd hh:mm:ss"

func newStyles(file *excelize.File) (s styles, failure error) {
	made := func(id int, err error) int {
		failure = errors.Join(failure, err)
		return id
	}
	style := func(x excelize.Style) int {
		x.Alignment, x.Font = cmp.Or(x.Alignment, &excelize.Alignment{}), cmp.Or(x.Font, &excelize.Font{})
		x.Alignment.Vertical = "top"
		x.Font.Family, x.Font.Size = "Calibri", cmp.Or(x.Font.Size, 11)
		return made(file.NewStyle(&x))
	}
	fill := func(colour string) excelize.Fill {
		return excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{colour}}
	}
	filled := func(colour, text string) int {
		return style(excelize.Style{Font: &excelize.Font{Bold: true, Color: text}, Fill: fill(colour)})
	}
	wrap := &excelize.Alignment{WrapText: true}
	s.kinds = [...]int{
		table.KindPlain:   style(excelize.Style{}),
		table.KindWrapped: style(excelize.Style{Alignment: wrap}),
		table.KindID:      style(excelize.Style{NumFmt: 49}),                                                                // "@": stays text when edited
		table.KindNumber:  style(excelize.Style{NumFmt: 3, Alignment: &excelize.Alignment{Horizontal: "right", Indent: 1}}), // "#,##0"
		table.KindDate:    style(excelize.Style{CustomNumFmt: new(dateFormat), Alignment: &excelize.Alignment{Horizontal: "left"}}),
		table.KindLeft:    style(excelize.Style{NumFmt: 3, Alignment: &excelize.Alignment{Horizontal: "left"}}),
	}
	s.header = style(excelize.Style{Font: &excelize.Font{Bold: true, Color: "FFFFFF"}, Fill: fill("1F2937"), Alignment: wrap})
	s.title = style(excelize.Style{Font: &excelize.Font{Bold: true, Size: 16}})
	s.bold = style(excelize.Style{Font: &excelize.Font{Bold: true}})
	s.absent = style(excelize.Style{Font: &excelize.Font{Italic: true, Color: "595959"}})
	s.link = style(excelize.Style{Font: &excelize.Font{Color: "1D4ED8", Underline: "single"}, Alignment: wrap})
	// Colours have a contrast of at least 4.5 to 1, and the word stands in the
	// cell for those who do not see them.
	s.bad, s.unsure = filled("C2410C", "FFFFFF"), filled("EDE9FE", "000000")
	s.words = map[any]int{
		engine.Critical:          filled("7F1D1D", "FFFFFF"),
		engine.High:              s.bad,
		engine.Medium:            filled("FCD34D", "000000"),
		engine.Low:               filled("BFDBFE", "000000"),
		engine.Info:              filled("E5E7EB", "000000"),
		engine.Fail:              s.bold,
		engine.Unknown:           s.unsure,
		engine.Errored:           s.unsure,
		engine.ControlMet:        filled("BBF7D0", "000000"),
		engine.ControlNotMet:     s.bad,
		engine.ControlIncomplete: s.unsure,
	}
	// Cells to fill in are text, so that nothing typed into them becomes a formula
	// or a number.
	s.input = style(excelize.Style{
		NumFmt: 49, Protection: &excelize.Protection{Locked: false}, Alignment: wrap, Fill: fill("FEF9C3"),
		Border: []excelize.Border{{Type: "bottom", Color: "D1D5DB", Style: 1}, {Type: "right", Color: "D1D5DB", Style: 1}},
	})
	s.notable = made(file.NewConditionalStyle(&excelize.Style{Font: &excelize.Font{Bold: true, Color: "7C2D12"}, Fill: fill("FFEDD5")}))
	s.none = made(file.NewConditionalStyle(&excelize.Style{}))
	return s, failure
}
