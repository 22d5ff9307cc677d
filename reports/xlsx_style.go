package reports

import (
	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// styles are the ids of a workbook's cell styles.
type styles struct {
	kinds    map[table.Kind]int
	severity map[engine.Severity]int
	status   map[engine.Status]int
	header   int
	title    int
	label    int
	absent   int // unknown, never
	link     int
	control  map[engine.ControlStatus]int
	warning  int // conditional
	none     int // conditional, changes nothing
}

// colours of severities have a contrast of at least 4.5 to 1, and the word
// stands in the cell for those who do not see them.
func colours(level engine.Severity) (fill, text string) {
	switch level {
	case engine.Critical:
		return "7F1D1D", "FFFFFF"
	case engine.High:
		return "C2410C", "FFFFFF"
	case engine.Medium:
		return "FCD34D", "000000"
	case engine.Low:
		return "BFDBFE", "000000"
	}
	return "E5E7EB", "000000"
}

// dateFormat is the only one that no country reads wrongly. All times are UTC.
const dateFormat = "yyyy-mm-dd hh:mm:ss"

// styler makes styles and keeps the first error.
type styler struct {
	file *excelize.File
	err  error
}

func newStyles(file *excelize.File) (styles, error) {
	m := styler{file: file}
	s := styles{
		kinds: map[table.Kind]int{
			table.KindPlain:   m.style(excelize.Style{Alignment: &excelize.Alignment{Vertical: "top"}}),
			table.KindWrapped: m.style(excelize.Style{Alignment: &excelize.Alignment{WrapText: true, Vertical: "top"}}),
			table.KindID:      m.style(excelize.Style{NumFmt: 49, Alignment: &excelize.Alignment{Vertical: "top"}}),                                // "@": stays text when edited
			table.KindNumber:  m.style(excelize.Style{NumFmt: 3, Alignment: &excelize.Alignment{Horizontal: "right", Indent: 1, Vertical: "top"}}), // "#,##0"
			table.KindDate:    m.style(excelize.Style{CustomNumFmt: ptr(dateFormat), Alignment: &excelize.Alignment{Horizontal: "left", Vertical: "top"}}),
			table.KindLeft:    m.style(excelize.Style{NumFmt: 3, Alignment: &excelize.Alignment{Horizontal: "left"}}),
		},
		severity: map[engine.Severity]int{},
		status:   map[engine.Status]int{},
		header:   m.style(headerStyle()),
		title:    m.style(excelize.Style{Font: &excelize.Font{Bold: true, Size: 16}}),
		label:    m.style(excelize.Style{Font: &excelize.Font{Bold: true}}),
		absent:   m.style(excelize.Style{Font: &excelize.Font{Italic: true, Color: "595959"}}),
	}
	s.link = m.style(excelize.Style{Font: &excelize.Font{Color: "1D4ED8", Underline: "single"}, Alignment: &excelize.Alignment{WrapText: true}})
	s.control = map[engine.ControlStatus]int{
		engine.ControlMet:         m.style(filled("BBF7D0", "000000")),
		engine.ControlNotMet:      m.style(filled(colours(engine.High))),
		engine.ControlIncomplete:  m.style(filled("EDE9FE", "000000")),
		engine.ControlNotAssessed: s.kinds[table.KindPlain],
	}
	s.warning = m.condition(excelize.Style{
		Font: &excelize.Font{Bold: true, Color: "7C2D12"},
		Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"FFEDD5"}},
	})
	s.none = m.condition(excelize.Style{})
	for _, level := range engine.Severities() {
		s.severity[level] = m.style(filled(colours(level)))
	}
	for _, outcome := range engine.Statuses() {
		s.status[outcome] = s.kinds[table.KindPlain]
	}
	s.status[engine.Fail] = m.style(excelize.Style{Font: &excelize.Font{Bold: true}})
	s.status[engine.Unknown] = m.style(filled("EDE9FE", "000000"))
	s.status[engine.Errored] = s.status[engine.Unknown]
	return s, m.err
}

func (m *styler) style(s excelize.Style) int {
	if s.Alignment == nil {
		s.Alignment = &excelize.Alignment{}
	}
	s.Alignment.Vertical = "top"
	if s.Font == nil {
		s.Font = &excelize.Font{}
	}
	s.Font.Family = "Calibri"
	if s.Font.Size == 0 {
		s.Font.Size = 11
	}
	id, err := m.file.NewStyle(&s)
	if m.err == nil {
		m.err = err
	}
	return id
}

// condition makes a style that a cell gets by its value.
func (m *styler) condition(s excelize.Style) int {
	id, err := m.file.NewConditionalStyle(&s)
	if m.err == nil {
		m.err = err
	}
	return id
}

func headerStyle() excelize.Style {
	s := filled("1F2937", "FFFFFF")
	s.Alignment = &excelize.Alignment{WrapText: true, Vertical: "top"}
	return s
}

func filled(fill, text string) excelize.Style {
	return excelize.Style{
		Font: &excelize.Font{Bold: true, Color: text},
		Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{fill}},
	}
}

func ptr[T any](v T) *T { return &v }
