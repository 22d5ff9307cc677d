package eval

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"patrol/engine"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
)

// WaiverCase is a waiver that is about to excuse a finding. Without a finding
// it is judged by itself: by the policies that do not ask for one.
type WaiverCase struct {
	Waiver   engine.WaiverRule
	Policy   string          // id of one of its policies
	Severity engine.Severity // of that policy, as tuned
	Finding  *engine.Finding
}

// WaiverJudge decides by the policies over waivers which of them count, under
// the tuning of one workspace. Verdicts are kept by what the policies read, so
// that a waiver costs little however much it excuses. It is for one goroutine.
type WaiverJudge struct {
	asOf     time.Time
	judge    *judge
	policies []*waiverPolicy

	// Third-party policies judge in a sandbox.
	set     *Set
	tuning  map[string]policy.Tuning
	process *sandbox.Process // nil: to be started
	killed  map[string]error // policy id → how it ended a sandbox
}

// Close ends the sandbox, where there is one.
func (j *WaiverJudge) Close() {
	if j.process != nil {
		j.process.Stop()
		j.process = nil
	}
}

// waiverPolicy is a policy over waivers and the verdicts that it gave.
type waiverPolicy struct {
	*assignment
	asksFinding, asksResource bool                   // it reads the finding; it reads which resource that is about
	verdicts                  map[waiverKey][]string // key → messages
}

// waiverKey is what a verdict may depend on, the resource excepted: by resource there
// would be as many verdicts as findings.
type waiverKey struct {
	waiver, policy string
	severity       engine.Severity
	finding        [5]string // workspace, its id, owner, its id, resource; empty where the policy reads no finding
}

// WaiverJudge prepares the policies over waivers. Tuning is per policy id,
// already resolved for a workspace. The judge must be closed.
func (s *Set) WaiverJudge(ctx context.Context, asOf time.Time, tuning map[string]policy.Tuning) (*WaiverJudge, error) {
	if err := s.CheckTuning(tuning); err != nil {
		return nil, err
	}
	j := &WaiverJudge{asOf: asOf, set: s, tuning: tuning, killed: map[string]error{}}
	var own []*assignment
	for _, p := range s.Waivers {
		if tuning[p.ID].Disabled {
			continue
		}
		a, err := newAssignment(p, tuning[p.ID])
		if err != nil {
			return nil, err
		}
		own = append(own, a)
		j.policies = append(j.policies, &waiverPolicy{
			assignment: a, asksFinding: p.Reads.Touches("finding"), asksResource: p.Reads.Touches("finding", "resource_id"), verdicts: map[waiverKey][]string{},
		})
	}
	options := s.options
	options.Deadline = s.deadline()
	var err error
	j.judge, err = newJudge(ctx, options, nil, asOf, own)
	return j, err
}

// Judge tells why a waiver does not count; nothing: it counts. A policy that
// cannot be evaluated refuses: an exception that nobody could check is none.
func (j *WaiverJudge) Judge(ctx context.Context, c WaiverCase) []engine.WaiverRefusal {
	var refusals []engine.WaiverRefusal
	for _, p := range j.policies {
		key := waiverKey{waiver: c.Waiver.ID, policy: c.Policy, severity: c.Severity}
		switch f := c.Finding; {
		case f == nil && p.asksFinding:
			continue
		case f != nil && p.asksFinding:
			key.finding = [5]string{f.Workspace, f.WorkspaceID, f.Owner, f.OwnerID, string(f.Resource)}
		}
		messages, known := p.verdicts[key]
		if !known || p.asksResource {
			var err error
			if j.set.options.Sandbox != nil && !p.Trusted {
				messages, err = j.askSandbox(ctx, p.ID, &c)
			} else {
				messages, err = j.run(ctx, p.assignment, &c)
			}
			if err != nil {
				messages = []string{"could not be judged: " + err.Error()}
			}
			if !p.asksResource && ctx.Err() == nil {
				p.verdicts[key] = messages
			}
		}
		for _, message := range messages {
			refusals = append(refusals, engine.WaiverRefusal{Policy: p.ID, Message: message})
		}
	}
	slices.SortFunc(refusals, func(a, b engine.WaiverRefusal) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Message, b.Message))
	})
	return refusals
}

// run evaluates a policy over a waiver; no message: it has nothing against it.
func (j *WaiverJudge) run(ctx context.Context, a *assignment, c *WaiverCase) ([]string, error) {
	w := c.Waiver
	waiver := object{}
	waiver.text("id", w.ID)
	waiver.put("policies", textsTerm(w.Policies))
	waiver.text("workspace", w.Workspace)
	waiver.text("token", w.Token)
	waiver.text("secret", w.Secret)
	waiver.text("owner", w.Owner)
	waiver.text("reason", w.Reason)
	waiver.text("ticket", w.Ticket)
	waiver.text("approver", w.Approver)
	waiver.text("created", w.Created.String())
	waiver.text("expires", w.Expires.String())
	waiver.put("term_days", ast.IntNumberTerm(w.TermDays()))
	waiver.put("days_left", ast.IntNumberTerm(engine.DateOf(j.asOf).Until(w.Expires)))
	policy := object{}
	policy.text("id", c.Policy)
	policy.known("severity", string(c.Severity))
	input := object{}
	input.text("as_of", rfc3339(j.asOf))
	input.put("params", a.term)
	input.put("waiver", waiver.term())
	input.put("policy", policy.term())
	if f := c.Finding; f != nil {
		finding := object{}
		finding.text("workspace", f.Workspace)
		finding.text("workspace_id", f.WorkspaceID)
		finding.text("resource", string(f.Resource))
		finding.text("resource_id", f.ResourceID)
		if f.Owner != f.OwnerID { // the name of an owner that is known by id only is left out
			finding.known("owner", f.Owner)
		}
		finding.known("owner_id", f.OwnerID)
		input.put("finding", finding.term())
	}
	deny, applies, err := j.judge.run(ctx, a, input.term())
	switch {
	case err != nil:
		return nil, err
	case !applies && a.Applicable.Needs == nil:
		return nil, errNoSet
	case !applies:
		return nil, nil
	}
	messages, _, err := readDeny(deny)
	return messages, err
}
