package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"

	"golang.org/x/crypto/ssh"
)

// Trust is what the operator asks of approvals. It comes from the
// configuration, never from the plan.
type Trust struct {
	Required          int      // distinct signers that each step needs; less than one counts as one
	Signers           *Signers // nil: unsigned approvals count
	PlannerMayApprove bool
	CriticalNeedOwn   bool // a critical step needs a statement about it alone
}

// Approver is somebody whose statement counted.
type Approver struct {
	Name   string
	Key    string // fingerprint; "" when unsigned
	Signed bool   // by a key that the allowed signers list
	Reason string
	At     string
}

// Approved is what Verify found to be approved.
type Approved struct {
	Plan      engine.Plan
	SHA256    string            // of the plan's bytes
	Steps     map[string]bool   // steps that may be carried out
	Others    map[string]string // every other step, and why it may not
	By        []Approver        // in the order of their statements
	Unsigned  bool              // nobody's signature was asked for
	ExpiresAt time.Time         // of the plan, or of the first approval that counts to expire
}

// Verify decides which steps of a plan are approved at a moment, from the plan as
// Read reads it from content, those bytes, and those of its approval file. It
// refuses (ClassRefused) a file that was changed, a statement that is not by whom
// it says, an expired plan, a planner that approves where that is forbidden, and a
// plan of which nothing is approved. The reasons: what_if, expired, unapproved,
// tampered, bad_signature, wrong_key, unsigned, planner_approved, other_plan.
func Verify(p engine.Plan, content, file []byte, trust Trust, now time.Time) (Approved, error) {
	if err := CheckUsable(p, now); err != nil {
		return Approved{}, err
	}
	unapproved := func(format string, args ...any) error {
		return refused("unapproved", "use plan", "Approve it with `patrol approve`.", fmt.Errorf(format, args...))
	}
	if file == nil {
		return Approved{}, unapproved("nobody has approved it")
	}
	entries, err := Entries(file)
	if err != nil {
		return Approved{}, err
	}
	votes, lapsed := map[string][]vote{}, false // by step, in the order of statements
	for i, e := range entries {
		s, by, err := trust.statement(e, p, content, now)
		if known, ok := engine.AsError(err); ok {
			numbered := *known
			numbered.Target = strconv.Itoa(i + 1)
			err = &numbered
		}
		if err != nil {
			return Approved{}, err
		}
		decisions := s.Decisions
		if s.All {
			for _, step := range p.Steps {
				decisions = append(decisions, Decision{Step: step.ID, Verdict: Accept})
			}
		}
		expires, _ := time.Parse(time.RFC3339, s.ExpiresAt)
		for _, d := range decisions {
			if s.Kind == Approve && d.Verdict == Accept && s.expired(now) { // a rejection does not expire
				lapsed = true
				continue
			}
			// What its author said of the step before ends here; nobody lifts the rejection of another.
			votes[d.Step] = slices.DeleteFunc(votes[d.Step], func(one vote) bool { return one.by.same(by) })
			if s.Kind == Approve {
				votes[d.Step] = append(votes[d.Step], vote{decision: d, by: by, own: s.own(), expires: expires})
			}
		}
	}
	a := Approved{Plan: p, SHA256: Digest(content), Steps: map[string]bool{}, Others: map[string]string{}, Unsigned: trust.Signers == nil}
	a.ExpiresAt, _ = time.Parse(time.RFC3339, p.ExpiresAt)
	for _, step := range p.Steps {
		counted, why := trust.count(step, votes[step.ID])
		if why != "" {
			a.Others[step.ID] = why
			continue
		}
		a.Steps[step.ID] = true
		for _, one := range counted {
			if one.expires.Before(a.ExpiresAt) {
				a.ExpiresAt = one.expires
			}
			if !slices.Contains(a.By, one.by) {
				a.By = append(a.By, one.by)
			}
		}
	}
	switch {
	case len(a.Steps) > 0 || len(p.Steps) == 0:
		return a, nil
	case lapsed:
		return a, unapproved("its approval has expired")
	}
	first := p.Steps[0].ID
	return a, unapproved("no step is approved; step %s: %s", first, a.Others[first])
}

// CheckUsable refuses a plan that is not good any more, or of what would be.
func CheckUsable(p engine.Plan, now time.Time) error {
	expires, err := time.Parse(time.RFC3339, p.ExpiresAt)
	switch {
	case err != nil || !now.Before(expires):
		return refused("expired", "use plan", "Audit again and make the plan anew with `patrol plan`.", fmt.Errorf("it was good until %s", p.ExpiresAt))
	case p.WhatIf != "":
		return refused("what_if", "use plan", "Evaluate what is, and make the plan anew with `patrol plan`.", fmt.Errorf("it says what would be (%s), not what is", engine.SafeText(p.WhatIf)))
	}
	return nil
}

// vote is one person's standing decision on one step.
type vote struct {
	decision Decision
	by       Approver
	own      bool
	expires  time.Time
}

// statement verifies an entry before it parses it, and asks only then who signed.
// Planner and approver are told apart by name and user, and where signers are named by
// key: one may sign in another name, not with another key.
func (t Trust) statement(e Entry, p engine.Plan, content []byte, now time.Time) (s Statement, by Approver, err error) {
	var key ssh.PublicKey
	if e.Signature != "" {
		if key, err = verifySignature(e.Payload, e.Signature); err != nil {
			return s, by, refused("bad_signature", "verify approval", "Remove the approval file and approve the plan again.", err)
		}
	} else if t.Signers != nil {
		return s, by, refused("unsigned", "verify approval", "Remove the approval file and approve with --sign-key: the configuration names allowed signers.",
			errors.New("it is not signed"))
	}
	if s, err = CheckStatement(e.Payload, content, p); err != nil {
		return s, by, err
	}
	by = Approver{Name: s.Approver, Reason: s.Reason, At: s.At, Signed: t.Signers != nil}
	if key != nil {
		by.Key = ssh.FingerprintSHA256(key)
	}
	if t.Signers != nil {
		if _, err := t.Signers.permit(Namespace, s.Approver, key, now); err != nil {
			return s, by, refused("wrong_key", "verify approval", "Sign with the key that allowed_signers lists for the approver.", fmt.Errorf("key %s, approver %s: %w", by.Key, s.Approver, err))
		}
	}
	switch planner := p.Planner; {
	case t.PlannerMayApprove || planner == "" || s.Kind != Approve:
	case samePerson(planner, s.Approver), samePerson(planner, s.User), t.Signers != nil && t.Signers.ownedBy(key, planner):
		return s, by, refused("planner_approved", "verify approval", "Let somebody else approve: the configuration forbids who planned to.", fmt.Errorf("%s made the plan", planner))
	}
	return s, by, nil
}

// samePerson takes alice for alice@example.com, however it is written: one is
// how a machine knows her, the other how the signers' file does.
func samePerson(a, b string) bool {
	a, _ = engine.Person(a) // what is no address is compared as it stands
	b, _ = engine.Person(b)
	userA, hostA, fullA := strings.Cut(a, "@")
	userB, hostB, fullB := strings.Cut(b, "@")
	userA, _, _ = strings.Cut(userA, "+") // ann+ci@example.com reaches Ann
	userB, _, _ = strings.Cut(userB, "+")
	return strings.EqualFold(a, b) || strings.EqualFold(userA, userB) && (fullA != fullB || fullA && strings.EqualFold(hostA, hostB))
}

// same holds for one person, by name or by key: what they say last counts.
func (a Approver) same(b Approver) bool {
	nameA, _ := engine.Person(a.Name)
	nameB, _ := engine.Person(b.Name)
	return strings.EqualFold(nameA, nameB) || a.Key != "" && a.Key == b.Key
}

// count is the votes that approve a step, and why they do not approve it; "" when they do.
func (t Trust) count(step engine.Step, votes []vote) (counted []vote, why string) {
	for _, one := range votes {
		switch {
		case one.decision.Verdict == Reject:
			return nil, withReason("rejected by "+one.by.Name, one.decision.Reason)
		case one.decision.Verdict == Defer:
			why = withReason("deferred by "+one.by.Name, one.decision.Reason)
		case t.CriticalNeedOwn && step.Critical && !one.own:
			why = "critical: needs a statement of its own (approve --step " + step.ID + ")"
		case !slices.ContainsFunc(counted, func(other vote) bool { return samePerson(other.by.Name, one.by.Name) }):
			counted = append(counted, one) // nobody counts twice, by whichever of their names
		}
	}
	need := max(1, t.Required)
	switch {
	case len(counted) >= need:
		return counted, ""
	case why != "":
		return nil, why
	case need == 1:
		return nil, "not approved"
	}
	return nil, fmt.Sprintf("approved by %d of %d", len(counted), need)
}

func withReason(text, reason string) string {
	if reason != "" {
		text += ": " + reason
	}
	return engine.SafeText(text)
}

// OnlyPlanner reports whether nobody but who made the plan approved it, as far
// as names tell: without signatures they prove nothing else.
func (a Approved) OnlyPlanner() bool {
	return len(a.By) > 0 && !slices.ContainsFunc(a.By, func(by Approver) bool { return by.Signed || !samePerson(a.Plan.Planner, by.Name) })
}
