package reports

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// collected is what a summary needs of findings, of which there may be very many.
type collected struct {
	groups     []*group
	causes     []*cause
	workspaces map[string]*workspaceFailures // by id
	tokens     map[uint64]failures           // by hash of workspace and token
	seed       maphash.Seed
}

// group is what is shown of the findings of one policy that have one severity:
// a configuration may grade it differently from workspace to workspace.
type group struct {
	policy     string
	title      string
	severity   engine.Severity
	counts     engine.Tally
	workspaces map[string]bool  // ids of those with failures
	examples   []engine.Finding // the first that failed
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

// failures counts failed results by the rank of their severity.
type failures [5]uint16

type workspaceFailures struct {
	name    string
	failed  [5]int
	unknown int
}

// cause is why something in a workspace could not be judged, and by which
// policies: a workspace that cannot be read keeps all of them from judging.
type cause struct {
	id       string // of the workspace
	status   engine.Status
	message  string
	names    []string // of workspaces
	policies []string
	counts   map[string]int // by policy
}

// mostCauses bounds what is kept: messages may be as many as tokens.
const mostCauses = 200

func (c *collected) key(f engine.Finding) uint64 {
	return maphash.String(c.seed, f.WorkspaceID+"\x00"+f.ResourceID)
}

// collect reads all findings and keeps so many examples of each group. Findings come
// sorted, so that the groups are, too.
func collect(ctx context.Context, r engine.Report, examples int) (*collected, error) {
	c := &collected{workspaces: map[string]*workspaceFailures{}, tokens: map[uint64]failures{}, seed: maphash.MakeSeed()}
	type reason struct {
		workspace string
		status    engine.Status
		message   string
	}
	causes := map[reason]*cause{}
	var g *group
	return c, table.Each(ctx, r.Findings, func(f engine.Finding) error {
		if g == nil || g.policy != f.Policy || g.severity != f.Severity {
			g = &group{policy: f.Policy, title: f.Title, severity: f.Severity, counts: engine.Tally{}, workspaces: map[string]bool{}}
			c.groups = append(c.groups, g)
		}
		g.counts[f.Status]++
		w := c.workspaces[f.WorkspaceID]
		if w == nil {
			w = &workspaceFailures{name: f.Workspace}
			c.workspaces[f.WorkspaceID] = w
		}
		if f.Status == engine.Fail {
			g.workspaces[f.WorkspaceID] = true
			if len(g.examples) < examples {
				g.examples = append(g.examples, f)
			}
			w.failed[f.Severity.Rank()]++
			if f.Resource == engine.ResourceToken {
				key := c.key(f)
				counts := c.tokens[key]
				counts[f.Severity.Rank()]++
				c.tokens[key] = counts
			}
		}
		if f.Status.Judged() {
			return nil
		}
		w.unknown++
		why := reason{f.WorkspaceID, f.Status, f.Message}
		if causes[why] == nil && len(c.causes) >= mostCauses {
			why.message = "other reasons; the report files name them"
		}
		known := causes[why]
		if known == nil {
			known = &cause{id: f.WorkspaceID, status: f.Status, message: why.message, names: []string{f.Workspace}, counts: map[string]int{}}
			causes[why] = known
			c.causes = append(c.causes, known)
		}
		if known.counts[f.Policy] == 0 {
			known.policies = append(known.policies, f.Policy)
		}
		known.counts[f.Policy]++
		return nil
	})
}

// mostWorst is how many tokens and workspaces the end of an audit names.
const mostWorst = 5

// riskyToken is a token and all that failed on it.
type riskyToken struct {
	finding  engine.Finding // the worst
	failed   failures
	policies []string
	remedy   string // of the worst that has one
}

// riskiest are the tokens on which the worst failed, and of those alike the most. It
// reads the findings again: of tokens no more than a hash was kept.
func (c *collected) riskiest(ctx context.Context, r engine.Report) ([]*riskyToken, error) {
	if len(c.tokens) == 0 {
		return nil, nil
	}
	worstFirst := func(a, b failures) int { return slices.Compare(b[:], a[:]) }
	var top []failures
	for _, failed := range c.tokens {
		if i, _ := slices.BinarySearchFunc(top, failed, worstFirst); i < mostWorst {
			top = slices.Insert(top, i, failed)[:min(len(top)+1, mostWorst)]
		}
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
			failed := c.tokens[key]
			if worstFirst(least, failed) < 0 || failed == least && alike == mostWorst {
				return nil
			}
			if failed == least {
				alike++
			}
			token = &riskyToken{finding: f, failed: failed}
			at[key] = token
			list = append(list, token)
		}
		token.policies = append(token.policies, f.Policy)
		if remedy := remedies[f.Policy]; token.remedy == "" && remedy != "manual" {
			token.remedy = remedy
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b *riskyToken) int { return worstFirst(a.failed, b.failed) })
	return list[:min(len(list), mostWorst)], err
}

// sharedCauses gathers causes of the same words about the same policies, by name of the
// workspace. The words leave out what the list of sections that were not read says, too.
func sharedCauses(causes []*cause, workspaces []engine.WorkspaceReport) []*cause {
	sorted := slices.Clone(causes)
	slices.SortStableFunc(sorted, func(a, b *cause) int { return strings.Compare(a.names[0], b.names[0]) })
	var list []*cause
	for _, c := range sorted {
		message := strings.TrimPrefix(c.message, "not judged: ")
		for _, w := range workspaces {
			if w.Snapshot.Workspace.ID != c.id {
				continue
			}
			for _, gap := range w.Snapshot.Gaps() {
				if gap.Coverage.Detail != "" {
					message = strings.ReplaceAll(message, ": "+gap.Coverage.Detail, "")
				}
			}
		}
		i := slices.IndexFunc(list, func(s *cause) bool {
			return s.status == c.status && s.message == message && slices.Equal(s.policies, c.policies)
		})
		if i < 0 {
			list = append(list, &cause{status: c.status, message: message, names: c.names, policies: c.policies, counts: c.counts})
			continue
		}
		list[i].names = append(list[i].names, c.names...)
		for policy, n := range c.counts {
			list[i].counts[policy] += n
		}
	}
	return list
}
