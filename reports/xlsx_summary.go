package reports

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
	"patrol/reports/workbook"
)

// pair is a row of a label and its value.
func pair(label string, value any) []any {
	if n, ok := value.(int); ok {
		value = workbook.Left(n)
	}
	return []any{workbook.Label(label), value}
}

func headers(names ...string) []any {
	return table.Map(names, func(name string) any { return workbook.Header(name) })
}

// whatIfRows mark a workbook that says what would be.
func whatIfRows(r engine.Report) [][]any {
	if r.WhatIf == "" {
		return nil
	}
	return [][]any{{workbook.Warning("What if"), WhatIf(r)}}
}

func verdictCell(v engine.Verdict) any {
	switch v {
	case engine.Clean:
		return workbook.Label(v)
	case engine.Violations:
		return workbook.Failed(v)
	}
	return workbook.Warning(v)
}

// summaryBlocks are the verdict, the counts, and what is missing, in the report
// and in the workbook.
func summaryBlocks(r engine.Report, b *workbook.Book) [][][]any {
	headline := append([][]any{{workbook.Title("Audit of Databricks personal access tokens")}}, whatIfRows(r)...)
	headline = append(headline,
		pair("As of", table.Instant(r.AsOf.UnixMilli())),
		pair("Verdict", verdictCell(r.Verdict())),
		pair("Meaning", explain(r)),
		pair("Fails on", r.FailOn.String()),
		pair("Tokens", r.Summary.Tokens),
		pair("Workspaces", r.Summary.Workspaces),
		pair("Made by", strings.TrimSpace("patrol "+r.Version)),
	)
	split := "none"
	if len(b.Split) > 0 {
		split = fmt.Sprintf("%s: a worksheet holds %d rows", strings.Join(b.Split, ", "), b.Rows)
	}
	return [][][]any{headline, resultCounts(r), worstWorkspaces(r), worstPolicies(r), trendCounts(r.Trend), coverageRows(r), {
		headers("What did not fit", ""),
		pair("Cells cut (marked …[cut])", b.Cut),
		pair("Further worksheets", split),
		pair("Links", fmt.Sprintf("the first %d rows of a worksheet lead to their policies", b.MaxLinks())),
	}}
}

func severityHeaders(first string) []any {
	head := headers(first, "All")
	for _, level := range engine.Severities() {
		head = append(head, level)
	}
	return head
}

// severityCounts is a row of counts, all and by severity.
func severityCounts(name string, all int, count func(engine.Severity) int) []any {
	row := []any{workbook.Label(table.Heading(name)), all}
	for _, level := range engine.Severities() {
		row = append(row, count(level))
	}
	return row
}

// resultCounts is a table of results by outcome and severity.
func resultCounts(r engine.Report) [][]any {
	rows := [][]any{severityHeaders("Results")}
	for _, status := range findingsFirst() {
		count := func(level engine.Severity) int { return r.Summary.Severities[level][status] }
		rows = append(rows, severityCounts(string(status), r.Summary.Statuses[status], count))
	}
	return rows
}

// findingsFirst are the statuses, those of findings first.
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

// trendCounts is a table of what changed since the snapshots before.
func trendCounts(t *engine.Trend) [][]any {
	if t == nil {
		return [][]any{headers("Changes", ""), pair("Since", "no snapshot before was judged")}
	}
	rows := [][]any{severityHeaders("Changes"), pair("Since", table.Instant(t.Since.UnixMilli()))}
	if !t.Earliest.IsZero() {
		rows = append(rows, pair("Oldest verdict compared", table.Instant(t.Earliest.UnixMilli())))
	}
	for _, change := range engine.Changes() {
		rows = append(rows, severityCounts(changeWord(change), t.Count(change), func(level engine.Severity) int { return t.Counts[change][level] }))
	}
	if text := timesToFix(t); text != "" {
		rows = append(rows, []any{text})
	}
	return rows
}

// worstShown bounds the workspaces and policies that the summary names.
const worstShown = 10

// worstWorkspaces are those with the most failed results.
func worstWorkspaces(r engine.Report) [][]any {
	list := slices.DeleteFunc(slices.Clone(r.Workspaces), func(w engine.WorkspaceReport) bool { return w.Counts[engine.Fail] == 0 })
	slices.SortStableFunc(list, func(x, y engine.WorkspaceReport) int { return y.Counts[engine.Fail] - x.Counts[engine.Fail] })
	rows := [][]any{headers("Worst workspaces", "Workspace id", "Failed", "Not judged", "Tokens")}
	for _, w := range list[:min(worstShown, len(list))] {
		s := w.Snapshot
		rows = append(rows, []any{s.Workspace.Name, workbook.ID(s.Workspace.ID), w.Counts[engine.Fail], undecided(w.Counts), s.Tokens})
	}
	return append(rows, others(len(list), "workspace")...)
}

// worstPolicies are those that failed most, the gravest first.
func worstPolicies(r engine.Report) [][]any {
	list := slices.DeleteFunc(slices.Clone(r.Policies), func(p engine.PolicyReport) bool { return p.Tally[engine.Fail] == 0 })
	slices.SortStableFunc(list, func(x, y engine.PolicyReport) int {
		return cmp.Or(x.Policy.Severity.Rank()-y.Policy.Severity.Rank(), y.Tally[engine.Fail]-x.Tally[engine.Fail])
	})
	rows := [][]any{headers("Worst policies", "Severity", "Failed", "Evaluated", "Title")}
	for _, p := range list[:min(worstShown, len(list))] {
		rows = append(rows, []any{p.Policy.ID, p.Policy.Severity, p.Tally[engine.Fail], p.Tally.Evaluated(), p.Policy.Title})
	}
	return append(rows, others(len(list), "policy")...)
}

func others(all int, noun string) [][]any {
	switch {
	case all == 0:
		return [][]any{{"none failed"}}
	case all > worstShown:
		return [][]any{{"… and " + engine.Plural(all-worstShown, noun) + " more"}}
	}
	return nil
}

// undecided counts results that could not be judged.
func undecided(t engine.Tally) int { return t[engine.Unknown] + t[engine.Errored] }

// coverageRows are what was not read whole. What was, and what nobody asked for,
// is counted: with hundreds of workspaces it would hide the rest.
func coverageRows(r engine.Report) [][]any {
	rows := [][]any{headers("Coverage: workspace", "Workspace id", "Section", "Status", "Reason", "Rows read", "Collected at", "Detail", "Hint")}
	whole, unasked := 0, map[engine.SectionName]int{}
	for _, w := range r.Workspaces {
		s := w.Snapshot
		for _, name := range engine.SortedKeys(s.Coverage) {
			c := s.Coverage[name]
			switch {
			case c.Reason == engine.ReasonNotRequested:
				unasked[name]++
				continue
			case c.Status == engine.Complete:
				whole++
				continue
			}
			var state any = string(c.Status)
			if !c.Covered() && c.Status != engine.NotCollected {
				state = workbook.Warning(c.Status)
			}
			rows = append(rows, []any{s.Workspace.Name, workbook.ID(s.Workspace.ID), string(name), state, c.Reason, c.Count,
				table.Instant(s.CollectedAt.UnixMilli()), workbook.Wrapped(c.Detail), workbook.Wrapped(c.Hint)})
		}
	}
	rows = append(rows, pair("Read whole", engine.Plural(whole, "section")+" of "+engine.Plural(len(r.Workspaces), "workspace")))
	for _, name := range engine.SortedKeys(unasked) {
		rows = append(rows, pair("Not requested", string(name)+" in "+engine.Plural(unasked[name], "workspace")))
	}
	return rows
}

// coverBlocks are what an auditor asks first: what was looked at, when, how, and
// what is missing. contents are the worksheets, in order.
func coverBlocks(r engine.Report, contents []string) ([][][]any, error) {
	waivers, err := waiverDigest(r.Exceptions)
	if err != nil {
		return nil, err
	}
	var from, to any // when the first and the last snapshot was collected
	whole := 0
	var gaps [][]any
	scope := [][]any{headers("Scope: workspace", "Workspace id", "Host", "Collected at", digestHeader)}
	for i, w := range r.Workspaces {
		s := w.Snapshot
		at := table.Instant(s.CollectedAt.UnixMilli())
		if i == 0 || at < from.(table.Instant) {
			from = at
		}
		if i == 0 || at > to.(table.Instant) {
			to = at
		}
		missing := s.Gaps()
		if len(missing) == 0 {
			whole++
		}
		for _, gap := range missing {
			gaps = append(gaps, []any{s.Workspace.Name, workbook.ID(s.Workspace.ID), gap.Names(), string(gap.Coverage.Status), workbook.Wrapped(gap.Coverage.Detail)})
		}
		scope = append(scope, []any{s.Workspace.Name, workbook.ID(s.Workspace.ID), s.Workspace.Host, at, workbook.ID(s.Digest)})
	}
	head := append([][]any{{workbook.Title("Databricks personal access tokens: audit")}}, whatIfRows(r)...)
	head = append(head,
		pair("Judged as of", table.Instant(r.AsOf.UnixMilli())),
		pair("Data collected from", from),
		pair("Data collected until", to),
		pair("Workspaces", r.Summary.Workspaces),
		pair("Tokens", r.Summary.Tokens),
		pair("Policies", len(r.Policies)),
		pair("Verdict", verdictCell(r.Verdict())),
		pair("Made by", strings.TrimSpace("patrol "+r.Version)),
	)
	statement := "Everything that was asked for was read."
	if whole < len(r.Workspaces) {
		statement = "Not everything was read: what rests on the missing sections is unknown in this workbook, never passed."
	}
	if off := offText(r); off != "" {
		statement += " " + off
	}
	if r.Narrowed {
		statement += " Only some policies were chosen for this audit."
	}
	completeness := [][]any{
		headers("Completeness", ""),
		pair("Workspaces expected", len(r.Workspaces)),
		pair("Workspaces read whole", whole),
		pair("Results that are unknown", undecided(r.Summary.Statuses)),
		pair("Statement", statement),
	}
	if gaps != nil {
		completeness = append(append(completeness, headers("Not covered: workspace", "Workspace id", "Sections", "Status", "Why")), gaps...)
	}
	sheets := [][]any{headers("Sheets", "")}
	for _, name := range contents {
		sheets = append(sheets, []any{workbook.Link{Value: name, Target: workbook.Location(name, 1)}})
	}
	return [][][]any{head, completeness, {
		headers("Method", ""),
		{"Tokens, principals, settings and permissions are read through the workspaces' own API; only reading requests are sent."},
		{"Each read is kept as a snapshot that never changes; its digest covers every row and the digest of the snapshot before."},
		{"Each policy (sheet Policies) judges each token or workspace on facts of the snapshot alone, as of the moment above."},
		{"A fact that could not be read makes a result unknown. A waived or baselined finding stays listed, with who, why and until when."},
		{"Ages and idle days are whole days rounded down, lifetimes rounded up; the platform records last use by the day. All times are UTC."},
	}, {
		headers("Digests (SHA-256)", ""),
		pair("Policies and parameters", workbook.ID(engine.InForceDigest(r.Policies))),
		pair("Waivers and baseline", workbook.ID(waivers)),
	}, sheets, scope}, nil // scope comes last: there may be hundreds of workspaces
}

func waiverDigest(x engine.Exceptions) (string, error) {
	if x.None() {
		return "none", nil
	}
	rules := make([]engine.WaiverRule, len(x.Waivers))
	for i, w := range x.Waivers {
		rules[i] = w.WaiverRule
	}
	text, err := table.JSONText([]any{rules, x.Baseline})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}
