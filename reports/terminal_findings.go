package reports

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// mostWorst is how many tokens and workspaces the end of an audit names.
const mostWorst = 5

// failures counts failed results by the rank of their severity.
type failures [5]uint16

func (f failures) worse(other failures) bool { return slices.Compare(f[:], other[:]) > 0 }

// text names the two worst.
func (f failures) text() string {
	parts := engine.SeverityCounts(func(level engine.Severity) int { return int(f[level.Rank()]) })
	return strings.Join(parts[:min(2, len(parts))], ", ")
}

// counted is what failed on each token and in each workspace. Of a token only a
// hash is kept: there may be very many.
type counted struct {
	seed       maphash.Seed
	tokens     map[uint64]failures
	workspaces map[string]*workspaceFailures // by id
}

type workspaceFailures struct {
	name    string
	failed  [5]int
	unknown int
}

func (c *counted) key(f engine.Finding) uint64 {
	return maphash.String(c.seed, f.WorkspaceID+"\x00"+f.ResourceID)
}

func (c *counted) add(f engine.Finding) {
	w := c.workspaces[f.WorkspaceID]
	if w == nil {
		w = &workspaceFailures{name: f.Workspace}
		c.workspaces[f.WorkspaceID] = w
	}
	switch {
	case !f.Status.Judged():
		w.unknown++
	case f.Status == engine.Fail:
		w.failed[f.Severity.Rank()]++
		if f.Resource == engine.ResourceToken {
			key := c.key(f)
			counts := c.tokens[key]
			counts[f.Severity.Rank()]++
			c.tokens[key] = counts
		}
	}
}

// riskyToken is a token and all that failed on it.
type riskyToken struct {
	finding  engine.Finding // the worst
	failed   failures
	policies []string
	remedy   string // of the worst that has one
}

// riskiest are the tokens on which the worst failed, and of those alike the most.
func (c *counted) riskiest(ctx context.Context, r engine.Report) ([]riskyToken, error) {
	var top []failures
	for _, f := range c.tokens {
		i, _ := slices.BinarySearchFunc(top, f, func(a, b failures) int { return slices.Compare(b[:], a[:]) })
		if i < mostWorst {
			top = slices.Insert(top, i, f)[:min(len(top)+1, mostWorst)]
		}
	}
	if len(top) == 0 {
		return nil, nil
	}
	least := top[len(top)-1]
	remedies := map[string]string{}
	for _, p := range r.Policies {
		remedies[p.Policy.ID] = string(p.Policy.Remedy)
	}
	var list []*riskyToken
	at := map[uint64]*riskyToken{}
	alike := 0 // tokens that are no worse than the last one shown: there may be very many
	err := table.Each(ctx, r.Findings, func(f engine.Finding) error {
		if f.Status != engine.Fail || f.Resource != engine.ResourceToken {
			return nil
		}
		key := c.key(f)
		token := at[key]
		if token == nil {
			if least.worse(c.tokens[key]) || least == c.tokens[key] && alike == mostWorst {
				return nil
			}
			if least == c.tokens[key] {
				alike++
			}
			token = &riskyToken{finding: f, failed: c.tokens[key]}
			at[key] = token
			list = append(list, token)
		}
		token.policies = append(token.policies, f.Policy)
		if remedy := remedies[f.Policy]; token.remedy == "" && remedy != "manual" {
			token.remedy = remedy
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b *riskyToken) int { return slices.Compare(b.failed[:], a.failed[:]) })
	return table.Map(list[:min(len(list), mostWorst)], func(t *riskyToken) riskyToken { return *t }), err
}

func (s *screen) riskiest(tokens []riskyToken, all int) {
	if len(tokens) == 0 {
		return
	}
	s.Styled(table.Bold, "RISKIEST TOKENS")
	s.Rows("  ", []table.Fit{{Rank: 3, Least: 12}, {Rank: 1}, {Rank: 4, Least: 10}, {Rank: 2}, {Rank: 5}, {Rank: 6, Least: 14}}, table.Map(tokens, func(t riskyToken) []string {
		return []string{t.finding.Workspace, shortID(t.finding.ResourceID), t.finding.Owner, t.failed.text(), t.remedy, strings.Join(t.policies, ", ")}
	}), nil)
	if all > len(tokens) {
		s.Line("  … and " + engine.Comma(all-len(tokens)) + " more: patrol findings --group token")
	}
	s.Blank()
}

func (s *screen) worst(workspaces map[string]*workspaceFailures) {
	if len(workspaces) < 2 {
		return
	}
	var list []*workspaceFailures
	for _, id := range engine.SortedKeys(workspaces) {
		list = append(list, workspaces[id])
	}
	slices.SortStableFunc(list, func(a, b *workspaceFailures) int {
		if order := slices.Compare(b.failed[:], a.failed[:]); order != 0 {
			return order
		}
		return strings.Compare(a.name, b.name)
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
	s.Rows("", []table.Fit{{Rank: 1, Least: 14}, {Rank: 2}, {Rank: 3}, {Rank: 4}, {Rank: 5}, {Rank: 7}, {Rank: 6}}, rows, func(row int) table.Style {
		if row == 0 {
			return table.Bold
		}
		return ""
	})
	if more := len(list) - mostWorst; more > 0 {
		s.Line("  … and " + engine.Comma(more) + " more: patrol findings --group workspace")
	}
	s.Blank()
}

// cause is why something in a workspace could not be judged, and by which
// policies: a workspace that cannot be read keeps all of them from judging.
type cause struct {
	workspace   string
	workspaceID string
	status      engine.Status
	message     string
	policies    []string
	counts      map[string]int
}

type causes []*cause

// mostCauses bounds what is kept: messages may be as many as tokens.
const mostCauses = 200

func (c *causes) add(f engine.Finding) {
	if f.Status.Judged() {
		return
	}
	known := c.find(f, f.Message)
	if known == nil && len(*c) >= mostCauses {
		f.Message = "other reasons; the report files name them"
		known = c.find(f, f.Message)
	}
	if known == nil {
		known = &cause{f.Workspace, f.WorkspaceID, f.Status, f.Message, nil, map[string]int{}}
		*c = append(*c, known)
	}
	if known.counts[f.Policy] == 0 {
		known.policies = append(known.policies, f.Policy)
	}
	known.counts[f.Policy]++
}

func (c causes) find(f engine.Finding, message string) *cause {
	i := slices.IndexFunc(c, func(known *cause) bool {
		return known.workspaceID == f.WorkspaceID && known.status == f.Status && known.message == message
	})
	if i < 0 {
		return nil
	}
	return c[i]
}

// shared is a cause that several workspaces have in common.
type shared struct {
	cause
	reason     string
	workspaces []string
}

// unjudged tells each cause once, with the workspaces that have it and the
// policies that could not judge.
func (s *screen) unjudged(r engine.Report, all causes, limit int) {
	if len(all) == 0 {
		return
	}
	slices.SortStableFunc(all, func(a, b *cause) int { return strings.Compare(a.workspace, b.workspace) })
	s.Styled(table.Yellow, "NOT JUDGED")
	for _, c := range all.shared(r.Workspaces) {
		s.Wrap("  ", whose(c.workspaces, c.reason))
		s.wheres(c.workspaces, limit)
		s.Wrap("    ", c.extent())
	}
	s.Blank()
}

// shared gathers causes of the same words about the same policies.
func (c causes) shared(workspaces []engine.WorkspaceReport) []*shared {
	var list []*shared
	for _, cause := range c {
		reason := cause.reason(workspaces)
		i := slices.IndexFunc(list, func(s *shared) bool {
			return s.status == cause.status && s.reason == reason && slices.Equal(s.policies, cause.policies)
		})
		if i < 0 {
			i, list = len(list), append(list, &shared{cause: *cause, reason: reason})
			list[i].counts = map[string]int{}
		}
		list[i].workspaces = append(list[i].workspaces, cause.workspace)
		for policy, n := range cause.counts {
			list[i].counts[policy] += n
		}
	}
	return list
}

// whose says of which workspace a text is, or of how many.
func whose(workspaces []string, text string) string {
	if len(workspaces) == 1 {
		return workspaces[0] + ": " + text
	}
	return engine.Plural(len(workspaces), "workspace") + ": " + text
}

// wheres names the first few of several workspaces.
func (s *screen) wheres(workspaces []string, limit int) {
	if len(workspaces) > 1 {
		s.Wrap("    ", "in "+engine.FewWords(workspaces, limit))
	}
}

// reason is the message without what the list of sections that were not read
// says, too.
func (c *cause) reason(workspaces []engine.WorkspaceReport) string {
	text := strings.TrimPrefix(c.message, "not judged: ")
	for _, w := range workspaces {
		if w.Snapshot.Workspace.ID != c.workspaceID {
			continue
		}
		for _, gap := range w.Snapshot.Gaps() {
			if gap.Coverage.Detail != "" {
				text = strings.ReplaceAll(text, ": "+gap.Coverage.Detail, "")
			}
		}
	}
	return text
}

// extent lists the policies, with the number of results where there are several.
func (c *cause) extent() string {
	list := make([]string, len(c.policies))
	for i, policy := range c.policies {
		list[i] = policy
		if n := c.counts[policy]; n > 1 {
			list[i] += fmt.Sprintf(" (%s)", engine.Comma(n))
		}
	}
	return string(c.status) + ": " + strings.Join(list, ", ")
}

// unread tells why sections that were asked for were not read whole.
func (s *screen) unread(r engine.Report, limit int) {
	snapshots := make([]engine.Snapshot, len(r.Workspaces))
	for i, w := range r.Workspaces {
		snapshots[i] = w.Snapshot
	}
	gaps := engine.SharedGaps(snapshots)
	if len(gaps) == 0 {
		return
	}
	s.Styled(table.Yellow, "NOT READ")
	for _, gap := range gaps {
		s.gap(gap, limit)
	}
	s.Blank()
}

func (s *screen) gap(gap engine.SharedGap, limit int) {
	state := string(gap.Coverage.Status)
	if reason := gap.Coverage.Reason; reason != "" && reason != state {
		state += " (" + reason + ")"
	}
	where := gap.Workspaces[0]
	if len(gap.Workspaces) > 1 {
		where = engine.Plural(len(gap.Workspaces), "workspace")
	}
	s.Wrap("  ", where+"  "+gap.Names()+": "+state)
	s.wheres(gap.Workspaces, limit)
	s.Wrap("    ", gap.Coverage.Detail)
	if gap.Coverage.Hint != "" {
		s.Wrap("    ", "hint: "+gap.Coverage.Hint)
	}
}

// exceptions tells what was excused, by whom and until when, and which
// exceptions do no longer what they were made for.
func (s *screen) exceptions(r engine.Report, limit int) {
	x := r.Exceptions
	if x.None() {
		return
	}
	s.Styled(table.Bold, "EXCEPTIONS")
	waiving, waived := waiving(x)
	s.waivers(engine.Plural(waived, "finding")+" waived", waiving, limit, func(w engine.WaiverUse) []string {
		return []string{fmt.Sprintf("%s  %s, until %s, approved by %s%s: %s", w.ID, engine.Plural(w.Waived, "finding"), w.Expires, w.Approver, ticket(w), w.Reason)}
	})
	s.waivers("Expired, counting no more", x.In(engine.WaiverExpired), limit, func(w engine.WaiverUse) []string {
		text := fmt.Sprintf("%s  on %s, %s ago", w.ID, w.Expires, engine.Plural(-w.DaysLeft, "day"))
		if w.Lapsed > 0 {
			text += "; failing again: " + engine.Plural(w.Lapsed, "finding")
		}
		return []string{text}
	})
	s.waivers(fmt.Sprintf("Expiring within %d days", engine.WaiverNotice), x.Expiring(), limit, func(w engine.WaiverUse) []string {
		return []string{fmt.Sprintf("%s  on %s, %s left; approved by %s%s", w.ID, w.Expires, engine.Plural(w.DaysLeft, "day"), w.Approver, ticket(w))}
	})
	s.waivers("Refused by policy", x.Refused(), limit, func(w engine.WaiverUse) []string {
		return table.Map(w.Refusals, func(why engine.WaiverRefusal) string {
			return fmt.Sprintf("%s  %s: %s (%s)", w.ID, why.Policy, why.Message, engine.Plural(why.Findings, "finding"))
		})
	})
	scope := func(w engine.WaiverUse) []string {
		return []string{w.ID + "  " + strings.Join(w.Policies, ", ") + " on " + w.Scope()}
	}
	s.waivers("Matching nothing, free to go", x.In(engine.WaiverUnmatched), limit, scope)
	s.waivers("Not yet in force", x.In(engine.WaiverPending), limit, func(w engine.WaiverUse) []string { return []string{fmt.Sprintf("%s  from %s on", w.ID, w.Created)} })
	s.waivers("About what was not judged", x.In(engine.WaiverNotJudged), limit, scope)
	s.baseline(x.Baseline, limit)
	s.Blank()
}

// waiving lists the waivers that excuse something, and counts what.
func waiving(x engine.Exceptions) (uses []engine.WaiverUse, findings int) {
	for _, use := range x.Waivers {
		if use.Waived > 0 {
			uses = append(uses, use)
			findings += use.Waived
		}
	}
	return uses, findings
}

// waivers shows the first few of a kind.
func (s *screen) waivers(heading string, uses []engine.WaiverUse, limit int, lines func(engine.WaiverUse) []string) {
	if len(uses) == 0 {
		return
	}
	s.Line("  " + heading + ": " + engine.Plural(len(uses), "waiver"))
	for _, use := range uses[:min(limit, len(uses))] {
		for _, line := range lines(use) {
			s.Wrap("    ", line)
		}
	}
	if more := len(uses) - limit; more > 0 && limit > 0 {
		s.Line("    … and " + engine.Comma(more) + " more")
	}
}

func ticket(w engine.WaiverUse) string {
	if w.Ticket == "" {
		return ""
	}
	return " (" + w.Ticket + ")"
}

func (s *screen) baseline(b *engine.BaselineUse, limit int) {
	if b == nil {
		return
	}
	text := fmt.Sprintf("Baseline of %s: %s, of which %s still failing, %s gone", b.AsOf, engine.Plural(b.Entries, "finding"), engine.Comma(b.Baselined), engine.Comma(len(b.Gone)))
	if b.NotJudged > 0 {
		text += ", " + engine.Comma(b.NotJudged) + " not judged"
	}
	s.Wrap("  ", text)
	for _, e := range b.Gone[:min(limit, len(b.Gone))] {
		s.Line(fmt.Sprintf("    gone: %s  %s  %s", e.Policy, e.Workspace, shortID(e.ResourceID)))
	}
	if more := len(b.Gone) - limit; more > 0 && limit > 0 {
		s.Line("    … and " + engine.Comma(more) + " more (-v lists them)")
	}
}
