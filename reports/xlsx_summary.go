package reports

import (
	"fmt"
	"strings"

	"patrol/engine"

	"github.com/xuri/excelize/v2"
)

// summarise writes the first worksheet: the verdict, the counts, and what is
// missing.
func (b *book) summarise(r engine.Report) error {
	s := &sheet{book: b, name: summarySheet, part: 1, widths: []float64{30, 22, 18, 18, 18, 12, 60, 60}}
	if err := b.printable(summarySheet); err != nil {
		return err
	}
	var err error
	if s.out, err = b.file.NewStreamWriter(summarySheet); err != nil {
		return err
	}
	for i, width := range s.widths {
		if err := s.out.SetColWidth(i+1, i+1, width); err != nil {
			return err
		}
	}
	for _, block := range [][][]any{b.headline(r), b.counts(r), b.coverage(r), b.manifest()} {
		if err := s.block(block); err != nil {
			return err
		}
	}
	return s.out.Flush()
}

// block writes rows and an empty one after them.
func (s *sheet) block(rows [][]any) error {
	for _, row := range rows {
		if err := s.write(row); err != nil {
			return err
		}
	}
	s.row++
	return nil
}

func (b *book) headline(r engine.Report) [][]any {
	return [][]any{
		{excelize.Cell{StyleID: b.styles.title, Value: "Audit of Databricks personal access tokens"}},
		b.pair("As of", instant(r.AsOf.UnixMilli()), date),
		b.pair("Verdict", string(r.Verdict()), plain),
		b.pair("Meaning", explain(r), plain),
		b.pair("Fails on", r.FailOn.String(), plain),
		b.pair("Tokens", r.Summary.Tokens, number),
		b.pair("Workspaces", r.Summary.Workspaces, number),
		b.pair("Made by", strings.TrimSpace("patrol "+r.Version), plain),
	}
}

func (b *book) pair(label string, value any, k kind) []any {
	return []any{excelize.Cell{StyleID: b.styles.label, Value: label}, b.cell(k, value)}
}

// counts is a table of results by severity and status.
func (b *book) counts(r engine.Report) [][]any {
	names := []string{"Results by severity"}
	for _, status := range findingsFirst() {
		names = append(names, heading(string(status)))
	}
	rows := [][]any{b.header(names...)}
	for _, level := range engine.Severities() {
		rows = append(rows, b.countRow(b.cell(plain, level), tallyOf(r.Policies, level)))
	}
	total := excelize.Cell{StyleID: b.styles.label, Value: "all"}
	return append(rows, b.countRow(total, r.Summary.Statuses))
}

func findingsFirst() []engine.Status {
	var findings, others []engine.Status
	for _, status := range engine.Statuses() {
		if status.Finding() {
			findings = append(findings, status)
		} else {
			others = append(others, status)
		}
	}
	return append(findings, others...)
}

func (b *book) countRow(label any, tally engine.Tally) []any {
	row := []any{label}
	for _, status := range findingsFirst() {
		row = append(row, b.cell(number, tally[status]))
	}
	return row
}

func tallyOf(policies []engine.PolicyReport, level engine.Severity) engine.Tally {
	sum := engine.Tally{}
	for _, p := range policies {
		if p.Policy.Severity != level {
			continue
		}
		for status, count := range p.Tally {
			sum[status] += count
		}
	}
	return sum
}

// coverage is a table of what was read, section by section.
func (b *book) coverage(r engine.Report) [][]any {
	rows := [][]any{b.header("Coverage: workspace", "Workspace id", "Section", "Status", "Reason", "Rows read", "Detail", "Hint")}
	for _, w := range r.Workspaces {
		for _, name := range engine.SortedKeys(w.Snapshot.Coverage) {
			rows = append(rows, b.coverageRow(w.Snapshot.Workspace, name, w.Snapshot.Coverage[name]))
		}
	}
	return rows
}

func (b *book) coverageRow(w engine.Workspace, name engine.SectionName, c engine.Coverage) []any {
	state := b.cell(plain, string(c.Status))
	if !c.Complete() && c.Status != engine.NotCollected {
		state = excelize.Cell{StyleID: b.styles.status[engine.Unknown], Value: string(c.Status)}
	}
	return []any{
		b.cell(plain, w.Name), b.cell(identifier, w.ID), b.cell(plain, string(name)), state,
		b.cell(plain, c.Reason), b.cell(number, c.Count), b.cell(wrapped, c.Detail), b.cell(wrapped, c.Hint),
	}
}

// manifest tells what of the report a worksheet could not hold.
func (b *book) manifest() [][]any {
	rows := [][]any{b.header("What did not fit", "")}
	rows = append(rows, b.pair("Cells cut (marked …[cut])", b.cut, number))
	split := "none"
	if len(b.split) > 0 {
		split = fmt.Sprintf("%s: a worksheet holds %d rows", strings.Join(b.split, ", "), b.rows)
	}
	return append(rows, b.pair("Further worksheets", split, plain))
}

func (b *book) header(names ...string) []any {
	cells := make([]any, len(names))
	for i, name := range names {
		cells[i] = excelize.Cell{StyleID: b.styles.header, Value: name}
	}
	return cells
}
