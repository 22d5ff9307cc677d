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

const (
	mostComment  = 200           // bytes of a comment in a plan: it names a token there
	mostUsers    = 10            // that a step on a workspace names
	mostExcesses = 10            // that one error names: hundreds of owners can be over theirs
	ownerReply   = "owner_reply" // the evidence that the owner gave a token up

	// longIdleDays is how long a token must have lain still for its end to surprise
	// nobody: a month covers what runs at the end of each.
	longIdleDays = 35
)

// proposed is a step on a workspace, and the live tokens that it takes the use from.
type proposed struct {
	change                  remedy.Change
	step                    engine.Step
	endangers               func(engine.Subject) bool
	tokens, recent, guarded int
	owners                  map[string]int
	users                   []engine.TokenUser // the busiest
	unknown                 string             // why nobody can tell who uses them
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
				step.Risk = engine.Risk{Level: remedy.Low, Why: r.Safe}
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
				step := b.step(w, r, c.Target, c.Findings)
				step.Precondition = engine.Precondition{Identity: c.Identity, Digest: engine.Fingerprint(c.Identity)}
				step.Expected = c.Expected
				w.proposed = append(w.proposed, &proposed{change: c, step: step, endangers: remedy.Endangered(step), owners: map[string]int{}})
			}
		}
	}
}

// token counts a token for the steps on its workspace that take its use, and makes the
// steps on itself where something failed on it.
func (b *builder) token(w *workspace, s engine.Subject) {
	for _, p := range w.proposed {
		if p.endangers == nil || !p.endangers(s) {
			continue
		}
		p.tokens++
		p.owners[s.Token.OwnerID]++
		p.recent += btoi(b.recentlyUsed(s))
		p.guarded += btoi(b.in.Config.Protected.Protects(s) != "")
		activity, unknown := w.activityOf(s)
		p.unknown = cmp.Or(p.unknown, unknown)
		if activity != nil {
			u := engine.UseOf(*activity)
			u.Token, u.Owner = s.Token.ID, s.Owner.WorkspaceLabel()
			p.users = append(p.users, u)
			slices.SortStableFunc(p.users, func(x, y engine.TokenUser) int { return cmp.Compare(y.PerDay*y.Days, x.PerDay*x.Days) })
			p.users = p.users[:min(len(p.users), mostUsers)]
		}
	}
	key := target{w.Snapshot.Workspace.ID, s.Token.ID}
	findings := b.tokens[key]
	if findings == nil {
		return
	}
	delete(b.tokens, key)
	if field := s.Token.Odd(); field != "" {
		b.skip("odd_row", "the token's row could not be read whole ("+field+"): look at it by hand", findings...)
		return
	}
	b.planToken(w, s, findings)
}

// planToken makes the steps on one token. Removing it makes every other step on
// it pointless; the findings behind those are told as superseded.
func (b *builder) planToken(w *workspace, s engine.Subject, failed []engine.Finding) {
	groups := map[engine.Action][]engine.Finding{}
	for _, f := range failed {
		groups[engine.Action(f.Remedy)] = append(groups[engine.Action(f.Remedy)], f)
	}
	protection := b.in.Config.Protected.Protects(s)
	if w.caller != "" && (s.Token.OwnerID == w.caller || s.Token.CreatorID == w.caller) {
		protection = cmp.Or(protection, "owner or creator is the principal that patrol signed in as")
	}
	activity, useUnknown := w.activityOf(s)
	removed := ""
	names := remedy.Names()
	slices.SortStableFunc(names, func(x, y engine.Action) int { // what removes the token first
		return btoi(remedy.Of(y).Removes) - btoi(remedy.Of(x).Removes)
	})
	for _, name := range names {
		r, findings := remedy.Of(name), groups[name]
		switch {
		case len(findings) == 0:
			continue
		case protection != "" && r.Changes():
			b.skip("protected", protection, findings...)
			continue
		case removed != "":
			b.skip("superseded", "step "+removed+" revokes the token", findings...)
			continue
		}
		c := remedy.Case{
			Subject: s, RecentlyUsed: b.recentlyUsed(s), Activity: activity, UseUnknown: useUnknown,
			Param: func(policy, name string) any { return b.param(w, policy, name) },
		}
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
		step.Owner, step.OwnerID, step.OwnerKind = s.Owner.WorkspaceLabel(), s.Token.OwnerID, s.Owner.Kind
		step.OwnerName = engine.Clip(engine.RedactSecrets(s.Owner.DisplayName), mostComment)
		step.Comment = engine.Clip(engine.RedactSecrets(s.Token.Comment), mostComment)
		identity := engine.TokenIdentity(w.Snapshot.Workspace.ID, s.Token)
		step.Precondition = engine.Precondition{Identity: identity, Digest: engine.Fingerprint(identity), Volatile: engine.TokenVolatile(s.Token)}
		step.Expected = proposal.Expected
		step.Risk = b.tokenRisk(r, s, activity, useUnknown)
		step.Risk.Fails = proposal.Fails
		if step.Risk.Level != remedy.Low && proposal.Why != "" { // neither expired nor never used
			if proposal.Loses {
				step.Risk.Level, step.Risk.Endangers, step.Risk.EndangersOwners, step.Risk.EndangersOfOne = remedy.High, 1, 1, 1
				step.Risk.EndangersRecent = btoi(step.Risk.RecentlyUsed)
			}
			step.Risk.Why = proposal.Why + "; " + step.Risk.Why
		}
		step.Critical = step.Risk.Level == remedy.High
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

// planWorkspaces makes steps of what was proposed, and says what they disable.
func (b *builder) planWorkspaces() {
	for _, w := range b.order {
		for _, p := range w.proposed {
			if p.guarded > 0 {
				b.skip("protected", fmt.Sprintf("it would disable %d protected tokens%s", p.guarded, p.change.Protected), p.change.Findings...)
				continue
			}
			step := p.step
			step.Risk = p.change.Safe
			if p.endangers != nil && (p.tokens > 0 || remedy.DisablesTokens(step)) {
				step.Risk = engine.Risk{Level: remedy.High, Endangers: p.tokens, EndangersOwners: len(p.owners), EndangersRecent: p.recent, Users: p.users, UsersUnknown: p.unknown}
				for _, n := range p.owners {
					step.Risk.EndangersOfOne = max(step.Risk.EndangersOfOne, n)
				}
				step.Risk.Why = "disables " + remedy.Disables(step.Risk, b.in.Config.Limits.RecentlyUsedDays) + ": " + p.change.Why
			}
			step.Critical = step.Risk.Level == remedy.High
			b.steps = append(b.steps, step)
		}
	}
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

// tokenRisk tells what a step on a token could break. The later counts of what
// list and audit log say about its use.
func (b *builder) tokenRisk(r remedy.Remedy, s engine.Subject, activity *engine.Activity, useUnknown string) engine.Risk {
	used, idle := s.Facts.Used, s.Facts.IdleDays
	if activity != nil {
		if days := engine.DaysSince(activity.Last, s.Facts.AsOf); idle == nil || used == nil || !*used || days < *idle {
			used, idle = new(true), &days
		}
	}
	s.Facts.Used, s.Facts.IdleDays = used, idle
	risk := engine.Risk{IdleDays: idle, RecentlyUsed: b.recentlyUsed(s)}
	if idle != nil {
		switch risk.Why = fmt.Sprintf("used %d days ago", *idle); *idle {
		case 0:
			risk.Why = "used today"
		case 1:
			risk.Why = "used yesterday"
		}
	}
	switch {
	case r.Safe != "":
		risk.Level, risk.Why = remedy.Low, r.Safe
	case s.Facts.Expired != nil && *s.Facts.Expired:
		risk.Level, risk.Why = remedy.Low, "expired already"
	case used != nil && !*used:
		risk.Level, risk.Why = remedy.Low, "never used"
	case used == nil || idle == nil:
		risk.Level, risk.Why = remedy.High, "last use unknown"
	case r.Partial:
		risk.Level = remedy.Medium
	case risk.RecentlyUsed:
		risk.Level = remedy.High
	case *idle < longIdleDays:
		risk.Level = remedy.Medium
	default:
		risk.Level = remedy.Low
	}
	if r.Safe == "" {
		risk.UsersUnknown = useUnknown
		if activity != nil {
			risk.Users = []engine.TokenUser{engine.UseOf(*activity)}
		}
	}
	return risk
}

// narrow keeps the steps of the choice, and what fits of them. What is left for
// the next plan is told.
func (b *builder) narrow() {
	choice, limits := b.in.Choice, b.in.Config.Limits
	if choice.Most > 0 || choice.WithinLimits { // the most severe findings on a token first, then what breaks least
		slices.SortFunc(b.steps, func(x, y engine.Step) int {
			return cmp.Or(cmp.Compare(x.Severity.Rank(), y.Severity.Rank()), cmp.Compare(len(y.Policies), len(x.Policies)), compareSteps(x, y))
		})
	}
	gone := map[target]string{} // steps that were not chosen, and those that are left with the reason
	taken, steps, endangered, recent := 0, 0, 0, 0
	within := map[string][]engine.Step{} // by workspace
	left := func(s engine.Step) (why string) {
		if choice.Most > 0 && taken == choice.Most {
			return "left for the next plan by --limit"
		}
		if !choice.WithinLimits {
			return ""
		}
		n, e, r := remedy.Weight(s)
		there := append(slices.Clip(within[s.WorkspaceID]), s)
		population := engine.PlanWorkspace{ID: s.WorkspaceID, Tokens: b.workspaces[s.WorkspaceID].Snapshot.Tokens}
		over := remedy.Exceeds(engine.Plan{Limits: limits, Workspaces: []engine.PlanWorkspace{population}, Steps: there}, remedy.Every)
		switch {
		case endangered+e > limits.MaxEndangered && e > 0:
			over = append(over, remedy.Excess{Limit: "max_endangered"})
		case steps+n > limits.MaxSteps && n > 0:
			over = append(over, remedy.Excess{Limit: "max_steps"})
		case recent+r > limits.MaxRecentlyUsed && r > 0:
			over = append(over, remedy.Excess{Limit: "max_recently_used"})
		}
		if len(over) > 0 {
			return "left for the next plan by " + over[0].Limit
		}
		steps, endangered, recent, within[s.WorkspaceID] = steps+n, endangered+e, recent+r, there
		return ""
	}
	b.steps = slices.DeleteFunc(b.steps, func(s engine.Step) bool {
		at := target{s.WorkspaceID, s.Target}
		if choice.Step != nil && !choice.Step(s) {
			if _, known := gone[at]; !known {
				gone[at] = ""
			}
			return true
		}
		why := left(s)
		if why == "" {
			taken++
			return false
		}
		gone[at] = why
		for _, policy := range s.Policies {
			b.notPlanned = append(b.notPlanned, engine.NotPlanned{Policy: policy, WorkspaceID: s.WorkspaceID, ResourceID: s.Target, Reason: "left", Detail: why})
		}
		return true
	})
	for i, n := range b.notPlanned {
		if why := gone[target{n.WorkspaceID, n.ResourceID}]; n.Reason == "superseded" && why != "" { // by a step that is left itself
			b.notPlanned[i].Reason, b.notPlanned[i].Detail = "left", why
		}
	}
	b.notPlanned = slices.DeleteFunc(b.notPlanned, func(n engine.NotPlanned) bool {
		why, dropped := gone[target{n.WorkspaceID, n.ResourceID}]
		return n.Reason == "superseded" && dropped && why == ""
	})
}

// CheckLimits refuses steps that together go beyond the plan's limits, with the
// reason over_limits. Give it every step that is approved or was ever started:
// limits hold for the plan, not for one run of it.
func CheckLimits(p engine.Plan, chosen func(id string) bool) error {
	var errs []error
	excesses := remedy.Exceeds(p, chosen)
	for _, excess := range excesses[:min(len(excesses), mostExcesses)] {
		errs = append(errs, errors.New(excess.String()))
	}
	if more := len(excesses) - mostExcesses; more > 0 {
		errs = append(errs, fmt.Errorf("and %d more", more))
	}
	if len(errs) == 0 {
		return nil
	}
	return refused("over_limits", "check limits", "Approve fewer steps, or raise remediation.limits in the configuration and plan anew.", errors.Join(errs...))
}
