package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// summary opens the first worksheet with columns of these widths.
func (b *book) summary(widths []float64) (s *sheet, err error) {
	s = &sheet{book: b, name: summarySheet, part: 1, widths: widths}
	if err := b.printable(summarySheet, widths); err != nil {
		return nil, err
	}
	if s.out, err = b.file.NewStreamWriter(summarySheet); err != nil {
		return nil, err
	}
	for i, width := range widths {
		if err := s.out.SetColWidth(i+1, i+1, width); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// summarise writes the first worksheet: the verdict, the counts, and what is
// missing.
func (b *book) summarise(r engine.Report) error {
	s, err := b.summary([]float64{28, 20, 14, 16, 20, 12, 20, 50, 60})
	if err != nil {
		return err
	}
	for _, block := range [][][]any{b.headline(r), b.counts(r), b.worstWorkspaces(r), b.worstPolicies(r), b.changes(r.Trend), b.coverage(r), b.manifest()} {
		if err := s.block(block); err != nil {
			return err
		}
	}
	return s.out.Flush()
}

// block writes rows and an empty one after them.
func (s *sheet) block(rows [][]any) error {
	for _, row := range rows {
		if err := s.write(row, s.height(row)); err != nil {
			return err
		}
	}
	s.row++
	return nil
}

// height of a row: only the last two columns wrap.
func (s *sheet) height(row []any) int {
	height := 1
	if s.row == 0 {
		height = 2 // the title
	}
	for i := len(s.widths) - 2; i < len(row); i++ {
		height = max(height, linesIn(row[i], s.widths[i]))
	}
	return height
}

func (b *book) headline(r engine.Report) [][]any {
	rows := [][]any{{excelize.Cell{StyleID: b.styles.title, Value: "Audit of Databricks personal access tokens"}}}
	rows = append(rows, b.whatIf(r)...)
	rows = append(rows, [][]any{
		b.pair("As of", table.Instant(r.AsOf.UnixMilli()), table.KindDate),
		{b.label("Verdict"), b.verdict(r.Verdict())},
		b.pair("Meaning", explain(r), table.KindPlain),
		b.pair("Fails on", r.FailOn.String(), table.KindPlain),
		b.pair("Tokens", r.Summary.Tokens, table.KindLeft),
		b.pair("Workspaces", r.Summary.Workspaces, table.KindLeft),
		b.pair("Made by", strings.TrimSpace("patrol "+r.Version), table.KindPlain),
	}...)
	return rows
}

// whatIf marks a workbook that says what would be.
func (b *book) whatIf(r engine.Report) [][]any {
	if r.WhatIf == "" {
		return nil
	}
	return [][]any{{excelize.Cell{StyleID: b.styles.status[engine.Unknown], Value: "What if"}, b.cell(table.KindPlain, WhatIf(r))}}
}

func (b *book) pair(label string, value any, k table.Kind) []any {
	return []any{b.label(label), b.cell(k, value)}
}

func (b *book) label(text string) any { return excelize.Cell{StyleID: b.styles.label, Value: text} }

func (b *book) verdict(v engine.Verdict) any {
	style := b.styles.label
	if v != engine.Clean {
		style = b.styles.status[engine.Unknown]
	}
	if v == engine.Violations {
		style = b.styles.severity[engine.High]
	}
	return excelize.Cell{StyleID: style, Value: string(v)}
}

// counts is a table of results by outcome and severity.
func (b *book) counts(r engine.Report) [][]any {
	head := b.header("Results", "All")
	tallies := []engine.Tally{r.Summary.Statuses}
	for _, level := range engine.Severities() {
		head = append(head, b.cell(table.KindPlain, level))
		tallies = append(tallies, r.Summary.Severities[level])
	}
	rows := [][]any{head}
	for _, status := range findingsFirst() {
		row := []any{b.label(table.Heading(string(status)))}
		for _, tally := range tallies {
			row = append(row, b.cell(table.KindNumber, tally[status]))
		}
		rows = append(rows, row)
	}
	return rows
}

func findingsFirst() []engine.Status {
	order := engine.Statuses()
	slices.SortStableFunc(order, func(a, b engine.Status) int { return rank(a) - rank(b) })
	return order
}

func rank(s engine.Status) int {
	if s.Finding() {
		return 0
	}
	return 1
}

// changes is a table of what changed since the snapshots before.
func (b *book) changes(t *engine.Trend) [][]any {
	if t == nil {
		return [][]any{b.header("Changes", ""), b.pair("Since", "no snapshot before was judged", table.KindPlain)}
	}
	head := b.header("Changes", "All")
	for _, level := range engine.Severities() {
		head = append(head, b.cell(table.KindPlain, level))
	}
	rows := [][]any{head, b.pair("Since", table.Instant(t.Since.UnixMilli()), table.KindDate)}
	if !t.Earliest.IsZero() {
		rows = append(rows, b.pair("Oldest verdict compared", table.Instant(t.Earliest.UnixMilli()), table.KindDate))
	}
	for _, change := range engine.Changes() {
		row := []any{b.label(table.Heading(changeWord(change))), b.cell(table.KindNumber, t.Count(change))}
		for _, level := range engine.Severities() {
			row = append(row, b.cell(table.KindNumber, t.Counts[change][level]))
		}
		rows = append(rows, row)
	}
	if text := timesToFix(t); text != "" {
		rows = append(rows, []any{b.cell(table.KindPlain, text)})
	}
	return rows
}

// worstShown bounds the workspaces and policies that the summary names.
const worstShown = 10

// worstWorkspaces are those with the most and the gravest failed results.
func (b *book) worstWorkspaces(r engine.Report) [][]any {
	list := slices.DeleteFunc(workspaceViews(r.Workspaces), func(w workspaceView) bool { return w.Failed == 0 })
	slices.SortStableFunc(list, func(x, y workspaceView) int { return y.Failed - x.Failed })
	rows := [][]any{b.header("Worst workspaces", "Workspace id", "Failed", "Not judged", "Tokens")}
	for _, w := range list[:min(worstShown, len(list))] {
		rows = append(rows, []any{b.cell(table.KindPlain, w.Name), b.cell(table.KindID, w.ID), b.cell(table.KindNumber, w.Failed), b.cell(table.KindNumber, w.Undecided), b.cell(table.KindNumber, w.Tokens)})
	}
	return append(rows, b.others(len(list), "workspace")...)
}

// worstPolicies are those that failed most, the gravest first.
func (b *book) worstPolicies(r engine.Report) [][]any {
	list := slices.DeleteFunc(slices.Clone(r.Policies), func(p engine.PolicyReport) bool { return p.Tally[engine.Fail] == 0 })
	slices.SortStableFunc(list, func(x, y engine.PolicyReport) int {
		return cmp.Or(x.Policy.Severity.Rank()-y.Policy.Severity.Rank(), y.Tally[engine.Fail]-x.Tally[engine.Fail])
	})
	rows := [][]any{b.header("Worst policies", "Severity", "Failed", "Evaluated", "Title")}
	for _, p := range list[:min(worstShown, len(list))] {
		rows = append(rows, []any{b.cell(table.KindPlain, p.Policy.ID), b.cell(table.KindPlain, p.Policy.Severity), b.cell(table.KindNumber, p.Tally[engine.Fail]),
			b.cell(table.KindNumber, p.Tally.Evaluated()), b.cell(table.KindPlain, p.Policy.Title)})
	}
	return append(rows, b.others(len(list), "policy")...)
}

func (b *book) others(all int, noun string) [][]any {
	switch {
	case all == 0:
		return [][]any{{b.cell(table.KindPlain, "none failed")}}
	case all > worstShown:
		return [][]any{{b.cell(table.KindPlain, "… and "+engine.Plural(all-worstShown, noun)+" more")}}
	}
	return nil
}

// coverage is a table of what was not read whole. What was, and what nobody asked
// for, is counted: with hundreds of workspaces it would hide the rest.
func (b *book) coverage(r engine.Report) [][]any {
	rows := [][]any{b.header("Coverage: workspace", "Workspace id", "Section", "Status", "Reason", "Rows read", "Collected at", "Detail", "Hint")}
	whole, unasked := 0, map[engine.SectionName]int{}
	for _, w := range r.Workspaces {
		for _, name := range engine.SortedKeys(w.Snapshot.Coverage) {
			switch c := w.Snapshot.Coverage[name]; {
			case c.Reason == engine.ReasonNotRequested:
				unasked[name]++
			case c.Status == engine.Complete:
				whole++
			default:
				rows = append(rows, b.coverageRow(w.Snapshot, name))
			}
		}
	}
	rows = append(rows, b.pair("Read whole", engine.Plural(whole, "section")+" of "+engine.Plural(len(r.Workspaces), "workspace"), table.KindPlain))
	for _, name := range engine.SortedKeys(unasked) {
		rows = append(rows, b.pair("Not requested", string(name)+" in "+engine.Plural(unasked[name], "workspace"), table.KindPlain))
	}
	return rows
}

func (b *book) coverageRow(s engine.Snapshot, name engine.SectionName) []any {
	c := s.Coverage[name]
	state := b.cell(table.KindPlain, string(c.Status))
	if !c.Covered() && c.Status != engine.NotCollected {
		state = excelize.Cell{StyleID: b.styles.status[engine.Unknown], Value: string(c.Status)}
	}
	return []any{
		b.cell(table.KindPlain, s.Workspace.Name), b.cell(table.KindID, s.Workspace.ID), b.cell(table.KindPlain, string(name)), state,
		b.cell(table.KindPlain, c.Reason), b.cell(table.KindNumber, c.Count), b.cell(table.KindDate, table.Instant(s.CollectedAt.UnixMilli())),
		b.cell(table.KindWrapped, c.Detail), b.cell(table.KindWrapped, c.Hint),
	}
}

// manifest tells what of the report a worksheet could not hold.
func (b *book) manifest() [][]any {
	rows := [][]any{b.header("What did not fit", "")}
	rows = append(rows, b.pair("Cells cut (marked …[cut])", b.cut, table.KindLeft))
	split := "none"
	if len(b.split) > 0 {
		split = fmt.Sprintf("%s: a worksheet holds %d rows", strings.Join(b.split, ", "), b.rows)
	}
	rows = append(rows, b.pair("Further worksheets", split, table.KindPlain))
	return append(rows, b.pair("Links", fmt.Sprintf("the first %d rows of a worksheet lead to their policies", maxLinks), table.KindPlain))
}

func (b *book) header(names ...string) []any {
	cells := make([]any, len(names))
	for i, name := range names {
		cells[i] = excelize.Cell{StyleID: b.styles.header, Value: name}
	}
	return cells
}
