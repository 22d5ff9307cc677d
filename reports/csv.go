package reports

import (
	"context"
	"io"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// CSV is the findings, one row each, for spreadsheets and scripts.
func (catalogue) CSV() Format {
	return Format{
		Name:  "csv",
		File:  "findings.csv",
		Doc:   "findings as CSV (UTF-8, every cell quoted, formulas defused)",
		Write: writeCSV,
	}
}

func writeCSV(ctx context.Context, w io.Writer, r engine.Report) error {
	columns := append(findingColumns(r.AsOf), policyCells(r.Policies)...)
	if r.WhatIf != "" { // the last one, so that no other moves
		columns = append(columns, table.Plain("what_if", 30, func(engine.Finding) any { return r.WhatIf }))
	}
	return table.CSV(ctx, w, columns, r.Findings)
}

// policyCells are what a row of a lone file says of its policy: a workbook has
// a sheet of policies for it.
func policyCells(policies []engine.PolicyReport) []table.Column[engine.Finding] {
	remediation, controls := map[string]string{}, map[string]string{}
	for _, p := range policies {
		remediation[p.Policy.ID] = prose(p.Policy.Remediation)
		controls[p.Policy.ID] = strings.Join(controlLines(p.Policy.Controls), "; ")
	}
	return []table.Column[engine.Finding]{
		table.Wrapped("remediation", 50, func(f engine.Finding) any { return remediation[f.Policy] }),
		table.Wrapped("controls", 34, func(f engine.Finding) any { return controls[f.Policy] }),
	}
}
