package reports

import (
	"patrol/engine"
	"patrol/reports/table"
)

// trendView is what changed since the snapshots before.
type trendView struct {
	Since      string
	Workspaces string
	LookedPast string // "" where all is compared with the snapshot before
	Shares     []trendShare
	Rows       []trendRow
	Fixes      []fixView
	New        []engine.Finding
	More       int // new or worse findings that are not in New
}

// trendShare is a piece of the bar above the table; its numbers are per mille.
type trendShare struct {
	Change   engine.Change
	From, To int
}

type trendRow struct {
	Change engine.Change
	Label  string
	All    int
	Counts []int // by severity, worst first
}

type fixView struct {
	Severity engine.Severity
	Count    int
	Mean     string
}

func newTrendView(t *engine.Trend) *trendView {
	if t == nil {
		return nil
	}
	view := &trendView{
		Since: table.TimeText(t.Since), Workspaces: engine.Plural(t.Workspaces, "workspace"), New: foreignFindings(t.New),
		More: max(0, t.Count(engine.ChangeNew)+t.Count(engine.ChangeWorse)-len(t.New)),
	}
	if !t.Earliest.IsZero() {
		view.LookedPast = lookedPast(t)
	}
	for _, change := range engine.Changes() {
		row := trendRow{Change: change, Label: changeWord(change), All: t.Count(change)}
		for _, severity := range engine.Severities() {
			row.Counts = append(row.Counts, t.Counts[change][severity])
		}
		view.Rows = append(view.Rows, row)
	}
	view.Shares = trendShares(view.Rows)
	for _, severity := range engine.Severities() {
		if fix := t.Fixes[severity]; fix.Count > 0 {
			view.Fixes = append(view.Fixes, fixView{severity, fix.Count, meanText(fix)})
		}
	}
	return view
}

func trendShares(rows []trendRow) []trendShare {
	all, sum := 0, 0
	for _, row := range rows {
		all += row.All
	}
	var shares []trendShare
	for _, row := range rows {
		if row.All > 0 {
			shares = append(shares, trendShare{row.Change, 1000 * sum / all, 1000 * (sum + row.All) / all})
		}
		sum += row.All
	}
	return shares
}

// Width of a piece, less the gap between pieces.
func (s trendShare) Width() int { return max(2, s.To-s.From-2) }

// meanText is a mean time to fix.
func meanText(fix engine.Fix) string {
	if fix.AtLeast {
		return "at least " + span(fix)
	}
	return span(fix)
}

func foreignFindings(findings []engine.Finding) []engine.Finding {
	shown := make([]engine.Finding, len(findings))
	for i, f := range findings {
		f.Title, f.Message, f.Workspace, f.Owner = foreign(f.Title), foreign(f.Message), foreign(f.Workspace), foreign(f.Owner)
		shown[i] = f
	}
	return shown
}
