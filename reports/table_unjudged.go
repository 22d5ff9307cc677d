package reports

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
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

// unjudged tells each cause once, with the policies that could not judge.
func (s *screen) unjudged(r engine.Report, all causes) {
	if len(all) == 0 {
		return
	}
	slices.SortStableFunc(all, func(a, b *cause) int { return strings.Compare(a.workspace, b.workspace) })
	s.styled(yellow, "NOT JUDGED")
	for _, c := range all {
		s.wrap("  ", c.workspace+": "+c.reason(r.Workspaces))
		s.wrap("    ", c.extent())
	}
	s.blank()
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
			list[i] += fmt.Sprintf(" (%s)", comma(n))
		}
	}
	return string(c.status) + ": " + strings.Join(list, ", ")
}

// unread tells why sections that were asked for were not read whole.
func (s *screen) unread(r engine.Report) {
	header := "NOT READ"
	for _, w := range r.Workspaces {
		for _, gap := range w.Snapshot.Gaps() {
			if header != "" {
				s.styled(yellow, header)
				header = ""
			}
			s.gap(w.Snapshot.Workspace.Name, gap)
		}
	}
	if header == "" {
		s.blank()
	}
}

func (s *screen) gap(workspace string, gap engine.Gap) {
	state := string(gap.Coverage.Status)
	if reason := gap.Coverage.Reason; reason != "" && reason != state {
		state += " (" + reason + ")"
	}
	s.wrap("  ", workspace+"  "+gap.Names()+": "+state)
	s.wrap("    ", gap.Coverage.Detail)
	if gap.Coverage.Hint != "" {
		s.wrap("    ", "hint: "+gap.Coverage.Hint)
	}
}
