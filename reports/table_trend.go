package reports

import (
	"slices"
	"strings"

	"patrol/engine"
)

// trend says what changed since the snapshots before, and names what is new.
func (s *screen) trend(t *engine.Trend, limit int) {
	if t == nil {
		return
	}
	s.styled(bold, "CHANGES")
	s.wrap("  ", trendText(t))
	if text := timesToFix(t); text != "" {
		s.wrap("  ", text)
	}
	var rows [][]string
	for _, f := range t.New[:min(limit, len(t.New))] {
		rows = append(rows, append([]string{string(f.Severity), f.Policy}, exampleRow(f)...))
	}
	layout := newGrid(rows, []int{8, 12, 18, 16, s.width / 3, s.width})
	for _, row := range rows {
		s.line("    " + layout.row(row))
	}
	if more := t.Count(engine.ChangeNew) + t.Count(engine.ChangeWorse) - len(rows); more > 0 {
		s.line("    … and " + comma(more) + " more")
	}
	s.blank()
}

// framework says where the audit stands on a framework, or one control of it.
func (s *screen) framework(r engine.Report, wanted string) {
	if wanted == "" {
		return
	}
	name, control, _ := strings.Cut(wanted, ":")
	for _, f := range r.Frameworks() {
		if f.Name == name {
			s.controls(f, control)
			return
		}
	}
	s.wrap("", "No policy of this audit serves "+wanted+".")
	s.blank()
}

func (s *screen) controls(f engine.Framework, only string) {
	shown := slices.DeleteFunc(slices.Clone(f.Controls), func(c engine.Control) bool { return only != "" && c.ID != only })
	s.styled(bold, strings.ToUpper(engine.FrameworkTitle(f.Name)))
	var rows [][]string
	for _, c := range shown {
		rows = append(rows, []string{c.ID, controlWord(c.Status), controlCounts(c), strings.Join(c.Policies, ", ")})
	}
	layout := newGrid(rows, []int{14, 12, s.width / 2, s.width})
	for i, row := range rows {
		s.styled(controlStyle(shown[i].Status), "  "+layout.row(row))
	}
	if len(rows) == 0 {
		s.line("  No policy of this audit serves " + only + ".")
	}
	s.blank()
}

func controlWord(s engine.ControlStatus) string { return strings.ReplaceAll(string(s), "_", " ") }

// controlCounts says what a control's policies came to.
func controlCounts(c engine.Control) string {
	var parts []string
	if passed := c.Tally[engine.Pass]; passed > 0 {
		parts = append(parts, comma(passed)+" passed")
	}
	if text := countsText(c.Tally); text != "" {
		parts = append([]string{text}, parts...)
	}
	parts = append(parts, c.Off...)
	if !c.Complete && c.Off == nil && c.Tally[engine.Unknown]+c.Tally[engine.Errored] == 0 {
		parts = append(parts, "not all of its policies ran")
	}
	if len(parts) == 0 {
		return "nothing to judge"
	}
	return strings.Join(parts, ", ")
}

func controlStyle(s engine.ControlStatus) ansi {
	switch s {
	case engine.ControlMet:
		return green
	case engine.ControlNotMet:
		return red
	case engine.ControlIncomplete:
		return yellow
	}
	return ""
}
