package engine

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Excess is a limit that steps go beyond.
type Excess struct {
	Limit string  `json:"limit"` // max_steps, max_percent, max_per_owner, max_recently_used
	Where string  `json:"where"` // workspace, or workspace and owner; "" for the whole plan
	Got   float64 `json:"got"`
	Max   float64 `json:"max"`
}

func (e Excess) String() string {
	text := fmt.Sprintf("%s is %s, these steps come to %s", e.Limit, short(e.Max), short(e.Got))
	if e.Where != "" {
		text += " in " + e.Where
	}
	return text
}

// short keeps two decimals where there are any.
func short(n float64) string { return strconv.FormatFloat(math.Round(n*100)/100, 'f', -1, 64) }

// Exceeds tells which of the plan's limits those steps go beyond that chosen
// selects, among those that change a workspace. Percent, owner and recent use
// count tokens that a step names; a token that a changed grant or setting would
// disable is told in the step's risk instead. Recent use counts where access
// can break: when a token is revoked or its scopes are narrowed.
func (p Plan) Exceeds(chosen func(id string) bool) []Excess {
	t := limitTally{tokens: map[string]map[string]bool{}, owners: map[[2]string]map[string]bool{}, labels: map[[2]string]string{}, recent: map[[2]string]bool{}}
	for _, step := range p.Steps {
		if step.Action.Changes() && chosen(step.ID) {
			t.add(step)
		}
	}
	return t.excesses(p)
}

// limitTally counts distinct tokens: two steps on one token touch one token.
type limitTally struct {
	steps  int
	tokens map[string]map[string]bool    // workspace id → token ids
	owners map[[2]string]map[string]bool // workspace id, owner id → token ids
	labels map[[2]string]string          // how people know these owners
	recent map[[2]string]bool            // workspace id, token id
}

func (t *limitTally) add(s Step) {
	t.steps++
	if !s.Action.OnToken() {
		return
	}
	owner := [2]string{s.WorkspaceID, s.OwnerID}
	if t.tokens[s.WorkspaceID] == nil {
		t.tokens[s.WorkspaceID] = map[string]bool{}
	}
	if t.owners[owner] == nil {
		t.owners[owner] = map[string]bool{}
		t.labels[owner] = s.Workspace + " for " + cmp.Or(s.Owner, s.OwnerID)
	}
	t.tokens[s.WorkspaceID][s.Target] = true
	t.owners[owner][s.Target] = true
	if s.Risk.RecentlyUsed && s.Action != SetComment {
		t.recent[[2]string{s.WorkspaceID, s.Target}] = true
	}
}

func (t *limitTally) excesses(p Plan) []Excess {
	var found []Excess
	check := func(limit, where string, got, most float64) {
		if got > most {
			found = append(found, Excess{Limit: limit, Where: where, Got: got, Max: most})
		}
	}
	check("max_steps", "", float64(t.steps), float64(p.Limits.MaxSteps))
	for _, w := range p.Workspaces {
		check("max_percent", w.Name, percent(len(t.tokens[w.ID]), w.Tokens), p.Limits.MaxPercent)
	}
	for _, owner := range sortedPairs(t.owners) {
		check("max_per_owner", t.labels[owner], float64(len(t.owners[owner])), float64(p.Limits.MaxPerOwner))
	}
	check("max_recently_used", "", float64(len(t.recent)), float64(p.Limits.MaxRecentlyUsed))
	return found
}

// percent of nothing is everything: a population that is not known to be larger
// than what is taken from it must not pass a limit.
func percent(n, population int) float64 {
	if n == 0 {
		return 0
	}
	if population <= 0 {
		return 100
	}
	return 100 * float64(n) / float64(population)
}

func sortedPairs[V any](m map[[2]string]V) [][2]string {
	pairs := make([][2]string, 0, len(m))
	for pair := range m {
		pairs = append(pairs, pair)
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	return pairs
}
