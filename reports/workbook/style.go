package workbook

import (
	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// styles are the ids of a workbook's cell styles.
type styles struct {
	kinds    [table.KindLeft + 1]int
	severity map[engine.Severity]int
	header   int
	title    int
	bold     int
	absent   int // unknown, never
	link     int
	input    int
	good     int
	unsure   int
	notable  int // conditional
	none     int // conditional, changes nothing
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
		return s.severity[engine.High], true
	case engine.Severity:
		style, ok = s.severity[v]
		return style, ok
	case engine.Status:
		switch v {
		case engine.Fail:
			return s.bold, true
		case engine.Unknown, engine.Errored:
			return s.unsure, true
		}
	case engine.ControlStatus:
		switch v {
		case engine.ControlMet:
			return s.good, true
		case engine.ControlNotMet:
			return s.severity[engine.High], true
		case engine.ControlIncomplete:
			return s.unsure, true
		}
	}
	return 0, false
}

// dateFormat is the only one that no country reads wrongly. All times are UTC.
const dateFormat = "yyyy-mm-dd hh:mm:ss"

func newStyles(file *excelize.File) (s styles, failure error) {
	style := func(x excelize.Style) int {
		if x.Alignment == nil {
			x.Alignment = &excelize.Alignment{}
		}
		x.Alignment.Vertical = "top"
		if x.Font == nil {
			x.Font = &excelize.Font{}
		}
		x.Font.Family = "Calibri"
		if x.Font.Size == 0 {
			x.Font.Size = 11
		}
		id, err := file.NewStyle(&x)
		if failure == nil {
			failure = err
		}
		return id
	}
	condition := func(x excelize.Style) int {
		id, err := file.NewConditionalStyle(&x)
		if failure == nil {
			failure = err
		}
		return id
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
	s.good, s.unsure = filled("BBF7D0", "000000"), filled("EDE9FE", "000000")
	// Colours have a contrast of at least 4.5 to 1, and the word stands in the
	// cell for those who do not see them.
	s.severity = map[engine.Severity]int{
		engine.Critical: filled("7F1D1D", "FFFFFF"),
		engine.High:     filled("C2410C", "FFFFFF"),
		engine.Medium:   filled("FCD34D", "000000"),
		engine.Low:      filled("BFDBFE", "000000"),
		engine.Info:     filled("E5E7EB", "000000"),
	}
	// Cells to fill in are text, so that nothing typed into them becomes a formula
	// or a number.
	s.input = style(excelize.Style{
		NumFmt: 49, Protection: &excelize.Protection{Locked: false}, Alignment: wrap, Fill: fill("FEF9C3"),
		Border: []excelize.Border{{Type: "bottom", Color: "D1D5DB", Style: 1}, {Type: "right", Color: "D1D5DB", Style: 1}},
	})
	s.notable = condition(excelize.Style{Font: &excelize.Font{Bold: true, Color: "7C2D12"}, Fill: fill("FFEDD5")})
	s.none = condition(excelize.Style{})
	return s, failure
}
