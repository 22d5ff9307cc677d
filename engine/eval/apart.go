package eval

import (
	"context"
	"errors"
	"iter"
	"os/exec"
	"slices"

	"patrol/engine"
)

// Sandbox makes the command that runs ServeSandbox in a process of its own.
type Sandbox func() *exec.Cmd

// apart separates the policies that are judged in a sandbox: those of packs
// that did not come with patrol. A deadline in this process cannot end every
// evaluation: some builtins do not look at it, and no memory is given back.
func (e *evaluation) apart(assignments []*assignment) (own, foreign []*assignment) {
	for _, a := range assignments {
		if e.options.Sandbox == nil || a.trusted {
			own = append(own, a)
		} else {
			foreign = append(foreign, a)
		}
	}
	return own, foreign
}

// judgeApart judges by policies in a sandbox. One that ends the sandbox, or
// makes it fall silent, is an error on what was in hand and on all that
// follows; the others go on in a new one.
func (e *evaluation) judgeApart(ctx context.Context, foreign []*assignment) error {
	if len(foreign) == 0 {
		return nil
	}
	o := &outside{evaluation: e, ctx: ctx, all: foreign, condemned: map[string]error{}}
	defer o.leave()
	if err := o.judgeAll(); err != nil {
		return err
	}
	o.keep()
	return nil
}

// judgeAll judges the workspace, then its tokens.
func (o *outside) judgeAll() error {
	var forTokens []*assignment
	for _, a := range o.all {
		if a.Resource == engine.ResourceToken {
			forTokens = append(forTokens, a)
			continue
		}
		if err := o.judge([]*assignment{a}, o.parts(a), nil); err != nil {
			return err
		}
	}
	if len(forTokens) == 0 {
		return nil
	}
	if o.job.Tokens == nil {
		return errNoRows
	}
	for batch, err := range batches(o.job.Tokens(comparesTokens(forTokens))) {
		if err != nil {
			return err
		}
		if err := o.judge(forTokens, targets(batch), batch); err != nil {
			return err
		}
	}
	return nil
}

// parts is what a policy judges that is not about tokens.
func (e *evaluation) parts(a *assignment) []target {
	if a.Resource != engine.ResourceSecret {
		return []target{e.view.itself()}
	}
	var secrets []target
	for _, secret := range e.view.secrets {
		secrets = append(secrets, ofSecret(secret))
	}
	return secrets
}

func targets(tokens []engine.Subject) []target {
	list := make([]target, len(tokens))
	for i, t := range tokens {
		list[i] = ofToken(t)
	}
	return list
}

// batches cuts rows; the raw row stays here, for no policy sees it.
func batches(rows iter.Seq2[engine.Subject, error]) iter.Seq2[[]engine.Subject, error] {
	return func(yield func([]engine.Subject, error) bool) {
		next := make([]engine.Subject, 0, batchSize)
		for row, err := range rows {
			if err != nil {
				yield(nil, err)
				return
			}
			row.Token.Raw = nil
			if next = append(next, row); len(next) < batchSize {
				continue
			}
			if !yield(next, nil) {
				return
			}
			next = next[:0]
		}
		if len(next) > 0 {
			yield(next, nil)
		}
	}
}

// outside is the part of a job that runs in sandboxes, one after the other.
type outside struct {
	*evaluation
	ctx       context.Context
	all       []*assignment
	child     *child           // nil: to be started
	condemned map[string]error // policy id → how it ended a sandbox
}

// judge gives every target one result by each policy.
func (o *outside) judge(by []*assignment, on []target, tokens []engine.Subject) error {
	pending := slices.Clone(by)
	for {
		pending = slices.DeleteFunc(pending, func(a *assignment) bool { return o.condemned[a.ID] != nil })
		if len(pending) == 0 {
			break
		}
		done, err := o.try(pending, on, tokens)
		pending = slices.DeleteFunc(pending, func(a *assignment) bool { return done[a.ID] })
		if err != nil {
			return err
		}
	}
	return o.tellCondemned(by, on, tokens)
}

// try judges by as many of the policies as a sandbox survives.
func (o *outside) try(pending []*assignment, on []target, tokens []engine.Subject) (map[string]bool, error) {
	done := map[string]bool{}
	fate := o.enter()
	if fate == nil {
		fate = o.child.judge(o.ctx, wireJudge{Policies: idsOf(pending), Tokens: tokens}, func(r *wireResult) error {
			if done[r.Policy] {
				return notAddingUp("")
			}
			err := o.takeResult(pending, on, r)
			done[r.Policy] = err == nil
			return err
		})
	}
	var end *sandboxEnd
	if fate == nil || !errors.As(fate, &end) {
		return done, fate
	}
	if err := o.ctx.Err(); err != nil {
		return done, err
	}
	o.leave()
	o.condemn(end, pending, done)
	return done, nil
}

// condemn gives up the policy in hand, or all of them when none was, or one that
// was not asked for: nothing tells them apart then, and a sandbox must not be
// started for ever.
func (o *outside) condemn(end *sandboxEnd, pending []*assignment, done map[string]bool) {
	if slices.ContainsFunc(pending, func(a *assignment) bool { return a.ID == end.policy && !done[a.ID] }) {
		o.condemned[end.policy] = end
		return
	}
	for _, a := range pending {
		if !done[a.ID] {
			o.condemned[a.ID] = end
		}
	}
}

func notAddingUp(policy string) error {
	return &sandboxEnd{policy: policy, why: "the sandbox gave results that do not add up"}
}

func (o *outside) takeResult(pending []*assignment, on []target, r *wireResult) error {
	i := slices.IndexFunc(pending, func(a *assignment) bool { return a.ID == r.Policy })
	if i < 0 || r.Pass < 0 || r.NotApplicable < 0 || r.Pass+r.NotApplicable+len(r.Findings) != len(on) {
		return notAddingUp(r.Policy)
	}
	last := -1
	for _, f := range r.Findings {
		if f.Index <= last || f.Index >= len(on) || f.Status != engine.Fail && f.Status != engine.Unknown && f.Status != engine.Errored {
			return notAddingUp(r.Policy)
		}
		last = f.Index
	}
	add(o.tallies[r.Policy], engine.Pass, r.Pass)
	add(o.tallies[r.Policy], engine.NotApplicable, r.NotApplicable)
	for _, f := range r.Findings {
		if err := o.tell(o.view.finding(pending[i], on[f.Index], f.outcome())); err != nil {
			return err
		}
	}
	return nil
}

// tellCondemned gives every target the result that the policy did not give.
func (o *outside) tellCondemned(by []*assignment, on []target, tokens []engine.Subject) error {
	for _, a := range by {
		why := o.condemned[a.ID]
		if why == nil {
			continue
		}
		for i, target := range on {
			if tokens != nil && !judges(a.Judges, tokens[i].Facts.Expired) {
				add(o.tallies[a.ID], engine.NotApplicable, 1)
				continue
			}
			if err := o.tell(o.view.finding(a, target, failure(why))); err != nil {
				return err
			}
		}
	}
	return nil
}

func idsOf(assignments []*assignment) []string {
	ids := make([]string, len(assignments))
	for i, a := range assignments {
		ids[i] = a.ID
	}
	return ids
}

// enter gives the job, for the policies that are left, to the sandbox that waits,
// or to a new one where none does or that has ended since.
func (o *outside) enter() error {
	if o.child != nil {
		return nil
	}
	left := slices.DeleteFunc(slices.Clone(o.all), func(a *assignment) bool { return o.condemned[a.ID] != nil })
	job := o.job.wired(idsOf(left))
	if o.child = o.idle.take(); o.child != nil {
		if o.child.prepare(o.ctx, request{Job: job}) == nil {
			return nil
		}
		o.leave()
	}
	started, err := startChild(o.options.Sandbox(), o.options.Deadline)
	if err != nil {
		return err
	}
	o.child = started
	return started.prepare(o.ctx, request{Packs: o.sources.wired(), Deadline: o.options.Deadline, Job: job})
}

// keep lets the sandbox wait for the next job, if there may be one.
func (o *outside) keep() {
	if o.child != nil {
		o.idle.put(o.child)
		o.child = nil
	}
}

func (o *outside) leave() {
	if o.child != nil {
		o.child.kill()
		o.child = nil
	}
}
