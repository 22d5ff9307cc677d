package reports

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"patrol/engine"
	"patrol/reports/table"
)

// Findings writes findings as a table, as CSV with the columns of findings.csv
// (those on the policy aside), or as JSON with the objects that audit.json has
// in results.
func Findings(ctx context.Context, w io.Writer, format string, findings []engine.Finding, asOf time.Time, o table.Options) error {
	o.Noun = "finding"
	if format == "json" {
		if o.Limit > 0 {
			findings = findings[:min(o.Limit, len(findings))]
		}
		return table.WriteJSON(w, table.Elements(ctx, table.Known(findings), findingJSON))
	}
	return table.Write(ctx, w, format, findingColumns(asOf), table.Known(findings), o)
}

// tokenText is the short id of a token; nothing where the finding is on the workspace.
func tokenText(f engine.Finding) string {
	if f.Resource == engine.ResourceWorkspace {
		return ""
	}
	return shortID(f.ResourceID)
}

// FindingGroup is how many findings have something in common: a workspace, an
// owner, a policy or a token.
type FindingGroup struct {
	Name     string
	Findings int
	Failed   map[engine.Severity]int
	Unknown  int // unknown results and errors
}

// GroupFindings counts findings by what they have in common, the worst group first.
func GroupFindings(findings []engine.Finding, name func(engine.Finding) string) []FindingGroup {
	var groups []FindingGroup
	at := map[string]int{}
	for _, f := range findings {
		key := name(f)
		i, met := at[key]
		if !met {
			i = len(groups)
			at[key] = i
			groups = append(groups, FindingGroup{Name: key, Failed: map[engine.Severity]int{}})
		}
		groups[i].Findings++
		switch f.Status {
		case engine.Fail:
			groups[i].Failed[f.Severity]++
		case engine.Unknown, engine.Errored:
			groups[i].Unknown++
		}
	}
	slices.SortFunc(groups, func(a, b FindingGroup) int {
		for _, severity := range engine.Severities() {
			if n := b.Failed[severity] - a.Failed[severity]; n != 0 {
				return n
			}
		}
		return cmp.Or(b.Findings-a.Findings, strings.Compare(a.Name, b.Name))
	})
	return groups
}

// FindingGroups writes a row for each group.
func FindingGroups(ctx context.Context, w io.Writer, format string, groups []FindingGroup, by string, o table.Options) error {
	columns := []table.Column[FindingGroup]{
		table.Plain(by, 28, func(g FindingGroup) any { return g.Name }).Rank(1, 20),
		table.Number("findings", 10, func(g FindingGroup) any { return g.Findings }).Rank(2, 0),
	}
	for _, severity := range engine.Severities() {
		columns = append(columns, table.Number(string(severity), 10, func(g FindingGroup) any { return g.Failed[severity] }).Rank(3+severity.Rank(), 0))
	}
	columns = append(columns, table.Number("unknown", 10, func(g FindingGroup) any { return g.Unknown }).Rank(4, 0))
	o.Noun = "group"
	return table.Write(ctx, w, format, columns, table.Known(groups), o)
}

// findingColumns are the columns of findings, in CSV and workbooks alike.
func findingColumns(asOf time.Time) []table.Column[engine.Finding] {
	judgedAt := table.Instant(asOf.UnixMilli())
	return []table.Column[engine.Finding]{
		table.Plain("severity", 10, func(f engine.Finding) any { return f.Severity }).Rank(1, 0),
		table.Plain("policy", 10, func(f engine.Finding) any { return f.Policy }).Rank(2, 0),
		table.Wrapped("title", 34, func(f engine.Finding) any { return f.Title }),
		table.Plain("status", 11, func(f engine.Finding) any { return f.Status }).Rank(7, 0),
		table.Plain("workspace", 18, func(f engine.Finding) any { return f.Workspace }).Rank(4, 12),
		table.ID("workspace_id", 20, func(f engine.Finding) any { return f.WorkspaceID }),
		table.Plain("resource", 11, func(f engine.Finding) any { return string(f.Resource) }),
		table.ID("resource_id", 24, func(f engine.Finding) any { return f.ResourceID }).Rank(3, 0).As(tokenText),
		table.Plain("owner", 28, func(f engine.Finding) any { return f.Owner }).Rank(6, 14),
		table.Wrapped("message", 50, func(f engine.Finding) any { return f.Message }).Rank(5, 24),
		table.Date("since", 20, func(f engine.Finding) any { return table.InstantOf(f.Since) }),
		table.Plain("remedy", 14, func(f engine.Finding) any { return f.Remedy }),
		table.Plain("evidence", 40, func(f engine.Finding) any { return evidenceText(f.Evidence) }),
		table.Plain("waiver_id", 14, ofWaiver(func(w engine.Waiver) string { return w.ID })),
		table.Plain("waiver_reason", 28, ofWaiver(func(w engine.Waiver) string { return w.Reason })),
		table.Plain("waiver_ticket", 14, ofWaiver(func(w engine.Waiver) string { return w.Ticket })),
		table.Plain("waiver_approver", 24, ofWaiver(func(w engine.Waiver) string { return w.Approver })),
		table.Plain("waiver_expires", 14, ofWaiver(func(w engine.Waiver) string { return w.Expires })),
		table.ID("fingerprint", 24, func(f engine.Finding) any { return f.Fingerprint }),
		table.Date("as_of", 20, func(engine.Finding) any { return judgedAt }),
	}
}

func ofWaiver(field func(engine.Waiver) string) func(engine.Finding) any {
	return func(f engine.Finding) any {
		if f.Waiver == nil {
			return nil
		}
		return field(*f.Waiver)
	}
}

// evidenceText is evidence as compact JSON; "" when there is none.
func evidenceText(evidence map[string]any) any {
	if len(evidence) == 0 {
		return nil
	}
	text, err := table.JSONText(evidence)
	if err != nil {
		return "cannot be shown: " + err.Error()
	}
	return string(text)
}

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
		table.Plain("controls", 34, func(f engine.Finding) any { return controls[f.Policy] }),
	}
}
