package reports

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
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

// screen writes what is said of an audit.
type screen struct{ *table.Screen }

func newScreen(w io.Writer, o table.Options) *screen { return &screen{table.NewScreen(w, o)} }

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
	limit := max(cmp.Or(o.Findings, defaultFindings), 0)
	all, err := collect(ctx, r, limit)
	if err != nil {
		return err
	}
	exceptions := limit
	if o.All {
		exceptions = math.MaxInt
	}
	s := newScreen(w, o.Options)
	if text := WhatIf(r); text != "" {
		s.Wrap("", text)
		s.Blank()
	}
	s.failures(all.groups, o.All)
	s.unjudged(all.causes, r.Workspaces, exceptions)
	s.unread(r.Workspaces, exceptions)
	s.exceptions(r.Exceptions, exceptions)
	s.trend(r.Trend, limit)
	if o.Framework != "" {
		s.framework(r.Frameworks(), o.Framework)
	}
	riskiest, err := all.riskiest(ctx, r)
	if err != nil {
		return err
	}
	s.worst(riskiest, len(all.tokens), all.workspaces)
	s.verdict(r)
	if len(o.Files) > 0 {
		s.Blank()
		s.Line("Written:")
	}
	for _, file := range o.Files {
		s.Raw("  " + file)
	}
	steps := nextSteps(r)
	if len(steps) > 0 {
		s.Blank()
		s.Line("Next:")
	}
	for _, step := range steps {
		s.Wrap("  ", step)
	}
	return s.Flush()
}

// failures writes a line for each policy; at length, with the first findings of each.
func (s *screen) failures(groups []*group, atLength bool) {
	styles := map[engine.Severity]table.Style{engine.Critical: table.Red, engine.High: table.Red, engine.Medium: table.Yellow}
	for _, level := range engine.Severities() {
		failed := slices.DeleteFunc(slices.Clone(groups), func(g *group) bool {
			return g.severity != level || g.counts[engine.Fail] == 0
		})
		if len(failed) == 0 {
			continue
		}
		s.Styled(cmp.Or(styles[level], table.Cyan), strings.ToUpper(string(level)))
		if !atLength {
			rows := table.Map(failed, func(g *group) []string { return []string{g.policy, g.title, g.extent()} })
			s.Rows("  ", []table.Fit{{Rank: 1}, {Rank: 2, Least: 20}, {Rank: 3, Least: 12}}, rows, nil)
			s.Blank()
			continue
		}
		for _, g := range failed {
			s.Styled(table.Bold, "  "+g.policy+"  "+g.title)
			s.Line("    " + g.extent())
			s.Rows("      ", exampleFits, table.Map(g.examples, exampleRow), nil)
			if len(g.examples) > 0 {
				s.More("      ", g.counts[engine.Fail]-len(g.examples), "")
			}
		}
		s.Blank()
	}
}

// exampleFits: what is wrong is worth more room than where and whose.
var exampleFits = []table.Fit{{Rank: 2, Least: 12}, {Rank: 1}, {Rank: 4, Least: 14}, {Rank: 3, Least: 24}}

func exampleRow(f engine.Finding) []string {
	return []string{f.Workspace, tokenText(f), f.Owner, f.Message}
}

// unjudged tells each cause once, with the workspaces that have it and the
// policies that could not judge.
func (s *screen) unjudged(causes []*cause, workspaces []engine.WorkspaceReport, limit int) {
	if len(causes) == 0 {
		return
	}
	s.Styled(table.Yellow, "NOT JUDGED")
	for _, c := range sharedCauses(causes, workspaces) {
		s.inWorkspaces(c.names, ": "+c.message, limit)
		list := make([]string, len(c.policies))
		for i, policy := range c.policies {
			list[i] = policy
			if n := c.counts[policy]; n > 1 {
				list[i] += fmt.Sprintf(" (%s)", engine.Comma(n))
			}
		}
		s.Wrap("    ", string(c.status)+": "+strings.Join(list, ", "))
	}
	s.Blank()
}

// unread tells why sections that were asked for were not read whole.
func (s *screen) unread(workspaces []engine.WorkspaceReport, limit int) {
	gaps := engine.SharedGaps(table.Map(workspaces, func(w engine.WorkspaceReport) engine.Snapshot { return w.Snapshot }))
	if len(gaps) == 0 {
		return
	}
	s.Styled(table.Yellow, "NOT READ")
	for _, gap := range gaps {
		state := string(gap.Coverage.Status)
		if reason := gap.Coverage.Reason; reason != "" && reason != state {
			state += " (" + reason + ")"
		}
		s.inWorkspaces(gap.Workspaces, "  "+gap.Names()+": "+state, limit)
		s.Wrap("    ", gap.Coverage.Detail)
		if gap.Coverage.Hint != "" {
			s.Wrap("    ", "hint: "+gap.Coverage.Hint)
		}
	}
	s.Blank()
}

// inWorkspaces says what one workspace or several have, and names the first few of several.
func (s *screen) inWorkspaces(names []string, what string, limit int) {
	if len(names) == 1 {
		s.Wrap("  ", names[0]+what)
		return
	}
	s.Wrap("  ", engine.Plural(len(names), "workspace")+what)
	s.Wrap("    ", "in "+engine.FewWords(names, limit))
}

// exceptions tells what was excused, by whom and until when, and which
// exceptions do no longer what they were made for.
func (s *screen) exceptions(x engine.Exceptions, limit int) {
	if x.None() {
		return
	}
	s.Styled(table.Bold, "EXCEPTIONS")
	waivers := func(heading string, uses []engine.WaiverUse, lines func(engine.WaiverUse) []string) { // the first few of a kind
		if len(uses) == 0 {
			return
		}
		s.Line("  " + heading + ": " + engine.Plural(len(uses), "waiver"))
		for _, use := range uses[:min(limit, len(uses))] {
			for _, line := range lines(use) {
				s.Wrap("    ", line)
			}
		}
		if limit > 0 {
			s.More("    ", len(uses)-limit, "")
		}
	}
	approver := func(w engine.WaiverUse) string {
		if w.Ticket == "" {
			return "approved by " + w.Approver
		}
		return "approved by " + w.Approver + " (" + w.Ticket + ")"
	}
	scope := func(w engine.WaiverUse) []string {
		return []string{w.ID + "  " + strings.Join(w.Policies, ", ") + " on " + w.Scope()}
	}
	waiving := slices.DeleteFunc(slices.Clone(x.Waivers), func(w engine.WaiverUse) bool { return w.Waived == 0 })
	waived := 0
	for _, use := range waiving {
		waived += use.Waived
	}
	waivers(engine.Plural(waived, "finding")+" waived", waiving, func(w engine.WaiverUse) []string {
		return []string{fmt.Sprintf("%s  %s, until %s, %s: %s", w.ID, engine.Plural(w.Waived, "finding"), w.Expires, approver(w), w.Reason)}
	})
	waivers("Expired, counting no more", x.In(engine.WaiverExpired), func(w engine.WaiverUse) []string {
		text := fmt.Sprintf("%s  on %s, %s ago", w.ID, w.Expires, engine.Plural(-w.DaysLeft, "day"))
		if w.Lapsed > 0 {
			text += "; failing again: " + engine.Plural(w.Lapsed, "finding")
		}
		return []string{text}
	})
	waivers(fmt.Sprintf("Expiring within %d days", engine.WaiverNotice), x.Expiring(), func(w engine.WaiverUse) []string {
		return []string{fmt.Sprintf("%s  on %s, %s left; %s", w.ID, w.Expires, engine.Plural(w.DaysLeft, "day"), approver(w))}
	})
	waivers("Refused by policy", x.Refused(), func(w engine.WaiverUse) []string {
		return table.Map(w.Refusals, func(why engine.WaiverRefusal) string { return w.ID + "  " + refusalText(why) })
	})
	waivers("Matching nothing, free to go", x.In(engine.WaiverUnmatched), scope)
	waivers("Not yet in force", x.In(engine.WaiverPending), func(w engine.WaiverUse) []string { return []string{fmt.Sprintf("%s  from %s on", w.ID, w.Created)} })
	waivers("About what was not judged", x.In(engine.WaiverNotJudged), scope)
	if b := x.Baseline; b != nil {
		text := fmt.Sprintf("Baseline of %s: %s, of which %s still failing, %s gone", b.AsOf, engine.Plural(b.Entries, "finding"), engine.Comma(b.Baselined), engine.Comma(len(b.Gone)))
		if b.NotJudged > 0 {
			text += ", " + engine.Comma(b.NotJudged) + " not judged"
		}
		s.Wrap("  ", text)
		for _, e := range b.Gone[:min(limit, len(b.Gone))] {
			s.Line(fmt.Sprintf("    gone: %s  %s  %s", e.Policy, e.Workspace, shortID(e.ResourceID)))
		}
		if limit > 0 {
			s.More("    ", len(b.Gone)-limit, " (-v lists them)")
		}
	}
	s.Blank()
}

func refusalText(why engine.WaiverRefusal) string {
	return fmt.Sprintf("%s: %s (%s)", why.Policy, why.Message, engine.Plural(why.Findings, "finding"))
}

// trend says what changed since the snapshots before, and names what is new.
func (s *screen) trend(t *engine.Trend, limit int) {
	if t == nil {
		return
	}
	s.Styled(table.Bold, "CHANGES")
	s.Wrap("  ", trendText(t))
	s.Wrap("  ", timesToFix(t))
	var rows [][]string
	for _, f := range t.New[:min(limit, len(t.New))] {
		rows = append(rows, append([]string{string(f.Severity), f.Policy}, exampleRow(f)...))
	}
	s.Rows("    ", append([]table.Fit{{Rank: 1}, {Rank: 1}}, exampleFits...), rows, nil)
	s.More("    ", t.Count(engine.ChangeNew)+t.Count(engine.ChangeWorse)-len(rows), "")
	s.Blank()
}

// framework says where the audit stands on a framework, or on one control of it.
func (s *screen) framework(frameworks []engine.Framework, wanted string) {
	name, control, _ := strings.Cut(wanted, ":")
	i := slices.IndexFunc(frameworks, func(f engine.Framework) bool { return f.Name == name })
	if i < 0 {
		s.Wrap("", "No policy of this audit serves "+wanted+".")
		s.Blank()
		return
	}
	s.Styled(table.Bold, strings.ToUpper(engine.FrameworkTitle(name)))
	var rows [][]string
	var styles []table.Style
	marks := map[engine.ControlStatus]table.Style{engine.ControlMet: table.Green, engine.ControlNotMet: table.Red, engine.ControlIncomplete: table.Yellow}
	for _, c := range frameworks[i].Controls {
		if control == "" || control == c.ID {
			rows = append(rows, []string{c.ID, controlWord(c.Status), controlCounts(c), strings.Join(c.Policies, ", ")})
			styles = append(styles, marks[c.Status])
		}
	}
	s.Rows("  ", []table.Fit{{Rank: 1}, {Rank: 1}, {Rank: 2, Least: 20}, {Rank: 3, Least: 10}}, rows, func(row int) table.Style { return styles[row] })
	if len(rows) == 0 {
		s.Line("  No policy of this audit serves " + control + ".")
	}
	s.Blank()
}

func controlWord(s engine.ControlStatus) string { return strings.ReplaceAll(string(s), "_", " ") }

// controlCounts says what a control's policies came to.
func controlCounts(c engine.Control) string {
	var parts []string
	if text := countsText(c.Tally); text != "" {
		parts = append(parts, text)
	}
	if passed := c.Tally[engine.Pass]; passed > 0 {
		parts = append(parts, engine.Comma(passed)+" passed")
	}
	parts = append(parts, c.Off...)
	if !c.Complete && c.Off == nil && undecided(c.Tally) == 0 {
		parts = append(parts, "not all of its policies ran")
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing to judge")
}

// worst names the tokens and workspaces on which most and the gravest failed. all is how
// many tokens there are on which something did.
func (s *screen) worst(tokens []*riskyToken, all int, workspaces map[string]*workspaceFailures) {
	if len(tokens) > 0 {
		s.Styled(table.Bold, "RISKIEST TOKENS")
		rows := table.Map(tokens, func(t *riskyToken) []string {
			counts := engine.SeverityCounts(func(level engine.Severity) int { return int(t.failed[level.Rank()]) })
			return []string{t.finding.Workspace, shortID(t.finding.ResourceID), t.finding.Owner, strings.Join(counts[:min(2, len(counts))], ", "), t.remedy, strings.Join(t.policies, ", ")}
		})
		s.Rows("  ", []table.Fit{{Rank: 3, Least: 12}, {Rank: 1}, {Rank: 4, Least: 10}, {Rank: 2}, {Rank: 5}, {Rank: 6, Least: 14}}, rows, nil)
		s.More("  ", all-len(tokens), ": patrol findings --group token")
		s.Blank()
	}
	if len(workspaces) < 2 {
		return
	}
	var list []*workspaceFailures
	for _, id := range engine.SortedKeys(workspaces) {
		list = append(list, workspaces[id])
	}
	slices.SortStableFunc(list, func(a, b *workspaceFailures) int {
		return cmp.Or(slices.Compare(b.failed[:], a.failed[:]), cmp.Compare(a.name, b.name))
	})
	rows := [][]string{{"WORKSPACES"}}
	for _, level := range engine.Severities() {
		rows[0] = append(rows[0], strings.ToUpper(string(level)))
	}
	rows[0] = append(rows[0], "UNKNOWN")
	for _, w := range list[:min(len(list), mostWorst)] {
		row := []string{"  " + w.name}
		for _, n := range append(w.failed[:], w.unknown) {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	fits := []table.Fit{{Rank: 1, Least: 14}, {Rank: 2}, {Rank: 3}, {Rank: 4}, {Rank: 5}, {Rank: 7}, {Rank: 6}}
	s.Rows("", fits, rows, func(row int) table.Style {
		if row == 0 {
			return table.Bold
		}
		return ""
	})
	s.More("  ", len(list)-mostWorst, ": patrol findings --group workspace")
	s.Blank()
}

// verdict writes the numbers and what they come to.
func (s *screen) verdict(r engine.Report) {
	s.Wrap("", WhatIf(r))
	s.Wrap("", engine.Plural(r.Summary.Tokens, "token")+" in "+engine.Plural(r.Summary.Workspaces, "workspace")+", judged as of "+table.TimeText(r.AsOf)+".")
	if reach := r.Reach(); len(reach.Accounts) > 0 || reach.Read != reach.Expected {
		s.Wrap("", fmt.Sprintf("Workspaces: expected %d, read %d (%d %%, wanted %d %%).", reach.Expected, reach.Read, reach.Percent(), 100-r.MayMiss))
		unseen := slices.DeleteFunc(reach.Missing, func(u engine.Unread) bool { return u.Status != string(engine.NotCollected) })
		for _, u := range unseen[:min(len(unseen), defaultFindings)] {
			s.Wrap("  ", u.Name+" ("+u.WorkspaceID+"): "+u.Detail)
		}
		s.More("  ", len(unseen)-defaultFindings, "")
	}
	s.Wrap("", offText(r))
	var off, changed []string
	for _, p := range r.Policies {
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
	text := "Findings: " + cmp.Or(strings.Join(engine.SeverityCounts(r.Summary.Failed), ", "), "none failed")
	for _, status := range []engine.Status{engine.Waived, engine.Baselined, engine.Unknown, engine.Errored} {
		if n := r.Summary.Statuses[status]; n > 0 {
			text += "; " + engine.Comma(n) + " " + string(status)
		}
	}
	s.Wrap("", text+".")
	style := map[engine.Verdict]table.Style{engine.Clean: table.Green, engine.Violations: table.Red, engine.Incomplete: table.Yellow}[r.Verdict()]
	s.Styled(style, "Verdict: "+string(r.Verdict()))
	s.Wrap("  ", explain(r)+".")
}

// nextSteps are what can be done now.
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
