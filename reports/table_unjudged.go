package reports

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

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
