package plan

import (
	"errors"
	"fmt"
	"slices"
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

// Verify decides which steps of a plan are approved at a moment, from the bytes
// of the plan and of its approval file. It refuses (ClassRefused) a plan or file
// that was changed, a statement that is not by whom it says, an expired plan, a
// planner that approves where that is forbidden, and a plan of which nothing is
// approved. The reasons: what_if, expired, unapproved, tampered, bad_signature,
// wrong_key, unsigned, planner_approved, other_plan, and those of Read.
func Verify(content, file []byte, trust Trust, now time.Time) (Approved, error) {
	p, err := Read(content)
	if err != nil {
		return Approved{}, err
	}
	return VerifyRead(p, content, file, trust, now)
}

// VerifyRead is Verify where p is what Read made of the content already: a big
// plan is not held twice.
func VerifyRead(p engine.Plan, content, file []byte, trust Trust, now time.Time) (Approved, error) {
	if err := CheckUsable(p, now); err != nil {
		return Approved{}, err
	}
	if file == nil {
		return Approved{}, unapproved(errors.New("nobody has approved it"))
	}
	entries, err := Entries(file)
	if err != nil {
		return Approved{}, err
	}
	v := &verification{content: content, plan: p, trust: trust, now: now, votes: map[string][]vote{}}
	for i, e := range entries {
		if err := v.add(e); err != nil {
			return Approved{}, inApproval(i+1, err)
		}
	}
	return v.approved()
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

func unapproved(err error) error {
	return refused("unapproved", "use plan", "Approve it with `patrol approve`.", err)
}

// inApproval tells which approval an error is about.
func inApproval(number int, err error) error {
	known, ok := engine.AsError(err)
	if !ok {
		return err
	}
	told := *known
	told.Target = fmt.Sprintf("%d", number)
	return &told
}

// vote is one person's standing decision on one step.
type vote struct {
	decision Decision
	by       Approver
	own      bool
	expires  time.Time
}

type verification struct {
	content []byte
	plan    engine.Plan
	trust   Trust
	now     time.Time
	votes   map[string][]vote // by step, in the order of statements
	expired bool
}

func (v *verification) add(e Entry) error {
	statement, by, key, err := v.trusted(e)
	if err != nil {
		return err
	}
	if statement.Kind == Withdraw {
		v.withdraw(statement, by)
		return nil
	}
	if err := v.checkPlanner(statement, key); err != nil {
		return err
	}
	v.count(statement, by)
	return nil
}

// trusted verifies before it parses, and asks only then who signed.
func (v *verification) trusted(e Entry) (Statement, Approver, ssh.PublicKey, error) {
	var key ssh.PublicKey
	if e.Signature != "" {
		var err error
		if key, err = verifySignature(e.Payload, e.Signature); err != nil {
			return Statement{}, Approver{}, nil, refused("bad_signature", "verify approval", "Remove the approval file and approve the plan again.", err)
		}
	} else if v.trust.Signers != nil {
		return Statement{}, Approver{}, nil, refused("unsigned", "verify approval", "Remove the approval file and approve with --sign-key: the configuration names allowed signers.",
			errors.New("it is not signed"))
	}
	s, err := CheckStatement(e.Payload, v.content, v.plan)
	if err != nil {
		return s, Approver{}, nil, err
	}
	by := Approver{Name: s.Approver, Reason: s.Reason, At: s.At}
	if key != nil {
		by.Key = ssh.FingerprintSHA256(key)
	}
	if v.trust.Signers == nil {
		return s, by, key, nil
	}
	if err := v.trust.Signers.permit(s.Approver, key, v.now); err != nil {
		return s, by, key, refused("wrong_key", "verify approval", "Sign with the key that allowed_signers lists for the approver.", fmt.Errorf("key %s, approver %s: %w", by.Key, s.Approver, err))
	}
	by.Signed = true
	return s, by, key, nil
}

// checkPlanner tells planner and approver apart by name and user, and where
// signers are named by key: one may sign in another name, not with another key.
func (v *verification) checkPlanner(s Statement, key ssh.PublicKey) error {
	planner := v.plan.Planner
	switch {
	case v.trust.PlannerMayApprove || planner == "":
		return nil
	case samePerson(planner, s.Approver), samePerson(planner, s.User), v.trust.Signers != nil && v.trust.Signers.ownedBy(key, planner):
		return refused("planner_approved", "verify approval", "Let somebody else approve: the configuration forbids who planned to.", fmt.Errorf("%s made the plan", planner))
	}
	return nil
}

// samePerson takes alice for alice@example.com, however it is written: one is
// how a machine knows her, the other how the signers' file does.
func samePerson(a, b string) bool {
	a, _ = engine.Person(a) // what is no address is compared as it stands
	b, _ = engine.Person(b)
	userA, _, fullA := strings.Cut(a, "@")
	userB, _, fullB := strings.Cut(b, "@")
	return strings.EqualFold(a, b) || fullA != fullB && strings.EqualFold(userA, userB)
}

// withdraw ends what its author said: nobody lifts the rejection of another.
func (v *verification) withdraw(s Statement, by Approver) {
	for _, step := range v.plan.Steps {
		if s.All || slices.ContainsFunc(s.Decisions, func(d Decision) bool { return d.Step == step.ID }) {
			v.votes[step.ID] = slices.DeleteFunc(v.votes[step.ID], func(one vote) bool { return one.by.same(by) })
		}
	}
}

// count notes the decisions of a statement. A rejection does not expire.
func (v *verification) count(s Statement, by Approver) {
	expires, _ := time.Parse(time.RFC3339, s.ExpiresAt)
	for _, d := range v.decisions(s) {
		if d.Verdict == Accept && s.expired(v.now) {
			v.expired = true
			continue
		}
		kept := v.votes[d.Step][:0:0]
		for _, before := range v.votes[d.Step] {
			if !before.by.same(by) {
				kept = append(kept, before)
			}
		}
		v.votes[d.Step] = append(kept, vote{decision: d, by: by, own: s.own(), expires: expires})
	}
}

// same holds for one person, by name or by key: neither counts twice.
func (a Approver) same(b Approver) bool {
	return strings.EqualFold(a.Name, b.Name) || a.Key != "" && a.Key == b.Key
}

func (v *verification) decisions(s Statement) []Decision {
	if !s.All {
		return s.Decisions
	}
	var all []Decision
	for _, step := range v.plan.Steps {
		all = append(all, Decision{Step: step.ID, Verdict: Accept})
	}
	return all
}

func (v *verification) approved() (Approved, error) {
	a := Approved{
		Plan: v.plan, SHA256: Digest(v.content), Steps: map[string]bool{}, Others: map[string]string{}, Unsigned: v.trust.Signers == nil,
	}
	a.ExpiresAt, _ = time.Parse(time.RFC3339, v.plan.ExpiresAt)
	for _, step := range v.plan.Steps {
		if why := v.objection(step); why != "" {
			a.Others[step.ID] = why
			continue
		}
		a.Steps[step.ID] = true
		a.note(v.votes[step.ID])
	}
	if len(a.Steps) == 0 && len(v.plan.Steps) > 0 {
		return a, unapproved(errors.New(v.whyNone()))
	}
	return a, nil
}

func (v *verification) whyNone() string {
	if v.expired {
		return "its approval has expired"
	}
	for _, step := range v.plan.Steps {
		return "no step is approved; step " + step.ID + ": " + v.objection(step)
	}
	return "it has no step"
}

// objection tells why a step is not approved; "" when it is.
func (v *verification) objection(step engine.Step) string {
	var counted []Approver
	deferred := ""
	for _, one := range v.votes[step.ID] {
		switch {
		case one.decision.Verdict == Reject:
			return withReason("rejected by "+one.by.Name, one.decision.Reason)
		case one.decision.Verdict == Defer:
			deferred = withReason("deferred by "+one.by.Name, one.decision.Reason)
		case v.trust.CriticalNeedOwn && step.Critical && !one.own:
			deferred = "critical: needs a statement of its own (approve --step " + step.ID + ")"
		default:
			counted = append(counted, one.by)
		}
	}
	if need := max(1, v.trust.Required); len(counted) < need {
		if deferred != "" {
			return deferred
		}
		if need == 1 {
			return "not approved"
		}
		return fmt.Sprintf("approved by %d of %d", len(counted), need)
	}
	return ""
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

// note keeps who approved, once each.
func (a *Approved) note(votes []vote) {
	for _, one := range votes {
		if one.decision.Verdict != Accept {
			continue
		}
		if one.expires.Before(a.ExpiresAt) {
			a.ExpiresAt = one.expires
		}
		seen := false
		for _, by := range a.By {
			seen = seen || by == one.by
		}
		if !seen {
			a.By = append(a.By, one.by)
		}
	}
}
