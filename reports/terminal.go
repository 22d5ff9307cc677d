package reports

import (
	"cmp"
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

// verdict writes the numbers and what they come to.
func (s *screen) verdict(r engine.Report) {
	s.Wrap("", WhatIf(r))
	s.Wrap("", engine.Plural(r.Summary.Tokens, "token")+" in "+engine.Plural(r.Summary.Workspaces, "workspace")+", judged as of "+table.TimeText(r.AsOf)+".")
	s.reach(r)
	s.Wrap("", offText(r))
	s.configured(r.Policies)
	s.Wrap("", "Findings: "+failedText(r.Summary)+othersText(r.Summary)+".")
	s.Styled(verdictStyle(r.Verdict()), "Verdict: "+string(r.Verdict()))
	s.Wrap("  ", explain(r)+".")
}

// reach says how many workspaces were read, where that is not plain from the
// rest, and names some of those that no snapshot has.
func (s *screen) reach(r engine.Report) {
	reach := r.Reach()
	if len(reach.Accounts) == 0 && reach.Read == reach.Expected {
		return
	}
	s.Wrap("", fmt.Sprintf("Workspaces: expected %d, read %d (%d %%, wanted %d %%).", reach.Expected, reach.Read, reach.Percent(), 100-r.MayMiss))
	unseen := slices.DeleteFunc(reach.Missing, func(u engine.Unread) bool { return u.Status != string(engine.NotCollected) })
	for i, u := range unseen {
		if i == defaultFindings {
			s.Line(fmt.Sprintf("  and %d more", len(unseen)-i))
			return
		}
		s.Wrap("  ", u.Name+" ("+u.WorkspaceID+"): "+u.Detail)
	}
}

// configured says which policies the configuration switches off and changes.
func (s *screen) configured(policies []engine.PolicyReport) {
	var off, changed []string
	for _, p := range policies {
		switch {
		case p.Policy.Off != "":
			off = append(off, p.Policy.ID+" ("+p.Policy.Off+")")
		case len(configured(p.Policy)) > 0:
			changed = append(changed, p.Policy.ID)
		}
	}
	if off != nil {
		s.Wrap("", "Switched off: "+strings.Join(off, ", ")+".")
	}
	if changed != nil {
		s.Wrap("", "Changed by the configuration: "+strings.Join(changed, ", ")+" (patrol policies show ID).")
	}
}

func verdictStyle(v engine.Verdict) table.Style {
	switch v {
	case engine.Clean:
		return table.Green
	case engine.Violations:
		return table.Red
	}
	return table.Yellow
}

func failedText(sum engine.Summary) string {
	return cmp.Or(strings.Join(engine.SeverityCounts(sum.Failed), ", "), "none failed")
}

func othersText(sum engine.Summary) string {
	text := ""
	for _, status := range []engine.Status{engine.Waived, engine.Baselined, engine.Unknown, engine.Errored} {
		if n := sum.Statuses[status]; n > 0 {
			text += "; " + engine.Comma(n) + " " + string(status)
		}
	}
	return text
}

// next names what was written and what can be done now.
func (s *screen) next(r engine.Report, files []string) {
	if len(files) > 0 {
		s.Blank()
		s.Line("Written:")
	}
	for _, file := range files {
		s.Raw("  " + file)
	}
	steps := nextSteps(r)
	if len(steps) == 0 {
		return
	}
	s.Blank()
	s.Line("Next:")
	for _, step := range steps {
		s.Wrap("  ", step)
	}
}

func nextSteps(r engine.Report) []string {
	var steps []string
	if r.Summary.Statuses[engine.Fail] > 0 && r.WhatIf == "" { // a plan is made of what is
		counts := map[string]int{}
		for _, p := range r.Policies {
			counts[string(p.Policy.Remedy)] += p.Tally[engine.Fail]
		}
		var remedies []string
		for _, remedy := range engine.SortedKeys(counts) {
			if n := counts[remedy]; n > 0 {
				remedies = append(remedies, remedy+" for "+engine.Plural(n, "finding"))
			}
		}
		steps = append(steps,
			"patrol findings --severity critical,high lists findings; --group owner, workspace, policy or token counts them.",
			"patrol plan -o plan.json proposes "+strings.Join(remedies, ", ")+"; it changes nothing.")
	}
	if r.Verdict() == engine.Incomplete {
		steps = append(steps, "patrol doctor tells what to do about what could not be read; then audit again.")
	}
	return steps
}

// trend says what changed since the snapshots before, and names what is new.
func (s *screen) trend(t *engine.Trend, limit int) {
	if t == nil {
		return
	}
	s.Styled(table.Bold, "CHANGES")
	s.Wrap("  ", trendText(t))
	if text := timesToFix(t); text != "" {
		s.Wrap("  ", text)
	}
	var rows [][]string
	for _, f := range t.New[:min(limit, len(t.New))] {
		rows = append(rows, append([]string{string(f.Severity), f.Policy}, exampleRow(f)...))
	}
	s.Rows("    ", append([]table.Fit{{Rank: 1}, {Rank: 1}}, exampleFits...), rows, nil)
	if more := t.Count(engine.ChangeNew) + t.Count(engine.ChangeWorse) - len(rows); more > 0 {
		s.Line("    … and " + engine.Comma(more) + " more")
	}
	s.Blank()
}

// framework says where the audit stands on a framework, or one control of it.
func (s *screen) framework(r engine.Report, wanted string) {
	if wanted == "" {
		return
	}
	name, control, _ := strings.Cut(wanted, ":")
	for _, f := range r.Frameworks() {
		if f.Name == name {
			s.controls(f, control)
			return
		}
	}
	s.Wrap("", "No policy of this audit serves "+wanted+".")
	s.Blank()
}

func (s *screen) controls(f engine.Framework, only string) {
	shown := slices.DeleteFunc(slices.Clone(f.Controls), func(c engine.Control) bool { return only != "" && c.ID != only })
	s.Styled(table.Bold, strings.ToUpper(engine.FrameworkTitle(f.Name)))
	var rows [][]string
	for _, c := range shown {
		rows = append(rows, []string{c.ID, controlWord(c.Status), controlCounts(c), strings.Join(c.Policies, ", ")})
	}
	s.Rows("  ", []table.Fit{{Rank: 1}, {Rank: 1}, {Rank: 2, Least: 20}, {Rank: 3, Least: 10}}, rows,
		func(row int) table.Style { return controlStyle(shown[row].Status) })
	if len(rows) == 0 {
		s.Line("  No policy of this audit serves " + only + ".")
	}
	s.Blank()
}

func controlWord(s engine.ControlStatus) string { return strings.ReplaceAll(string(s), "_", " ") }

// controlCounts says what a control's policies came to.
func controlCounts(c engine.Control) string {
	var parts []string
	if passed := c.Tally[engine.Pass]; passed > 0 {
		parts = append(parts, engine.Comma(passed)+" passed")
	}
	if text := countsText(c.Tally); text != "" {
		parts = append([]string{text}, parts...)
	}
	parts = append(parts, c.Off...)
	if !c.Complete && c.Off == nil && c.Tally[engine.Unknown]+c.Tally[engine.Errored] == 0 {
		parts = append(parts, "not all of its policies ran")
	}
	if len(parts) == 0 {
		return "nothing to judge"
	}
	return strings.Join(parts, ", ")
}

func controlStyle(s engine.ControlStatus) table.Style {
	switch s {
	case engine.ControlMet:
		return table.Green
	case engine.ControlNotMet:
		return table.Red
	case engine.ControlIncomplete:
		return table.Yellow
	}
	return ""
}
