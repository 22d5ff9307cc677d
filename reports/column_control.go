package reports

import "patrol/engine"

// controlColumns are the workbook's columns of a framework's controls.
func controlColumns() []column[engine.Control] {
	type row = engine.Control
	return []column[row]{
		{"control", identifier, 14, func(c row) any { return c.ID }},
		{"requirement_in_our_words", wrapped, 50, func(c row) any { return c.Requirement }},
		{"result", plain, 14, func(c row) any { return c.Status }},
		{"policies", wrapped, 16, func(c row) any { return lines(c.Policies) }},
		{"not_assessed", wrapped, 30, func(c row) any { return lines(c.Off) }},
		{"evidence", number, 12, func(c row) any { return c.Tally.Evaluated() - c.Tally[engine.NotApplicable] }},
		{"passed", number, 12, func(c row) any { return c.Tally[engine.Pass] }},
		{"failed", number, 12, func(c row) any { return c.Tally[engine.Fail] }},
		{"waived", number, 12, func(c row) any { return c.Tally[engine.Waived] }},
		{"baselined", number, 12, func(c row) any { return c.Tally[engine.Baselined] }},
		{"not_judged", number, 12, func(c row) any { return c.Tally[engine.Unknown] + c.Tally[engine.Errored] }},
		{"all_data_read", plain, 12, func(c row) any { return c.Complete }},
	}
}
