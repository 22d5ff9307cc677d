package reports

import (
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// trend says what changed since the snapshots before, and names what is new.
func (s *screen) trend(t *engine.Trend, limit int) {
	if t == nil {
		return
	}
	s.Styled(table.Bold, "CHANGES")
	s.Wrap("  ", trendText(t))
	if text := timesToFix(t); text != "" {
		s.Wrap("  ", text)
	}
	var rows [][]string
	for _, f := range t.New[:min(limit, len(t.New))] {
		rows = append(rows, append([]string{string(f.Severity), f.Policy}, exampleRow(f)...))
	}
	s.Rows("    ", append([]table.Fit{{Rank: 1}, {Rank: 1}}, exampleFits...), rows, nil)
	if more := t.Count(engine.ChangeNew) + t.Count(engine.ChangeWorse) - len(rows); more > 0 {
		s.Line("    … and " + engine.Comma(more) + " more")
	}
	s.Blank()
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
	s.Wrap("", "No policy of this audit serves "+wanted+".")
	s.Blank()
}

func (s *screen) controls(f engine.Framework, only string) {
	shown := slices.DeleteFunc(slices.Clone(f.Controls), func(c engine.Control) bool { return only != "" && c.ID != only })
	s.Styled(table.Bold, strings.ToUpper(engine.FrameworkTitle(f.Name)))
	var rows [][]string
	for _, c := range shown {
		rows = append(rows, []string{c.ID, controlWord(c.Status), controlCounts(c), strings.Join(c.Policies, ", ")})
	}
	s.Rows("  ", []table.Fit{{Rank: 1}, {Rank: 1}, {Rank: 2, Least: 20}, {Rank: 3, Least: 10}}, rows,
		func(row int) table.Style { return controlStyle(shown[row].Status) })
	if len(rows) == 0 {
		s.Line("  No policy of this audit serves " + only + ".")
	}
	s.Blank()
}

func controlWord(s engine.ControlStatus) string { return strings.ReplaceAll(string(s), "_", " ") }

// controlCounts says what a control's policies came to.
func controlCounts(c engine.Control) string {
	var parts []string
	if passed := c.Tally[engine.Pass]; passed > 0 {
		parts = append(parts, engine.Comma(passed)+" passed")
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

func controlStyle(s engine.ControlStatus) table.Style {
	switch s {
	case engine.ControlMet:
		return table.Green
	case engine.ControlNotMet:
		return table.Red
	case engine.ControlIncomplete:
		return table.Yellow
	}
	return ""
}
