package reports

import (
	"context"
	"io"
	"iter"
	"strings"

	"patrol/engine"
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
		columns = append(columns, column[engine.Finding]{"what_if", plain, 30, func(engine.Finding) any { return r.WhatIf }})
	}
	return writeRows(ctx, w, columns, r.Findings)
}

// policyCells are what a row of a lone file says of its policy: a workbook has
// a sheet of policies for it.
func policyCells(policies []engine.PolicyReport) []column[engine.Finding] {
	remediation, controls := map[string]string{}, map[string]string{}
	for _, p := range policies {
		remediation[p.Policy.ID] = prose(p.Policy.Remediation)
		controls[p.Policy.ID] = strings.Join(controlLines(p.Policy.Controls), "; ")
	}
	return []column[engine.Finding]{
		{"remediation", wrapped, 50, func(f engine.Finding) any { return remediation[f.Policy] }},
		{"controls", wrapped, 34, func(f engine.Finding) any { return controls[f.Policy] }},
	}
}

// writeRows writes a header and one row of CSV for each of rows.
func writeRows[T any](ctx context.Context, w io.Writer, columns []column[T], rows iter.Seq2[T, error]) error {
	out := NewCSVWriter(w)
	if err := out.Write(columnNames(columns)...); err != nil {
		return err
	}
	cells := make([]any, len(columns))
	err := each(ctx, rows, func(row T) error {
		for i, c := range columns {
			cells[i] = c.value(row)
		}
		return out.Write(cells...)
	})
	if err != nil {
		return err
	}
	return out.Flush()
}
