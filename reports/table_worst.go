package reports

import (
	"context"
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
	var parts []string
	for rank, level := range engine.Severities() {
		if n := f[rank]; n > 0 && len(parts) < 2 {
			parts = append(parts, engine.Comma(int(n))+" "+string(level))
		}
	}
	return strings.Join(parts, ", ")
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
