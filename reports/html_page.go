package reports

import (
	"cmp"
	"fmt"
	"slices"
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

// frameworkView is where the audit stands on a framework.
type frameworkView struct {
	Title    string
	Controls []controlRow
}

type controlRow struct {
	ID, Requirement string
	Status          engine.ControlStatus
	Mark            string // how it is coloured
	Counts          string
	Policies        []string
}

func frameworkViews(frameworks []engine.Framework) []frameworkView {
	var views []frameworkView
	for _, f := range frameworks {
		view := frameworkView{Title: foreign(engine.FrameworkTitle(f.Name))}
		for _, c := range f.Controls {
			view.Controls = append(view.Controls, controlRow{
				ID: foreign(c.ID), Requirement: foreign(c.Requirement), Status: c.Status, Mark: controlMark(c.Status),
				Counts: controlCounts(c), Policies: c.Policies,
			})
		}
		views = append(views, view)
	}
	return views
}

func controlMark(s engine.ControlStatus) string {
	switch s {
	case engine.ControlMet:
		return "pass"
	case engine.ControlNotMet:
		return "critical"
	case engine.ControlIncomplete:
		return "unknown"
	}
	return "info"
}

// completeness says what the audit did not see, so that silence about it is not
// taken for a pass.
type completeness struct {
	Statement string
	Choice    string // of policies, where not all ran
	Gaps      []gapView
}

// gapView is sections of a workspace that were not read whole for one reason.
type gapView struct {
	Workspace, WorkspaceID string
	Sections               string
	Status                 engine.CoverageStatus
	Reason, Detail, Hint   string
}

func newCompleteness(r engine.Report) completeness {
	c := completeness{Choice: choiceText(r)}
	whole := 0
	for _, w := range r.Workspaces {
		gaps := w.Snapshot.Gaps()
		if len(gaps) == 0 {
			whole++
		}
		for _, gap := range gaps {
			c.Gaps = append(c.Gaps, newGapView(w.Snapshot.Workspace, gap))
		}
	}
	c.Statement = strings.TrimSpace(completenessText(len(r.Workspaces), whole, r.Summary.Statuses) + " " + foreign(offText(r)))
	return c
}

func choiceText(r engine.Report) string {
	switch {
	case r.Framework != "":
		return "Only the policies of " + foreign(r.Framework) + " were run: the audit says nothing about the others."
	case r.Narrowed:
		return "Only some policies were chosen: the audit says nothing about the others."
	}
	return ""
}

func newGapView(w engine.Workspace, gap engine.Gap) gapView {
	return gapView{
		Workspace: foreign(w.Name), WorkspaceID: foreign(w.ID),
		Sections: foreign(gap.Names()), Status: gap.Coverage.Status, Reason: foreign(gap.Coverage.Reason),
		Detail: foreign(gap.Coverage.Detail), Hint: foreign(gap.Coverage.Hint),
	}
}

func completenessText(all, whole int, results engine.Tally) string {
	parts := []string{fmt.Sprintf("%s audited, %s read whole.", engine.Plural(all, "workspace"), engine.Comma(whole))}
	if whole < all {
		parts = append(parts, fmt.Sprintf("Of %s something could not be read; the reasons stand below.", engine.Plural(all-whole, "workspace")))
	}
	open := results[engine.Unknown] + results[engine.Errored]
	if open == 0 {
		return strings.Join(append(parts, "Every policy reached a verdict on everything that it applies to."), " ")
	}
	return strings.Join(append(parts, fmt.Sprintf(
		"%s without a verdict: the data was not read, or the policy could not be evaluated. None of them counts as passed.",
		engine.Plural(open, "result"))), " ")
}

const (
	unfolded = 4  // workspaces, up to which all are shown in full
	listed   = 10 // workspaces in the summary
)

// workspaceView is a judged snapshot.
type workspaceView struct {
	Name, ID, Host, Cloud, Labels string
	Snapshot                      int64
	CollectedAt                   string
	Digest, Previous              string
	Tokens                        int
	Failed, Undecided             int
	Whole                         bool
	Open                          bool // shown unfolded
	Sections                      []sectionView
}

type sectionView struct {
	Name           string
	Status         engine.CoverageStatus
	Mark           string // how it is coloured
	Count          int
	Reason, Detail string
}

func workspaceViews(workspaces []engine.WorkspaceReport) []workspaceView {
	var views []workspaceView
	for _, w := range workspaces {
		s := w.Snapshot
		views = append(views, workspaceView{
			Name: foreign(s.Workspace.Name), ID: foreign(s.Workspace.ID), Host: foreign(s.Workspace.Host),
			Cloud: s.Workspace.Cloud, Labels: labelsText(s.Workspace.Labels),
			Snapshot: s.ID, CollectedAt: table.TimeText(s.CollectedAt), Digest: s.Digest, Previous: s.Previous,
			Tokens: s.Tokens, Failed: w.Counts[engine.Fail], Undecided: w.Counts[engine.Unknown] + w.Counts[engine.Errored],
			Whole: len(s.Incomplete()) == 0, Open: len(workspaces) <= unfolded, Sections: sectionViews(s),
		})
	}
	return views
}

func sectionViews(s engine.Snapshot) []sectionView {
	var views []sectionView
	for _, name := range engine.SortedKeys(s.Coverage) {
		c := s.Coverage[name]
		views = append(views, sectionView{
			Name: foreign(string(name)), Status: c.Status, Mark: coverageMark(c), Count: c.Count,
			Reason: foreign(c.Reason), Detail: foreign(c.Detail),
		})
	}
	return views
}

func coverageMark(c engine.Coverage) string {
	switch {
	case c.Covered():
		return "pass"
	case c.Status == engine.NotCollected:
		return "info" // nobody asked for it
	}
	return "unknown"
}

// worst are the workspaces with the most failed results.
func worst(views []workspaceView) []workspaceView {
	order := slices.Clone(views)
	slices.SortStableFunc(order, func(a, b workspaceView) int { return cmp.Compare(b.Failed, a.Failed) })
	return order[:min(len(order), listed)]
}

func labelsText(labels map[string]string) string {
	var parts []string
	for _, key := range engine.SortedKeys(labels) {
		parts = append(parts, foreign(key+"="+labels[key]))
	}
	return strings.Join(parts, ", ")
}

// policyView is a policy's page.
type policyView struct {
	ID, Title              string
	Severity               engine.Severity
	Resource               engine.Resource
	Judges                 engine.Judges
	Remedy                 string
	Description            []string // paragraphs
	Remediation            []string
	Counts                 []statusCount
	Failed, Share          int // Share: of those evaluated, in per cent
	Undecided              int
	Excused                int
	Evaluated              int
	Controls               []controlView
	Aliases, Needs         string
	Params                 []paramView
	Configured             []string // what the configuration changes
	Off                    bool
	File, Pack, Package    string
	Source                 []sourceLine
	Before, After          string // ids of the neighbours; "" at the ends
	BeforeTitle, NextTitle string
}

type statusCount struct {
	Status  engine.Status
	Finding bool
	Count   int
}

type controlView struct{ Framework, Controls string }

type paramView struct{ Name, Description, Default, Value, Origin string }

type sourceLine struct {
	Number  int
	Text    string
	Comment bool
}

func policyViews(policies []engine.PolicyReport) []policyView {
	views := make([]policyView, len(policies))
	for i, p := range policies {
		views[i] = newPolicyView(p)
	}
	for i := 1; i < len(views); i++ {
		views[i].Before, views[i].BeforeTitle = views[i-1].ID, views[i-1].Title
		views[i-1].After, views[i-1].NextTitle = views[i].ID, views[i].Title
	}
	return views
}

func newPolicyView(r engine.PolicyReport) policyView {
	p, tally := r.Policy, r.Tally
	view := policyView{
		ID: foreign(p.ID), Title: foreign(p.Title), Severity: p.Severity, Resource: p.Resource, Judges: p.Judges, Remedy: foreign(p.Remedy),
		Description: paragraphs(p.Description), Remediation: paragraphs(p.Remediation),
		Failed: tally[engine.Fail], Undecided: tally[engine.Unknown] + tally[engine.Errored],
		Excused: tally[engine.Waived] + tally[engine.Baselined], Evaluated: tally.Evaluated(),
		Aliases: foreign(strings.Join(p.Aliases, ", ")), Needs: foreign(strings.Join(p.Needs, ", ")),
		Params: paramViews(p.Params), Configured: table.Map(configured(p), foreign), Off: p.Off != "", File: foreign(p.File), Pack: foreign(p.Pack), Package: foreign(p.Package),
		Source: sourceLines(p.Source),
	}
	if view.Evaluated > 0 {
		view.Share = (100*view.Failed + view.Evaluated - 1) / view.Evaluated
	}
	for _, status := range findingsFirst() {
		view.Counts = append(view.Counts, statusCount{status, status.Finding(), tally[status]})
	}
	for _, framework := range engine.SortedKeys(p.Controls) {
		view.Controls = append(view.Controls, controlView{foreign(engine.FrameworkTitle(framework)), foreign(strings.Join(p.Controls[framework], ", "))})
	}
	return view
}

func paramViews(params []engine.Param) []paramView {
	views := make([]paramView, len(params))
	for i, p := range params {
		views[i] = paramView{foreign(p.Name), foreign(p.Description), foreign(valueText(p.Default)), foreign(valueText(p.Value)), foreign(p.Origin)}
	}
	return views
}

// paragraphs splits at empty lines; single line feeds are only how a metadata
// block was wrapped.
func paragraphs(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, "\n\n") {
		if words := strings.Join(strings.Fields(part), " "); words != "" {
			out = append(out, foreign(words))
		}
	}
	return out
}

func sourceLines(source string) []sourceLine {
	source = strings.TrimRight(strings.ReplaceAll(source, "\r\n", "\n"), "\n")
	if source == "" {
		return nil
	}
	var lines []sourceLine
	for i, text := range strings.Split(source, "\n") {
		indented := strings.ReplaceAll(text, "\t", "    ")
		lines = append(lines, sourceLine{i + 1, engine.SafeText(indented), strings.HasPrefix(strings.TrimSpace(text), "#")})
	}
	return lines
}

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
