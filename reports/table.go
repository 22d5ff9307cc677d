package reports

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"patrol/engine"

	"github.com/dustin/go-humanize"
)

// Table writes the audit for a reader at a terminal, or of a CI log: what
// failed, worst first, with a few examples; what could not be judged or read;
// the verdict; what to do next. It needs no colour and no box to be read.
func Table(ctx context.Context, w io.Writer, r engine.Report, o TableOptions) error {
	groups, causes, err := collect(ctx, r, o.findings())
	if err != nil {
		return err
	}
	s := newScreen(w, o)
	if text := WhatIf(r); text != "" {
		s.wrap("", text)
		s.blank()
	}
	s.failures(groups)
	s.unjudged(r, causes, o.exceptions())
	s.unread(r, o.exceptions())
	s.exceptions(r, o.exceptions())
	s.trend(r.Trend, o.findings())
	s.framework(r, o.Framework)
	s.verdict(r)
	s.next(r, o.Files)
	return s.flush()
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
func collect(ctx context.Context, r engine.Report, limit int) ([]*group, causes, error) {
	var groups []*group
	var unjudged causes
	err := each(ctx, r.Findings, func(f engine.Finding) error {
		if len(groups) == 0 || !groups[len(groups)-1].holds(f) {
			groups = append(groups, &group{
				policy: f.Policy, title: f.Title, severity: f.Severity,
				counts: engine.Tally{}, workspaces: map[string]bool{},
			})
		}
		groups[len(groups)-1].add(f, limit)
		unjudged.add(f)
		return nil
	})
	return groups, unjudged, err
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

func (s *screen) failures(groups []*group) {
	for _, level := range engine.Severities() {
		failed := slices.DeleteFunc(slices.Clone(groups), func(g *group) bool {
			return g.severity != level || g.counts[engine.Fail] == 0
		})
		if len(failed) == 0 {
			continue
		}
		s.styled(severityStyle(level), strings.ToUpper(string(level)))
		for _, g := range failed {
			s.group(g)
		}
		s.blank()
	}
}

func (s *screen) group(g *group) {
	s.styled(bold, "  "+g.policy+"  "+g.title)
	s.line("    " + g.extent())
	var rows [][]string
	for _, f := range g.examples {
		rows = append(rows, exampleRow(f))
	}
	layout := newGrid(rows, []int{18, 16, s.width / 3, s.width})
	for _, row := range rows {
		s.line("      " + layout.row(row))
	}
	if more := g.counts[engine.Fail] - len(g.examples); more > 0 && len(g.examples) > 0 {
		s.line("      … and " + comma(more) + " more")
	}
}

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
	text := comma(g.counts[engine.Fail]) + " failed in " + plural(len(g.workspaces), "workspace")
	for _, status := range []engine.Status{engine.Waived, engine.Baselined} {
		if n := g.counts[status]; n > 0 {
			text += fmt.Sprintf("; %s %s", comma(n), status)
		}
	}
	return text
}

func comma(n int) string { return humanize.Comma(int64(n)) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return comma(n) + " " + noun + "s"
}
