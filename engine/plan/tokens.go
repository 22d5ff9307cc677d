package plan

import (
	"slices"
	"strings"

	"patrol/engine"
)

// NeutralComment replaces a comment that held a secret.
const NeutralComment = "[comment removed by patrol: it held a secret]"

// mostComment bounds the comments in a plan, in bytes: they name tokens there.
const mostComment = 200

// ownerReply is the evidence that the owner gave a token up.
const ownerReply = "owner_reply"

// planToken makes the steps on one token. Revoking makes every other step on it
// pointless; the findings behind those are told as superseded.
func (b *builder) planToken(w *workspace, s engine.Subject, hits []hit) {
	groups := map[engine.Action][]hit{}
	for _, h := range hits {
		groups[h.action] = append(groups[h.action], h)
	}
	if why := b.protection(w, s); why != "" {
		for _, action := range engine.Actions() {
			if action.Changes() {
				b.skipAll(groups[action], "protected", why)
				delete(groups, action)
			}
		}
	}
	if len(groups[engine.Revoke]) > 0 {
		step := b.tokenStep(w, s, engine.Revoke, groups[engine.Revoke])
		step.Expected = map[string]any{"absent": true}
		if b.given[target{step.WorkspaceID, s.Token.ID}] {
			step.Evidence[ownerReply] = engine.ReplyRevoke
		}
		b.steps = append(b.steps, step)
		b.supersede(groups, step.ID)
		return
	}
	b.planNarrowing(w, s, groups)
	if hits := groups[engine.SetComment]; len(hits) > 0 {
		step := b.tokenStep(w, s, engine.SetComment, hits)
		step.Expected = map[string]any{"comment": NeutralComment}
		b.steps = append(b.steps, step)
	}
	for _, action := range []engine.Action{engine.Notify, engine.Manual} {
		if hits := groups[action]; len(hits) > 0 {
			b.steps = append(b.steps, b.tokenStep(w, s, action, hits))
		}
	}
}

func (b *builder) supersede(groups map[engine.Action][]hit, step string) {
	for _, action := range engine.Actions() {
		if action != engine.Revoke {
			b.skipAll(groups[action], "superseded", "step "+step+" revokes the token")
		}
	}
}

// planNarrowing narrows scopes where it is known what to narrow them to; else a
// person has to decide.
func (b *builder) planNarrowing(w *workspace, s engine.Subject, groups map[engine.Action][]hit) {
	hits := groups[engine.NarrowScopes]
	if len(hits) == 0 {
		return
	}
	scopes, why := narrowed(s.Token, b.mintingScopes(w, hits))
	if why != "" {
		for i := range hits {
			hits[i].finding.Message += "; not narrowed: " + why
		}
		groups[engine.Manual] = append(hits, groups[engine.Manual]...)
		return
	}
	step := b.tokenStep(w, s, engine.NarrowScopes, hits)
	step.Expected = map[string]any{"scopes": scopes}
	if step.Risk.Level != riskLow { // neither expired nor never used
		step.Risk.Why = narrowingKeeps(s.Token, scopes, &step.Risk) + "; " + step.Risk.Why
		step.Critical = step.Risk.Level == riskHigh
	}
	b.steps = append(b.steps, step)
}

// narrowingKeeps says what is known of the use of the scopes that a token
// loses. One that loses what was seen in use is endangered.
func narrowingKeeps(t engine.Token, scopes []string, r *engine.Risk) string {
	seen := slices.Concat(t.InferredScopes, t.BackfillScopes)
	var lost []string
	for _, scope := range seen {
		if !slices.Contains(scopes, scope) && !slices.Contains(lost, scope) {
			lost = append(lost, scope)
		}
	}
	switch {
	case len(lost) > 0:
		r.Level, r.Endangers, r.EndangersOwners, r.EndangersOfOne = riskHigh, 1, 1, 1
		if r.RecentlyUsed {
			r.EndangersRecent = 1
		}
		return "loses " + strings.Join(lost, ", ") + ", which the platform saw in use"
	case len(seen) == 0:
		return "the platform does not tell which scopes it uses"
	}
	return "keeps the scopes that the platform saw in use"
}

// mintingScopes make tokens of any scope, so that no narrowed token keeps one.
func (b *builder) mintingScopes(w *workspace, hits []hit) []string {
	scopes := []string{"authentication"}
	for _, h := range hits {
		scopes = append(scopes, engine.TextsOf(b.param(w, h.finding.Policy, "minting_scopes"))...)
	}
	return scopes
}

// narrowed is what is left of a token's scopes. A token with scopes of its own
// loses the minting ones and gains none; an unrestricted one keeps what was
// seen in use. An empty list is never the answer: the platform reads it as
// unrestricted.
func narrowed(t engine.Token, minting []string) (scopes []string, why string) {
	from := t.Scopes
	if unrestricted(t.Scopes) {
		switch state := engine.AutoscopeState(t.AutoscopeState); {
		case state == nil:
			return nil, "whether the platform has finished observing its use is unknown"
		case *state == "running", *state == "api_not_covered":
			return nil, "the platform has not finished observing its use"
		}
		from = slices.Concat(t.InferredScopes, t.BackfillScopes)
	}
	for _, scope := range from {
		if !containsFold(minting, scope) {
			scopes = append(scopes, scope)
		}
	}
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	switch {
	case len(scopes) == 0:
		return nil, "it is not known which other scopes it needs"
	case unrestricted(scopes):
		return nil, "its observed use needs every scope"
	}
	return scopes, ""
}

func unrestricted(scopes []string) bool {
	return len(scopes) == 0 || slices.Contains(scopes, "all-apis")
}

func containsFold(list []string, text string) bool {
	return slices.ContainsFunc(list, func(item string) bool { return strings.EqualFold(item, text) })
}

// tokenStep makes a step on a token; the caller adds what is expected of it.
func (b *builder) tokenStep(w *workspace, s engine.Subject, action engine.Action, hits []hit) engine.Step {
	step := b.step(w, action, s.Token.ID, hits)
	step.Owner, step.OwnerID, step.OwnerName, step.OwnerKind = s.Owner.WorkspaceLabel(), s.Token.OwnerID, s.Owner.DisplayName, s.Owner.Kind
	step.Comment = engine.Clip(engine.RedactSecrets(s.Token.Comment), mostComment)
	identity := engine.TokenIdentity(w.Snapshot.Workspace.ID, s.Token)
	step.Precondition = engine.Precondition{
		Identity: identity, Digest: engine.Fingerprint(identity), Volatile: engine.TokenVolatile(s.Token),
	}
	step.Risk = b.tokenRisk(action, s)
	step.Critical = step.Risk.Level == riskHigh
	return step
}

// step makes what all steps have in common.
func (b *builder) step(w *workspace, action engine.Action, target string, hits []hit) engine.Step {
	target = strings.ToValidUTF8(target, "\ufffd") // as it will stand in the file
	step := engine.Step{
		ID: stepID(action, w.Snapshot.Workspace.ID, target), Action: action,
		Workspace: w.Snapshot.Workspace.Name, WorkspaceID: w.Snapshot.Workspace.ID, Target: target,
		Severity: hits[0].finding.Severity, Evidence: map[string]any{}, Expected: map[string]any{}, NotBefore: b.time(0),
	}
	for _, h := range hits {
		step.Policies = append(step.Policies, h.finding.Policy)
		step.Reasons = append(step.Reasons, h.finding.Message)
		step.Evidence[h.finding.Policy] = h.finding.Evidence
		if h.finding.Severity.Rank() < step.Severity.Rank() {
			step.Severity = h.finding.Severity
		}
	}
	if action.Changes() {
		step.NotBefore = b.time(b.in.Config.Grace)
	}
	return step
}

// stepID is short and begins with a letter, so that no spreadsheet takes it for
// a number.
func stepID(action engine.Action, workspace, target string) string {
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
