package plan

import (
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
func (b *builder) planToken(w *workspace, s engine.Subject, hits []hit) {
	groups := map[engine.Action][]hit{}
	for _, h := range hits {
		groups[h.action] = append(groups[h.action], h)
	}
	removed := ""
	names := remedy.Names()
	slices.SortStableFunc(names, func(x, y engine.Action) int { // what removes the token first
		return btoi(remedy.Of(y).Removes) - btoi(remedy.Of(x).Removes)
	})
	why := b.protection(w, s)
	for _, name := range names {
		r, hits := remedy.Of(name), groups[name]
		switch {
		case len(hits) == 0:
			continue
		case why != "" && r.Changes():
			b.skipAll(hits, "protected", why)
			continue
		case removed != "":
			b.skipAll(hits, "superseded", "step "+removed+" revokes the token")
			continue
		}
		c := remedy.Case{Subject: s, RecentlyUsed: b.recentlyUsed(s), Param: func(policy, name string) any { return b.param(w, policy, name) }}
		c.Activity, c.UseUnknown = w.activityOf(s)
		for _, h := range hits {
			c.Policies = append(c.Policies, h.finding.Policy)
			c.Reads = c.Reads || h.finding.Evidence["read_only_scopes"] != nil
		}
		proposal, unable := r.Token(c)
		if unable != "" { // a person has to decide: that remedy comes after all that change something
			for i := range hits {
				hits[i].finding.Message += "; " + unable
			}
			groups[engine.Manual] = append(hits, groups[engine.Manual]...)
			continue
		}
		step := b.tokenStep(w, s, r, hits)
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

// tokenStep makes a step on a token; the caller adds what is expected of it.
func (b *builder) tokenStep(w *workspace, s engine.Subject, r remedy.Remedy, hits []hit) engine.Step {
	step := b.step(w, r, s.Token.ID, hits)
	step.Owner, step.OwnerID, step.OwnerName, step.OwnerKind = s.Owner.WorkspaceLabel(), s.Token.OwnerID, engine.Clip(engine.RedactSecrets(s.Owner.DisplayName), mostComment), s.Owner.Kind
	step.Comment = engine.Clip(engine.RedactSecrets(s.Token.Comment), mostComment)
	identity := engine.TokenIdentity(w.Snapshot.Workspace.ID, s.Token)
	step.Precondition = engine.Precondition{
		Identity: identity, Digest: engine.Fingerprint(identity), Volatile: engine.TokenVolatile(s.Token),
	}
	step.Risk = b.tokenRisk(w, r, s)
	step.Critical = step.Risk.Level == remedy.High
	return step
}

// step makes what all steps have in common.
func (b *builder) step(w *workspace, r remedy.Remedy, target string, hits []hit) engine.Step {
	target = strings.ToValidUTF8(target, "\ufffd") // as it will stand in the file
	step := engine.Step{
		ID: StepID(r.Name, w.Snapshot.Workspace.ID, target), Action: r.Name,
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
