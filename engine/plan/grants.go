package plan

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
)

const (
	levelUse    = "CAN_USE"
	levelManage = "CAN_MANAGE"
)

// grantChange takes entries from a workspace's access control list, all in one
// step: its precondition is the whole list, which each change makes another.
type grantChange struct {
	hits    []hit
	removed engine.Grants
	kept    engine.Grants
	danger  danger // live tokens whose owners only the removed entries let use them
}

// prepareGrants finds out what is to be taken before the tokens are passed over.
func (b *builder) prepareGrants() {
	for _, w := range b.order {
		change := &grantChange{hits: hitsOf(w.hits, engine.ChangeGrant)}
		if len(change.hits) == 0 {
			continue
		}
		groups := b.everybody(w, change.hits)
		for _, grant := range w.Grants {
			if grant.Kind == "group" && grant.Level == levelUse && containsFold(groups, grant.Principal) {
				change.removed = append(change.removed, grant)
			} else {
				change.kept = append(change.kept, grant)
			}
		}
		w.grants = change
	}
}

// everybody are the groups that the policies call too large.
func (b *builder) everybody(w *workspace, hits []hit) []string {
	var groups []string
	for _, h := range hits {
		groups = append(groups, engine.TextsOf(b.param(w, h.finding.Policy, "groups"))...)
	}
	return groups
}

// endangers reports whether the owner of a token would lose the right to use
// it. The removed groups hold everybody, so it is enough to look for another
// grant; an owner that the directory does not tell of has none that is known.
func (c *grantChange) endangers(s engine.Subject) bool {
	if len(c.removed) == 0 {
		return false
	}
	return !slices.ContainsFunc(c.kept, func(g engine.Grant) bool { return covers(g, s.Owner) })
}

func covers(g engine.Grant, owner engine.Party) bool {
	if g.Level != levelUse && g.Level != levelManage {
		return false
	}
	switch g.Kind {
	case "group":
		admin := owner.Admin != nil && *owner.Admin && strings.EqualFold(g.Principal, "admins")
		return admin || containsFold(owner.Groups, g.Principal)
	case "service_principal":
		return owner.Kind == engine.ServicePrincipal && owner.Name != "" && strings.EqualFold(g.Principal, owner.Name)
	}
	return owner.Kind == engine.User && owner.Name != "" && strings.EqualFold(g.Principal, owner.Name)
}

func (b *builder) planGrants(w *workspace) {
	c := w.grants
	if c == nil {
		return
	}
	coverage := w.Snapshot.Coverage[engine.SectionGrants]
	switch {
	case !coverage.Complete():
		b.skipAll(c.hits, "coverage", "who may use tokens was not read whole: "+string(coverage.Status))
	case len(c.removed) == 0:
		b.skipAll(c.hits, "no_remedy", "no "+levelUse+" of a group in the policy's parameter `groups` can be taken away")
	case c.inherited():
		b.skipAll(c.hits, "no_remedy", "the grant is inherited: change it where it comes from")
	case !w.Snapshot.Coverage[engine.SectionTokens].Whole():
		b.skipAll(c.hits, "coverage", "the tokens that depend on the grant were not read whole")
	case c.danger.guarded > 0:
		b.skipAll(c.hits, "protected", fmt.Sprintf("it would disable %d protected tokens: give their owners %s by another group first", c.danger.guarded, levelUse))
	default:
		b.steps = append(b.steps, b.grantStep(w, c))
	}
}

func (c *grantChange) inherited() bool {
	return slices.ContainsFunc(c.removed, func(g engine.Grant) bool { return g.Inherited })
}

func (b *builder) grantStep(w *workspace, c *grantChange) engine.Step {
	var principals []string
	for _, grant := range c.removed {
		principals = append(principals, grant.Principal)
	}
	step := b.step(w, engine.ChangeGrant, strings.Join(principals, ","), c.hits)
	state := engine.GrantsState(w.Grants)
	step.Precondition = engine.Precondition{Identity: state, Digest: engine.Fingerprint(state)}
	step.Expected = engine.GrantsState(c.kept)
	step.Risk = engine.Risk{Level: riskMedium, Why: "no live token depends on the grant"}
	if c.danger.tokens > 0 {
		step.Risk = c.danger.risk(b.in.Config.Limits.RecentlyUsedDays, "they stop working at once and may be deleted, as only this grant lets their owners use them")
	}
	step.Critical = step.Risk.Level == riskHigh
	return step
}
