package reports

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"patrol/engine"
)

// FindingsCSV writes findings with the columns of findings.csv, those on the
// policy aside.
func FindingsCSV(ctx context.Context, w io.Writer, findings []engine.Finding, asOf time.Time) error {
	return writeRows(ctx, w, findingColumns(asOf), known(findings))
}

// FindingsJSON writes findings as a list of the objects that audit.json has in results.
func FindingsJSON(ctx context.Context, w io.Writer, findings []engine.Finding) error {
	out := newJSONWriter(w)
	out.open("[")
	err := each(ctx, known(findings), func(f engine.Finding) error {
		out.next("  ")
		return out.value(findingJSON(f))
	})
	if err != nil {
		return err
	}
	out.close("", "]")
	return out.end()
}

// FindingsTable writes findings for a reader at a terminal. All is how many there
// are, of which these are the first.
func FindingsTable(w io.Writer, findings []engine.Finding, all int, o TableOptions) error {
	s := newScreen(w, o)
	rows := [][]string{{"SEVERITY", "POLICY", "STATUS", "WORKSPACE", "TOKEN", "OWNER", "MESSAGE"}}
	for _, f := range findings {
		rows = append(rows, []string{string(f.Severity), f.Policy, string(f.Status), f.Workspace, tokenText(f), f.Owner, f.Message})
	}
	narrow := s.width / 8
	return s.table(rows, []int{8, 10, 9, narrow, 9, narrow + 4, s.width}, len(findings), all, "finding")
}

// tokenText is the short id of a token; nothing where the finding is on the workspace.
func tokenText(f engine.Finding) string {
	if f.Resource == engine.ResourceWorkspace {
		return ""
	}
	return shortID(f.ResourceID)
}

// table writes rows under a header, and how many there are.
func (s *screen) table(rows [][]string, limits []int, shown, all int, what string) error {
	if shown > 0 {
		layout := newGrid(rows, limits)
		layout.whole = s.width == boundless
		s.styled(bold, layout.row(rows[0]))
		for _, row := range rows[1:] {
			s.line(layout.row(row))
		}
	}
	if all > shown {
		s.line("… and " + comma(all-shown) + " more")
	}
	s.line(plural(all, what) + ".")
	return s.flush()
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

func groupColumns(by string) []column[FindingGroup] {
	columns := []column[FindingGroup]{
		{by, plain, 28, func(g FindingGroup) any { return g.Name }},
		{"findings", number, 10, func(g FindingGroup) any { return g.Findings }},
	}
	for _, severity := range engine.Severities() {
		columns = append(columns, column[FindingGroup]{string(severity), number, 10, func(g FindingGroup) any { return g.Failed[severity] }})
	}
	return append(columns, column[FindingGroup]{"unknown", number, 10, func(g FindingGroup) any { return g.Unknown }})
}

// FindingGroupsCSV writes a row for each group.
func FindingGroupsCSV(ctx context.Context, w io.Writer, groups []FindingGroup, by string) error {
	return writeRows(ctx, w, groupColumns(by), known(groups))
}

// FindingGroupsJSON writes a list with an object for each group.
func FindingGroupsJSON(ctx context.Context, w io.Writer, groups []FindingGroup, by string) error {
	return writeObjects(ctx, w, groupColumns(by), known(groups))
}

// FindingGroupsTable writes groups for a reader at a terminal.
func FindingGroupsTable(w io.Writer, groups []FindingGroup, all int, by string, o TableOptions) error {
	s := newScreen(w, o)
	columns := groupColumns(by)
	rows := [][]string{make([]string, len(columns))}
	limits := make([]int, len(columns))
	for i, c := range columns {
		rows[0][i], limits[i] = strings.ToUpper(c.name), 9
	}
	limits[0] = max(20, s.width-60)
	for _, g := range groups {
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = fmt.Sprint(c.value(g))
		}
		rows = append(rows, row)
	}
	return s.table(rows, limits, len(groups), all, "group")
}
