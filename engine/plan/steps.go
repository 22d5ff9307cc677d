package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/remedy"
)

// mostComment bounds the comments in a plan, in bytes: they name tokens there.
const mostComment = 200

// ownerReply is the evidence that the owner gave a token up.
const ownerReply = "owner_reply"

// planToken makes the steps on one token. Removing it makes every other step on
// it pointless; the findings behind those are told as superseded.
func (b *builder) planToken(w *workspace, s engine.Subject, failed []engine.Finding) {
	groups := map[engine.Action][]engine.Finding{}
	for _, f := range failed {
		groups[engine.Action(f.Remedy)] = append(groups[engine.Action(f.Remedy)], f)
	}
	removed := ""
	names := remedy.Names()
	slices.SortStableFunc(names, func(x, y engine.Action) int { // what removes the token first
		return btoi(remedy.Of(y).Removes) - btoi(remedy.Of(x).Removes)
	})
	why := b.protection(w, s)
	for _, name := range names {
		r, findings := remedy.Of(name), groups[name]
		switch {
		case len(findings) == 0:
			continue
		case why != "" && r.Changes():
			b.skip("protected", why, findings...)
			continue
		case removed != "":
			b.skip("superseded", "step "+removed+" revokes the token", findings...)
			continue
		}
		c := remedy.Case{Subject: s, RecentlyUsed: b.recentlyUsed(s), Param: func(policy, name string) any { return b.param(w, policy, name) }}
		c.Activity, c.UseUnknown = w.activityOf(s)
		for _, f := range findings {
			c.Policies = append(c.Policies, f.Policy)
			c.Reads = c.Reads || f.Evidence["read_only_scopes"] != nil
		}
		proposal, unable := r.Token(c)
		if unable != "" { // a person has to decide: that remedy comes after all that change something
			for i := range findings {
				findings[i].Message += "; " + unable
			}
			groups[engine.Manual] = append(findings, groups[engine.Manual]...)
			continue
		}
		step := b.step(w, r, s.Token.ID, findings)
		step.Owner, step.OwnerID, step.OwnerName, step.OwnerKind = s.Owner.WorkspaceLabel(), s.Token.OwnerID, engine.Clip(engine.RedactSecrets(s.Owner.DisplayName), mostComment), s.Owner.Kind
		step.Comment = engine.Clip(engine.RedactSecrets(s.Token.Comment), mostComment)
		identity := engine.TokenIdentity(w.Snapshot.Workspace.ID, s.Token)
		step.Precondition = engine.Precondition{Identity: identity, Digest: engine.Fingerprint(identity), Volatile: engine.TokenVolatile(s.Token)}
		step.Risk = b.tokenRisk(w, r, s)
		step.Critical = step.Risk.Level == remedy.High
		step.Expected, step.Risk.Fails = proposal.Expected, proposal.Fails
		if step.Risk.Level != remedy.Low && proposal.Why != "" { // neither expired nor never used
			if proposal.Loses {
				step.Risk.Level, step.Risk.Endangers, step.Risk.EndangersOwners, step.Risk.EndangersOfOne = remedy.High, 1, 1, 1
				step.Risk.EndangersRecent = btoi(step.Risk.RecentlyUsed)
			}
			step.Risk.Why = proposal.Why + "; " + step.Risk.Why
			step.Critical = step.Risk.Level == remedy.High
		}
		if r.Removes {
			removed = step.ID
			if b.given[target{step.WorkspaceID, s.Token.ID}] {
				step.Evidence[ownerReply] = engine.ReplyRevoke
			}
		}
		b.steps = append(b.steps, step)
	}
}

func btoi(is bool) int {
	if is {
		return 1
	}
	return 0
}

// step makes what all steps have in common.
func (b *builder) step(w *workspace, r remedy.Remedy, target string, findings []engine.Finding) engine.Step {
	target = strings.ToValidUTF8(target, "\ufffd") // as it will stand in the file
	step := engine.Step{
		ID: StepID(r.Name, w.Snapshot.Workspace.ID, target), Action: r.Name,
		Workspace: w.Snapshot.Workspace.Name, WorkspaceID: w.Snapshot.Workspace.ID, Target: target,
		Severity: findings[0].Severity, Evidence: map[string]any{}, Expected: map[string]any{}, NotBefore: b.time(0),
	}
	for _, f := range findings {
		step.Policies = append(step.Policies, f.Policy)
		step.Reasons = append(step.Reasons, f.Message)
		step.Evidence[f.Policy] = f.Evidence
		if f.Severity.Rank() < step.Severity.Rank() {
			step.Severity = f.Severity
		}
	}
	if r.Changes() {
		step.NotBefore = b.time(b.in.Config.Grace)
	}
	return step
}

// StepID is short and begins with a letter, so that no spreadsheet takes it for
// a number.
func StepID(action engine.Action, workspace, target string) string {
	return "s" + engine.TextDigest(string(engine.CompactJSON([]string{string(action), workspace, target})))[:12]
}

// param is a parameter of a policy as in force in a workspace; nil when the
// policy has none of that name.
func (b *builder) param(w *workspace, policy, name string) any {
	if value, set := b.in.Tuning[w.Snapshot.Workspace.ID][policy].Params[name]; set {
		return value
	}
	for _, p := range b.policies[policy].Params {
		if p.Name == name {
			if p.Value != nil {
				return p.Value
			}
			return p.Default
		}
	}
	return nil
}

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
			r, findings := remedy.Of(name), slices.DeleteFunc(slices.Clone(w.failed), func(f engine.Finding) bool { return f.Remedy != string(name) })
			if len(findings) == 0 {
				continue
			}
			if !r.Changes() {
				step := b.step(w, r, w.Snapshot.Workspace.ID, findings)
				step.Risk.Level, step.Risk.Why = remedy.Low, r.Safe
				b.steps = append(b.steps, step)
				continue
			}
			if coverage := w.Snapshot.Coverage[r.Section]; !coverage.Complete() {
				b.skip("coverage", fmt.Sprintf("the workspace's %s were not read whole: %s", r.Section, coverage.Status), findings...)
				continue
			}
			changes, refusals := r.Workspace(site, findings)
			for _, refusal := range refusals {
				b.skip(refusal.Reason, refusal.Detail, refusal.Finding)
			}
			for _, c := range changes {
				p := &proposed{change: c, owners: map[string]int{}}
				p.step = b.step(w, r, c.Target, c.Findings)
				p.step.Precondition, p.step.Expected = engine.Precondition{Identity: c.Identity, Digest: engine.Fingerprint(c.Identity)}, c.Expected
				p.endangers = remedy.Endangered(p.step)
				w.proposed = append(w.proposed, p)
			}
		}
	}
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
				b.skip("protected", fmt.Sprintf("it would disable %d protected tokens%s", p.guarded, p.change.Protected), p.change.Findings...)
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

// longIdleDays is how long a token must have lain still for its end to surprise
// nobody: a month covers what runs at the end of each.
const longIdleDays = 35

// tokenRisk tells what a step on a token could break. The later counts of what
// list and audit log say about its use.
func (b *builder) tokenRisk(w *workspace, r remedy.Remedy, s engine.Subject) engine.Risk {
	a, unknown := w.activityOf(s)
	if a != nil {
		if days := engine.DaysSince(a.Last, s.Facts.AsOf); s.Facts.IdleDays == nil || s.Facts.Used == nil || !*s.Facts.Used || days < *s.Facts.IdleDays {
			used := true
			s.Facts.Used, s.Facts.IdleDays = &used, &days
		}
	}
	risk := engine.Risk{IdleDays: s.Facts.IdleDays, RecentlyUsed: b.recentlyUsed(s)}
	risk.Level, risk.Why = riskOf(r, risk, s.Facts)
	if r.Safe == "" {
		risk.UsersUnknown = unknown
		if a != nil {
			risk.Users = []engine.TokenUser{engine.UseOf(*a)}
		}
	}
	return risk
}

// activityOf is what the audit log says about a token, and why it says nothing
// where it was asked for.
func (w *workspace) activityOf(s engine.Subject) (a *engine.Activity, unknown string) {
	coverage, listed := w.Snapshot.Coverage[engine.SectionAuditLog]
	switch {
	case !listed || !coverage.Requested():
		return nil, ""
	case !coverage.Complete() || s.Peers == nil:
		return nil, "who uses it is not known: the audit log is " + string(coverage.Status) + " (" + coverage.Reason + ")"
	case w.log.Contradicts(&s.Token, s.Peers.Activity):
		return nil, "who uses it is not known: the audit log lacks the last use that the list of tokens tells"
	}
	return s.Peers.Activity, ""
}

// recentlyUsed holds as well for a token of which the last use is not known.
func (b *builder) recentlyUsed(s engine.Subject) bool {
	if s.Facts.Used == nil {
		return true
	}
	return *s.Facts.Used && (s.Facts.IdleDays == nil || *s.Facts.IdleDays <= b.in.Config.Limits.RecentlyUsedDays)
}

func riskOf(r remedy.Remedy, risk engine.Risk, f engine.Facts) (level, why string) {
	switch {
	case r.Safe != "":
		return remedy.Low, r.Safe
	case f.Expired != nil && *f.Expired:
		return remedy.Low, "expired already"
	case f.Used != nil && !*f.Used:
		return remedy.Low, "never used"
	case f.Used == nil || f.IdleDays == nil:
		return remedy.High, "last use unknown"
	case r.Partial:
		return remedy.Medium, usedAgo(*f.IdleDays)
	case risk.RecentlyUsed:
		return remedy.High, usedAgo(*f.IdleDays)
	case *f.IdleDays < longIdleDays:
		return remedy.Medium, usedAgo(*f.IdleDays)
	}
	return remedy.Low, usedAgo(*f.IdleDays)
}

func usedAgo(days int64) string {
	switch days {
	case 0:
		return "used today"
	case 1:
		return "used yesterday"
	}
	return fmt.Sprintf("used %d days ago", days)
}

// narrow keeps the steps of the choice, and what fits of them. What is left for
// the next plan is told.
func (b *builder) narrow() {
	gone := map[target]string{} // what was left or not chosen, and why
	drop := func(s engine.Step, why string) {
		gone[target{s.WorkspaceID, s.Target}] = why
		for _, policy := range s.Policies {
			if why != "" {
				b.notPlanned = append(b.notPlanned, engine.NotPlanned{Policy: policy, WorkspaceID: s.WorkspaceID, ResourceID: s.Target, Reason: "left", Detail: why})
			}
		}
	}
	choice, limits := b.in.Choice, b.in.Config.Limits
	b.steps = slices.DeleteFunc(b.steps, func(s engine.Step) bool {
		chosen := choice.Step == nil || choice.Step(s)
		if !chosen {
			drop(s, "")
		}
		return !chosen
	})
	if choice.Most > 0 || choice.WithinLimits {
		slices.SortFunc(b.steps, riskiestFirst)
	}
	populations := map[string]engine.PlanWorkspace{}
	for _, w := range b.order {
		populations[w.Snapshot.Workspace.ID] = engine.PlanWorkspace{ID: w.Snapshot.Workspace.ID, Tokens: w.Snapshot.Tokens}
	}
	taken, steps, endangered, recent := 0, 0, 0, 0
	within := map[string][]engine.Step{} // by workspace
	b.steps = slices.DeleteFunc(b.steps, func(s engine.Step) bool {
		if choice.Most > 0 && taken == choice.Most {
			drop(s, "left for the next plan by --limit")
			return true
		}
		if choice.WithinLimits {
			n, e, r := remedy.Weight(s)
			there := append(slices.Clip(within[s.WorkspaceID]), s)
			over := remedy.Exceeds(engine.Plan{Limits: limits, Workspaces: []engine.PlanWorkspace{populations[s.WorkspaceID]}, Steps: there}, remedy.Every)
			switch {
			case endangered+e > limits.MaxEndangered && e > 0:
				over = append(over, remedy.Excess{Limit: "max_endangered"})
			case steps+n > limits.MaxSteps && n > 0:
				over = append(over, remedy.Excess{Limit: "max_steps"})
			case recent+r > limits.MaxRecentlyUsed && r > 0:
				over = append(over, remedy.Excess{Limit: "max_recently_used"})
			}
			if len(over) > 0 {
				drop(s, "left for the next plan by "+over[0].Limit)
				return true
			}
			steps, endangered, recent, within[s.WorkspaceID] = steps+n, endangered+e, recent+r, there
		}
		taken++
		return false
	})
	kept := b.notPlanned[:0]
	for _, n := range b.notPlanned {
		why, dropped := gone[target{n.WorkspaceID, n.ResourceID}]
		switch {
		case n.Reason != "superseded" || !dropped:
		case why == "":
			continue
		default: // by a step that is left itself
			n.Reason, n.Detail = "left", why
		}
		kept = append(kept, n)
	}
	b.notPlanned = kept
}

// riskiestFirst orders by how severe the findings on a token are, then by how little
// the step could break.
func riskiestFirst(a, b engine.Step) int {
	return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(len(b.Policies), len(a.Policies)), compareSteps(a, b))
}

// mostExcesses bounds what one error tells: hundreds of owners can be over theirs.
const mostExcesses = 10

// CheckLimits refuses steps that together go beyond the plan's limits, with the
// reason over_limits. Give it every step that is approved or was ever started:
// limits hold for the plan, not for one run of it.
func CheckLimits(p engine.Plan, chosen func(id string) bool) error {
	var errs []error
	excesses := remedy.Exceeds(p, chosen)
	for i, excess := range excesses {
		if i == mostExcesses {
			errs = append(errs, fmt.Errorf("and %d more", len(excesses)-i))
			break
		}
		errs = append(errs, errors.New(excess.String()))
	}
	if len(errs) == 0 {
		return nil
	}
	return refused("over_limits", "check limits", "Approve fewer steps, or raise remediation.limits in the configuration and plan anew.", errors.Join(errs...))
}
