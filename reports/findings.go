package reports

import (
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
		return table.Array(ctx, w, table.Known(findings), findingJSON)
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
		if n := b.Findings - a.Findings; n != 0 {
			return n
		}
		return strings.Compare(a.Name, b.Name)
	})
	return groups
}

func groupColumns(by string) []table.Column[FindingGroup] {
	columns := []table.Column[FindingGroup]{
		table.Plain(by, 28, func(g FindingGroup) any { return g.Name }).Rank(1, 20),
		table.Number("findings", 10, func(g FindingGroup) any { return g.Findings }).Rank(2, 0),
	}
	for _, severity := range engine.Severities() {
		columns = append(columns, table.Number(string(severity), 10, func(g FindingGroup) any { return g.Failed[severity] }).Rank(3+severity.Rank(), 0))
	}
	return append(columns, table.Number("unknown", 10, func(g FindingGroup) any { return g.Unknown }).Rank(4, 0))
}

// FindingGroups writes a row for each group.
func FindingGroups(ctx context.Context, w io.Writer, format string, groups []FindingGroup, by string, o table.Options) error {
	o.Noun = "group"
	return table.Write(ctx, w, format, groupColumns(by), table.Known(groups), o)
}
