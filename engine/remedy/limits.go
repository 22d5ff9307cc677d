package remedy

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"patrol/engine"
)

// Excess is a limit that steps go beyond.
type Excess struct {
	Limit string  `json:"limit"` // max_steps, max_percent, max_per_owner, max_recently_used, max_endangered
	Where string  `json:"where"` // workspace, or workspace and owner; "" for the whole plan
	Got   float64 `json:"got"`
	Max   float64 `json:"max"`
}

func (e Excess) String() string {
	counted := "these steps"
	if e.Limit == "max_steps" {
		counted += " and the tokens they disable"
	}
	text := fmt.Sprintf("%s is %s, %s come to %s", e.Limit, short(e.Max), counted, short(e.Got))
	if e.Where != "" {
		text += " in " + e.Where
	}
	return text
}

// short keeps two decimals where there are any: 39.66, 11,948.
func short(n float64) string {
	if whole := math.Round(n); math.Abs(n-whole) < 0.005 {
		return engine.Comma(int(whole))
	}
	return strconv.FormatFloat(math.Round(n*100)/100, 'f', -1, 64)
}

// Weight is what a step counts for in limits of the whole plan. Recent use
// counts where access can break: not where a comment is replaced.
func Weight(s engine.Step) (steps, endangered, recent int) {
	switch r := Of(s.Action); {
	case !r.Changes():
		return 0, 0, 0
	case !r.OnToken():
		return 1 + s.Risk.Endangers, s.Risk.Endangers, s.Risk.EndangersRecent
	case s.Risk.RecentlyUsed && r.Safe == "":
		recent = 1
	}
	return 1, s.Risk.Endangers, recent
}

// Every chooses all steps.
func Every(string) bool { return true }

// Exceeds tells which of the plan's limits those steps go beyond that chosen
// selects, among those that change a workspace. A token counts that a step
// names, once however many steps do, and one that a step takes the use from
// without naming it.
func Exceeds(p engine.Plan, chosen func(id string) bool) []Excess {
	type pair [2]string // workspace id, and owner id
	steps, endangered, recent := 0, 0, 0
	tokens, owners, labels := map[string]map[string]bool{}, map[pair]map[string]bool{}, map[pair]string{}
	indirect, ofOne := map[string]int{}, map[string]int{} // by workspace id
	for _, s := range p.Steps {
		if !Changes(s) || !chosen(s.ID) {
			continue
		}
		n, e, r := Weight(s)
		steps, endangered, recent = steps+n, endangered+e, recent+r
		if !OnToken(s) {
			indirect[s.WorkspaceID] += s.Risk.Endangers
			ofOne[s.WorkspaceID] = max(ofOne[s.WorkspaceID], s.Risk.EndangersOfOne)
			continue
		}
		owner := pair{s.WorkspaceID, s.OwnerID}
		if tokens[s.WorkspaceID] == nil {
			tokens[s.WorkspaceID] = map[string]bool{}
		}
		if owners[owner] == nil {
			owners[owner], labels[owner] = map[string]bool{}, s.Workspace+" for "+cmp.Or(s.Owner, s.OwnerID)
		}
		tokens[s.WorkspaceID][s.Target], owners[owner][s.Target] = true, true
	}
	var found []Excess
	check := func(limit, where string, got, most float64) {
		if got > most {
			found = append(found, Excess{Limit: limit, Where: where, Got: got, Max: most})
		}
	}
	check("max_endangered", "", float64(endangered), float64(p.Limits.MaxEndangered))
	check("max_steps", "", float64(steps), float64(p.Limits.MaxSteps))
	for _, w := range p.Workspaces {
		touched := len(tokens[w.ID]) + indirect[w.ID]
		if w.Tokens > 0 {
			touched = min(touched, w.Tokens) // one that a step revokes may also be endangered by another
		}
		check("max_percent", w.Name, percent(touched, w.Tokens), p.Limits.MaxPercent)
	}
	for _, w := range p.Workspaces {
		check("max_per_owner", w.Name+" for the owner with most endangered tokens", float64(ofOne[w.ID]), float64(p.Limits.MaxPerOwner))
	}
	pairs := slices.SortedFunc(maps.Keys(owners), func(a, b pair) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	for _, owner := range pairs {
		check("max_per_owner", labels[owner], float64(len(owners[owner])), float64(p.Limits.MaxPerOwner))
	}
	check("max_recently_used", "", float64(recent), float64(p.Limits.MaxRecentlyUsed))
	return found
}

// mostDangers bounds the steps of one kind that Dangers tells one by one.
const mostDangers = 3

// Dangers says what those steps disable that chosen selects: what a reader has
// to know first. Few steps have a line each; the same in many workspaces has one:
// "change-grant users in 150 workspaces disables 5,305 live tokens, 4,311 used within 7 days".
func Dangers(p engine.Plan, chosen func(id string) bool) []string {
	type kind struct{ action, target string }
	var kinds []kind
	disabling, losing := map[kind][]engine.Step{}, map[engine.Action]int{}
	for _, s := range p.Steps {
		switch k := (kind{string(s.Action), s.Target}); {
		case s.Risk.Endangers == 0 || !chosen(s.ID):
		case OnToken(s):
			losing[s.Action]++
		default:
			if disabling[k] == nil {
				kinds = append(kinds, k)
			}
			disabling[k] = append(disabling[k], s)
		}
	}
	var lines []string
	for _, k := range kinds {
		steps := disabling[k]
		if len(steps) <= mostDangers {
			for _, s := range steps {
				lines = append(lines, fmt.Sprintf("%s %s in %s disables %s", s.Action, s.Target, s.Workspace, Disables(s.Risk, p.Limits.RecentlyUsedDays)))
			}
			continue
		}
		tokens, recent := 0, 0
		for _, s := range steps {
			tokens, recent = tokens+s.Risk.Endangers, recent+s.Risk.EndangersRecent
		}
		lines = append(lines, fmt.Sprintf("%s %s in %s disables %s, %s used within %d days", k.action, k.target,
			engine.Plural(len(steps), "workspace"), engine.Plural(tokens, "live token"), engine.Comma(recent), p.Limits.RecentlyUsedDays))
	}
	for _, action := range engine.SortedKeys(losing) {
		lines = append(lines, fmt.Sprintf("%s takes scopes that were seen in use from %s", action, engine.Plural(losing[action], "token")))
	}
	return lines
}

// Disables says how many tokens a step takes the use from.
func Disables(r engine.Risk, recentlyUsedDays int64) string {
	return fmt.Sprintf("%s of %s, %s used within %d days", engine.Plural(r.Endangers, "live token"), engine.Plural(r.EndangersOwners, "owner"), engine.Comma(r.EndangersRecent), recentlyUsedDays)
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
