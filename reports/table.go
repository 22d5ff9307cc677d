package reports

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// TableOptions say how an audit looks on a terminal.
type TableOptions struct {
	table.Options
	// Findings is how many to show of each policy (0: 5; negative: none).
	Findings int
	All      bool // every exception, not only the first few
	// Framework, or framework:control, to show where the audit stands on it.
	Framework string
	Files     []string // reports that were written, to name at the end
}

const defaultFindings = 5

func (o TableOptions) findings() int {
	if o.Findings == 0 {
		return defaultFindings
	}
	return max(o.Findings, 0)
}

func (o TableOptions) exceptions() int {
	if o.All {
		return math.MaxInt
	}
	return o.findings()
}

// screen writes what is said of an audit.
type screen struct{ *table.Screen }

func newScreen(w io.Writer, o table.Options) *screen { return &screen{table.NewScreen(w, o)} }

func severityStyle(level engine.Severity) table.Style {
	switch level {
	case engine.Critical, engine.High:
		return table.Red
	case engine.Medium:
		return table.Yellow
	}
	return table.Cyan
}

// shortID shows the beginning of a long id, which tells tokens apart.
func shortID(id string) string {
	const shown = 8
	if len(id) <= shown+4 {
		return id
	}
	return id[:shown] + "…"
}

// Table writes the audit for a reader at a terminal, or of a CI log: what
// failed, worst first, with a few examples; what could not be judged or read;
// the verdict; what to do next. It needs no colour and no box to be read.
func Table(ctx context.Context, w io.Writer, r engine.Report, o TableOptions) error {
	groups, causes, counted, err := collect(ctx, r, o.findings())
	if err != nil {
		return err
	}
	s := newScreen(w, o.Options)
	if text := WhatIf(r); text != "" {
		s.Wrap("", text)
		s.Blank()
	}
	s.failures(groups, o.All)
	s.unjudged(r, causes, o.exceptions())
	s.unread(r, o.exceptions())
	s.exceptions(r, o.exceptions())
	s.trend(r.Trend, o.findings())
	s.framework(r, o.Framework)
	riskiest, err := counted.riskiest(ctx, r)
	if err != nil {
		return err
	}
	s.riskiest(riskiest, len(counted.tokens))
	s.worst(counted.workspaces)
	s.verdict(r)
	s.next(r, o.Files)
	return s.Flush()
}

// group is what is shown of the findings of one policy that have one severity:
// a configuration may grade it differently from workspace to workspace.
type group struct {
	policy     string
	title      string
	severity   engine.Severity
	counts     engine.Tally
	workspaces map[string]bool // ids of those with failures
	examples   []engine.Finding
}

// collect counts findings, keeps the first few of each policy, and gathers why
// others could not be judged. Findings come sorted, so that the groups are, too.
func collect(ctx context.Context, r engine.Report, limit int) ([]*group, causes, *counted, error) {
	var groups []*group
	var unjudged causes
	all := &counted{tokens: map[uint64]failures{}, workspaces: map[string]*workspaceFailures{}, seed: maphash.MakeSeed()}
	err := table.Each(ctx, r.Findings, func(f engine.Finding) error {
		if len(groups) == 0 || !groups[len(groups)-1].holds(f) {
			groups = append(groups, &group{
				policy: f.Policy, title: f.Title, severity: f.Severity,
				counts: engine.Tally{}, workspaces: map[string]bool{},
			})
		}
		groups[len(groups)-1].add(f, limit)
		unjudged.add(f)
		all.add(f)
		return nil
	})
	return groups, unjudged, all, err
}

func (g *group) holds(f engine.Finding) bool { return g.policy == f.Policy && g.severity == f.Severity }

func (g *group) add(f engine.Finding, limit int) {
	g.counts[f.Status]++
	if f.Status != engine.Fail {
		return
	}
	g.workspaces[f.WorkspaceID] = true
	if len(g.examples) < limit {
		g.examples = append(g.examples, f)
	}
}

// failures writes a line for each policy; at length, with the first findings of each.
func (s *screen) failures(groups []*group, atLength bool) {
	for _, level := range engine.Severities() {
		failed := slices.DeleteFunc(slices.Clone(groups), func(g *group) bool {
			return g.severity != level || g.counts[engine.Fail] == 0
		})
		if len(failed) == 0 {
			continue
		}
		s.Styled(severityStyle(level), strings.ToUpper(string(level)))
		if atLength {
			for _, g := range failed {
				s.group(g)
			}
		} else {
			rows := table.Map(failed, func(g *group) []string { return []string{g.policy, g.title, g.extent()} })
			s.Rows("  ", []table.Fit{{Rank: 1}, {Rank: 2, Least: 20}, {Rank: 3, Least: 12}}, rows, nil)
		}
		s.Blank()
	}
}

func (s *screen) group(g *group) {
	s.Styled(table.Bold, "  "+g.policy+"  "+g.title)
	s.Line("    " + g.extent())
	var rows [][]string
	for _, f := range g.examples {
		rows = append(rows, exampleRow(f))
	}
	s.Rows("      ", exampleFits, rows, nil)
	if more := g.counts[engine.Fail] - len(g.examples); more > 0 && len(g.examples) > 0 {
		s.Line("      … and " + engine.Comma(more) + " more")
	}
}

// exampleFits: what is wrong is worth more room than where and whose.
var exampleFits = []table.Fit{{Rank: 2, Least: 12}, {Rank: 1}, {Rank: 4, Least: 14}, {Rank: 3, Least: 24}}

// exampleRow leaves out the id of a workspace: its name stands there already.
func exampleRow(f engine.Finding) []string {
	id := shortID(f.ResourceID)
	if f.Resource == engine.ResourceWorkspace {
		id = ""
	}
	return []string{f.Workspace, id, f.Owner, f.Message}
}

// extent says how many failed, where, and how many were excused.
func (g *group) extent() string {
	text := engine.Comma(g.counts[engine.Fail]) + " failed in " + engine.Plural(len(g.workspaces), "workspace")
	for _, status := range []engine.Status{engine.Waived, engine.Baselined} {
		if n := g.counts[status]; n > 0 {
			text += fmt.Sprintf("; %s %s", engine.Comma(n), status)
		}
	}
	return text
}
