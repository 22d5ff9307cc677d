package plan

import (
	"cmp"
	"fmt"
	"slices"

	"patrol/engine"
	"patrol/engine/remedy"
)

// proposed is a step on a workspace, and the live tokens that it takes the use from.
type proposed struct {
	change                  remedy.Change
	step                    engine.Step
	endangers               func(engine.Subject) bool
	tokens, recent, guarded int
	owners                  map[string]int
	users                   []engine.TokenUser // the busiest
	unknown                 string
}

// mostUsers is how many users of tokens a step names.
const mostUsers = 10

// use notes who uses a token.
func (p *proposed) use(s engine.Subject, a *engine.Activity, unknown string) {
	p.unknown = cmp.Or(p.unknown, unknown)
	if a == nil {
		return
	}
	u := engine.UseOf(*a)
	u.Token, u.Owner = s.Token.ID, s.Owner.WorkspaceLabel()
	p.users = append(p.users, u)
	slices.SortStableFunc(p.users, func(x, y engine.TokenUser) int { return cmp.Compare(y.PerDay*y.Days, x.PerDay*x.Days) })
	p.users = p.users[:min(len(p.users), mostUsers)]
}

// propose asks the remedies of workspaces for their steps, before the tokens are
// passed over.
func (b *builder) propose() {
	for _, w := range b.order {
		site := remedy.Site{
			WorkspaceReport: w.WorkspaceReport, Policy: func(id string) engine.Policy { return b.policies[id] },
			Param: func(policy, name string) any { return b.param(w, policy, name) },
		}
		for _, name := range remedy.Names() {
			r, hits := remedy.Of(name), slices.DeleteFunc(slices.Clone(w.hits), func(h hit) bool { return h.action != name })
			if len(hits) == 0 {
				continue
			}
			if !r.Changes() {
				step := b.step(w, r, w.Snapshot.Workspace.ID, hits)
				step.Risk.Level, step.Risk.Why = remedy.Low, r.Safe
				b.steps = append(b.steps, step)
				continue
			}
			if coverage := w.Snapshot.Coverage[r.Section]; !coverage.Complete() {
				b.skipAll(hits, "coverage", fmt.Sprintf("the workspace's %s were not read whole: %s", r.Section, coverage.Status))
				continue
			}
			var findings []engine.Finding
			for _, h := range hits {
				findings = append(findings, h.finding)
			}
			changes, refusals := r.Workspace(site, findings)
			for _, refusal := range refusals {
				b.skip(hit{refusal.Finding, name}, refusal.Reason, refusal.Detail)
			}
			for _, c := range changes {
				p := &proposed{change: c, owners: map[string]int{}}
				p.step = b.step(w, r, c.Target, p.hits())
				p.step.Precondition, p.step.Expected = engine.Precondition{Identity: c.Identity, Digest: engine.Fingerprint(c.Identity)}, c.Expected
				p.endangers = remedy.Endangered(p.step)
				w.proposed = append(w.proposed, p)
			}
		}
	}
}

func (p *proposed) hits() (hits []hit) {
	for _, f := range p.change.Findings {
		hits = append(hits, hit{finding: f})
	}
	return hits
}

// count notes a token for the steps that take its use.
func (b *builder) count(w *workspace, s engine.Subject) {
	for _, p := range w.proposed {
		if p.endangers == nil || !p.endangers(s) {
			continue
		}
		p.tokens++
		a, unknown := w.activityOf(s)
		p.use(s, a, unknown)
		p.owners[s.Token.OwnerID]++
		p.recent += btoi(b.recentlyUsed(s))
		p.guarded += btoi(b.in.Config.Protected.Protects(s) != "")
	}
}

// planWorkspaces makes steps of what was proposed, and says what they disable.
func (b *builder) planWorkspaces() {
	for _, w := range b.order {
		for _, p := range w.proposed {
			if p.guarded > 0 {
				b.skipAll(p.hits(), "protected", fmt.Sprintf("it would disable %d protected tokens%s", p.guarded, p.change.Protected))
				continue
			}
			step, why := p.step, p.change.Why
			step.Risk = p.change.Safe
			if p.endangers != nil && (p.tokens > 0 || remedy.DisablesTokens(step)) {
				step.Risk = engine.Risk{Level: remedy.High, Endangers: p.tokens, EndangersOwners: len(p.owners), EndangersRecent: p.recent, Users: p.users, UsersUnknown: p.unknown}
				for _, n := range p.owners {
					step.Risk.EndangersOfOne = max(step.Risk.EndangersOfOne, n)
				}
				step.Risk.Why = "disables " + remedy.Disables(step.Risk, b.in.Config.Limits.RecentlyUsedDays) + ": " + why
			}
			step.Critical = step.Risk.Level == remedy.High
			b.steps = append(b.steps, step)
		}
	}
}
