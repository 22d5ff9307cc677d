package reports

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// htmlPage is what the templates show: the report itself, and what they cannot
// work out. The templates make its text inert as markup, and writeFrame makes
// visible what would act.
type htmlPage struct {
	engine.Report
	ContentPolicy string
	Policies      []policyPage // of the report
	Worst         []engine.WorkspaceReport
}

// listed is how many workspaces the summary names.
const listed = 10

// policyPage is a policy between its neighbours.
type policyPage struct {
	engine.PolicyReport
	Before, After *engine.Policy // nil at the ends
}

func newPage(r engine.Report) htmlPage {
	p := htmlPage{Report: r, Worst: slices.Clone(r.Workspaces)}
	slices.SortStableFunc(p.Worst, func(a, b engine.WorkspaceReport) int { return b.Counts[engine.Fail] - a.Counts[engine.Fail] })
	p.Worst = p.Worst[:min(len(p.Worst), listed)]
	for i, policy := range r.Policies {
		page := policyPage{PolicyReport: policy}
		if i > 0 {
			page.Before = &r.Policies[i-1].Policy
		}
		if i+1 < len(r.Policies) {
			page.After = &r.Policies[i+1].Policy
		}
		p.Policies = append(p.Policies, page)
	}
	return p
}

// Others is how many workspaces are not in Worst.
func (p htmlPage) Others() int { return len(p.Workspaces) - len(p.Worst) }

// More is how many new or worse findings the trend does not name.
func (p htmlPage) More() int {
	return max(0, p.Trend.Count(engine.ChangeNew)+p.Trend.Count(engine.ChangeWorse)-len(p.Trend.New))
}

// Share is how many of those evaluated failed, in per cent, rounded up.
func (p policyPage) Share() int {
	if p.Tally.Evaluated() == 0 {
		return 0
	}
	return (100*p.Tally[engine.Fail] + p.Tally.Evaluated() - 1) / p.Tally.Evaluated()
}

// pageFunctions are what the templates call.
func pageFunctions() template.FuncMap {
	return template.FuncMap{
		"safe":       engine.SafeText, // for line feeds, which a page does not show
		"count":      engine.Comma,
		"words":      func(name any) string { return strings.ReplaceAll(fmt.Sprint(name), "_", " ") },
		"join":       func(texts []string) string { return strings.Join(texts, ", ") },
		"time":       table.TimeText,
		"severities": engine.Severities,
		"statuses":   findingsFirst,
		"changes":    engine.Changes,
		"changeWord": changeWord,
		"framework":  engine.FrameworkTitle,
		"labels":     labelTexts,
		"value":      valueText,
		"configured": configured,
		"undecided":  undecided,
		"failed":     func(t engine.Tally) int { return t[engine.Fail] },
		"excused":    func(t engine.Tally) int { return t[engine.Waived] + t[engine.Baselined] },
		"results":    controlCounts,
		"whatIf":     WhatIf,
		"meaning":    explain,
		"complete":   completenessText,
		"lookedPast": lookedPast,
		"mean":       meanText,
		"shares":     trendShares,
		"plural":     engine.Plural,
		"gaps":       withGaps,
		"paragraphs": paragraphs,
		"source":     sourceLines,
		"controlMark": func(s engine.ControlStatus) string {
			return map[engine.ControlStatus]string{engine.ControlMet: "pass", engine.ControlNotMet: "critical", engine.ControlIncomplete: "unknown", engine.ControlNotAssessed: "info"}[s]
		},
		"coverageMark": func(c engine.Coverage) string {
			switch {
			case c.Covered():
				return "pass"
			case c.Status == engine.NotCollected:
				return "info" // nobody asked for it
			}
			return "unknown"
		},
	}
}

// withGaps are the workspaces of which something was not read.
func withGaps(workspaces []engine.WorkspaceReport) []engine.WorkspaceReport {
	return slices.DeleteFunc(slices.Clone(workspaces), func(w engine.WorkspaceReport) bool { return len(w.Snapshot.Gaps()) == 0 })
}

// completenessText says what the audit did not see, so that silence about it is not
// taken for a pass.
func completenessText(r engine.Report) string {
	missing := len(withGaps(r.Workspaces))
	parts := []string{fmt.Sprintf("%s audited, %s read whole.", engine.Plural(len(r.Workspaces), "workspace"), engine.Comma(len(r.Workspaces)-missing))}
	if missing > 0 {
		parts = append(parts, fmt.Sprintf("Of %s something could not be read; the reasons stand below.", engine.Plural(missing, "workspace")))
	}
	if open := undecided(r.Summary.Statuses); open > 0 {
		parts = append(parts, fmt.Sprintf("%s without a verdict: the data was not read, or the policy could not be evaluated. None of them counts as passed.", engine.Plural(open, "result")))
	} else {
		parts = append(parts, "Every policy reached a verdict on everything that it applies to.")
	}
	parts = append(parts, offText(r))
	switch {
	case r.Framework != "":
		parts = append(parts, "Only the policies of "+r.Framework+" were run: the audit says nothing about the others.")
	case r.Narrowed:
		parts = append(parts, "Only some policies were chosen: the audit says nothing about the others.")
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), " ")
}

// paragraphs splits at empty lines; single line feeds are only how a metadata
// block was wrapped.
func paragraphs(text string) (parts []string) {
	for part := range strings.SplitSeq(text, "\n\n") {
		if words := prose(part); words != "" {
			parts = append(parts, words)
		}
	}
	return parts
}

// sourceLine is a line of Rego, with spaces for its tabs.
type sourceLine struct {
	Text    string
	Comment bool
}

func sourceLines(source string) (lines []sourceLine) {
	source = strings.TrimRight(strings.ReplaceAll(source, "\r\n", "\n"), "\n")
	if source == "" {
		return nil
	}
	for text := range strings.SplitSeq(source, "\n") {
		lines = append(lines, sourceLine{strings.ReplaceAll(text, "\t", "    "), strings.HasPrefix(strings.TrimSpace(text), "#")})
	}
	return lines
}

// trendShare is a piece of the bar above the table of changes, from left to right;
// its numbers are per mille. Between pieces there is a gap.
type trendShare struct {
	Change      engine.Change
	From, Width int
}

func trendShares(t *engine.Trend) (shares []trendShare) {
	all, sum := 0, 0
	for _, change := range engine.Changes() {
		all += t.Count(change)
	}
	for _, change := range engine.Changes() {
		if n := t.Count(change); n > 0 {
			from, to := 1000*sum/all, 1000*(sum+n)/all
			shares = append(shares, trendShare{change, from, max(2, to-from-2)})
			sum += n
		}
	}
	return shares
}
