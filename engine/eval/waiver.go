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
	asksFinding bool
	asks        [8]bool                // which of waiverPaths it reads
	verdicts    map[waiverKey][]string // key → messages
}

// waiverPaths lists what a verdict may depend on beside the waiver.
func waiverPaths() [8][2]string {
	return [8][2]string{
		{"policy", "id"}, {"policy", "severity"}, {"finding", "workspace"}, {"finding", "workspace_id"},
		{"finding", "owner"}, {"finding", "owner_id"}, {"finding", "resource"}, {"finding", "resource_id"},
	}
}

// waiverKey is what a verdict depends on: the id of the waiver, then the values of
// waiverPaths; what the policy does not read is empty.
type waiverKey [9]string

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
		j.policies = append(j.policies, newWaiverPolicy(a))
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
		if c.Finding == nil && p.asksFinding {
			continue
		}
		for _, message := range j.messages(ctx, p, &c) {
			refusals = append(refusals, engine.WaiverRefusal{Policy: p.ID, Message: message})
		}
	}
	slices.SortFunc(refusals, func(a, b engine.WaiverRefusal) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Message, b.Message))
	})
	return refusals
}

func (j *WaiverJudge) messages(ctx context.Context, p *waiverPolicy, c *WaiverCase) []string {
	key := p.key(c)
	if messages, known := p.verdicts[key]; known {
		return messages
	}
	messages, err := j.ask(ctx, p, c)
	if err != nil {
		messages = []string{"could not be judged: " + err.Error()}
	}
	if key[8] == "" && ctx.Err() == nil {
		p.verdicts[key] = messages // by resource there would be as many as findings
	}
	return messages
}

func (j *WaiverJudge) ask(ctx context.Context, p *waiverPolicy, c *WaiverCase) ([]string, error) {
	if j.set.options.Sandbox != nil && !p.Trusted {
		return j.askSandbox(ctx, p.ID, c)
	}
	return j.run(ctx, p.assignment, c)
}

func newWaiverPolicy(a *assignment) *waiverPolicy {
	p := &waiverPolicy{assignment: a, asksFinding: a.Reads.Touches("finding"), verdicts: map[waiverKey][]string{}}
	for i, path := range waiverPaths() {
		p.asks[i] = a.Reads.Touches(path[0], path[1])
	}
	return p
}

// key is built for each finding that a waiver is about, so that it must cost nothing.
func (p *waiverPolicy) key(c *WaiverCase) waiverKey {
	values := [8]string{c.Policy, string(c.Severity)}
	if f := c.Finding; f != nil {
		values = [8]string{c.Policy, string(c.Severity), f.Workspace, f.WorkspaceID, f.Owner, f.OwnerID, string(f.Resource), f.ResourceID}
	}
	key := waiverKey{c.Waiver.ID}
	for i, value := range values {
		if p.asks[i] {
			key[i+1] = value
		}
	}
	return key
}

func waiverInput(a *assignment, c WaiverCase, asOf time.Time) *ast.Term {
	input := object{}
	input.text("as_of", rfc3339(asOf))
	input.put("params", a.term)
	input.put("waiver", waiverTerm(c.Waiver, engine.DateOf(asOf)))
	policy := object{}
	policy.text("id", c.Policy)
	policy.known("severity", string(c.Severity))
	input.put("policy", policy.term())
	if c.Finding != nil {
		input.put("finding", findingTerm(*c.Finding))
	}
	return input.term()
}

func waiverTerm(w engine.WaiverRule, today engine.Date) *ast.Term {
	o := object{}
	o.text("id", w.ID)
	o.put("policies", textsTerm(w.Policies))
	o.text("workspace", w.Workspace)
	o.text("token", w.Token)
	o.text("secret", w.Secret)
	o.text("owner", w.Owner)
	o.text("reason", w.Reason)
	o.text("ticket", w.Ticket)
	o.text("approver", w.Approver)
	o.text("created", w.Created.String())
	o.text("expires", w.Expires.String())
	o.put("term_days", ast.IntNumberTerm(w.TermDays()))
	o.put("days_left", ast.IntNumberTerm(today.Until(w.Expires)))
	return o.term()
}

// findingTerm leaves out the name of an owner that is known by id only.
func findingTerm(f engine.Finding) *ast.Term {
	o := object{}
	o.text("workspace", f.Workspace)
	o.text("workspace_id", f.WorkspaceID)
	o.text("resource", string(f.Resource))
	o.text("resource_id", f.ResourceID)
	if f.Owner != f.OwnerID {
		o.known("owner", f.Owner)
	}
	o.known("owner_id", f.OwnerID)
	return o.term()
}

// run evaluates a policy over a waiver; no message: it has nothing against it.
func (j *WaiverJudge) run(ctx context.Context, a *assignment, c *WaiverCase) ([]string, error) {
	deny, applies, err := j.judge.run(ctx, a, waiverInput(a, *c, j.asOf))
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
