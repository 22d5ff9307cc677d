package reports

import (
	"patrol/engine"
	"patrol/reports/table"
)

// controlColumns are the workbook's columns of a framework's controls.
func controlColumns(policies []engine.PolicyReport) []table.Column[engine.Control] {
	type row = engine.Control
	titles := map[string]string{}
	for _, p := range policies {
		titles[p.Policy.ID] = p.Policy.ID + " " + p.Policy.Title
	}
	return []table.Column[row]{
		table.ID("control", 14, func(c row) any { return c.ID }),
		table.Wrapped("requirement_in_our_words", 50, func(c row) any { return c.Requirement }),
		table.Plain("result", 14, func(c row) any { return c.Status }),
		table.Wrapped("policies", 52, func(c row) any {
			return table.Lines(table.Map(c.Policies, func(id string) string { return titles[id] }))
		}),
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
