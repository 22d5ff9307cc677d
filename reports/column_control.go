package reports

import (
	"patrol/engine"
	"patrol/reports/table"
)

// controlColumns are the workbook's columns of a framework's controls.
func controlColumns() []table.Column[engine.Control] {
	type row = engine.Control
	return []table.Column[row]{
		table.ID("control", 14, func(c row) any { return c.ID }),
		table.Wrapped("requirement_in_our_words", 50, func(c row) any { return c.Requirement }),
		table.Plain("result", 14, func(c row) any { return c.Status }),
		table.Wrapped("policies", 16, func(c row) any { return table.Lines(c.Policies) }),
		table.Wrapped("not_assessed", 30, func(c row) any { return table.Lines(c.Off) }),
		table.Number("evidence", 12, func(c row) any { return c.Tally.Evaluated() - c.Tally[engine.NotApplicable] }),
		table.Number("passed", 12, func(c row) any { return c.Tally[engine.Pass] }),
		table.Number("failed", 12, func(c row) any { return c.Tally[engine.Fail] }),
		table.Number("waived", 12, func(c row) any { return c.Tally[engine.Waived] }),
		table.Number("baselined", 12, func(c row) any { return c.Tally[engine.Baselined] }),
		table.Number("not_judged", 12, func(c row) any { return c.Tally[engine.Unknown] + c.Tally[engine.Errored] }),
		table.Plain("all_data_read", 12, func(c row) any { return c.Complete }),
	}
}
