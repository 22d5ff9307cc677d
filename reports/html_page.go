package reports

import (
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// htmlPage is what the template shows. All text in it that others wrote is already
// inert as text; the template makes it inert as markup.
type htmlPage struct {
	ContentPolicy string
	Version       string
	AsOf          string
	WhatIf        string // the page says what would be; "" where it says what is
	Verdict       engine.Verdict
	Meaning       string
	FailOn        string
	Tokens        int
	Workspaces    int
	Severities    []severityTile
	Results       []resultRow
	Completeness  completeness
	Places        []workspaceView
	Worst         []workspaceView // of Places
	Others        int             // workspaces that are not in Worst
	Trend         *trendView
	Exceptions    []waiverView
	Baseline      *engine.BaselineUse
	Policies      []policyView
	Frameworks    []frameworkView
}

func newPage(r engine.Report) htmlPage {
	places := workspaceViews(r.Workspaces)
	return htmlPage{
		Version:      r.Version,
		AsOf:         table.TimeText(r.AsOf),
		WhatIf:       WhatIf(r),
		Verdict:      r.Verdict(),
		Meaning:      explain(r),
		FailOn:       r.FailOn.String(),
		Tokens:       r.Summary.Tokens,
		Workspaces:   r.Summary.Workspaces,
		Severities:   severityTiles(r),
		Results:      resultRows(r),
		Completeness: newCompleteness(r),
		Places:       places,
		Worst:        worst(places),
		Others:       max(0, len(places)-listed),
		Trend:        newTrendView(r.Trend),
		Exceptions:   waiverViews(r.Exceptions.Waivers),
		Baseline:     r.Exceptions.Baseline,
		Policies:     policyViews(r.Policies),
		Frameworks:   frameworkViews(r.Frameworks()),
	}
}

// severityTile is a count of failed results.
type severityTile struct {
	Severity engine.Severity
	Failed   int
	Fails    bool // such a result fails the run
}

func severityTiles(r engine.Report) []severityTile {
	var tiles []severityTile
	for _, severity := range engine.Severities() {
		tiles = append(tiles, severityTile{severity, r.Summary.Failed(severity), r.FailOn.Fails(severity)})
	}
	return tiles
}

// resultRow is a status with its counts: all, and by severity.
type resultRow struct {
	Status  engine.Status
	Finding bool
	All     int
	Counts  []severityCount
}

type severityCount struct {
	Severity engine.Severity
	Count    int
}

func resultRows(r engine.Report) []resultRow {
	var rows []resultRow
	for _, status := range findingsFirst() {
		row := resultRow{Status: status, Finding: status.Finding(), All: r.Summary.Statuses[status]}
		for _, severity := range engine.Severities() {
			row.Counts = append(row.Counts, severityCount{severity, r.Summary.Severities[severity][status]})
		}
		rows = append(rows, row)
	}
	return rows
}

type waiverView struct {
	engine.WaiverUse
	Policies string
	Target   string
	Refusals []string
}

func waiverViews(waivers []engine.WaiverUse) []waiverView {
	var views []waiverView
	for _, w := range waivers {
		view := waiverView{WaiverUse: w, Policies: strings.Join(w.Policies, ", "), Target: foreign(w.Scope())}
		view.ID, view.Reason, view.Ticket, view.Approver = foreign(w.ID), foreign(w.Reason), foreign(w.Ticket), foreign(w.Approver)
		for _, refusal := range w.Refusals {
			view.Refusals = append(view.Refusals, foreign(refusal.Policy+": "+refusal.Message))
		}
		views = append(views, view)
	}
	return views
}
