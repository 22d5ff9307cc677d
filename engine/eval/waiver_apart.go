package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// wireWaivers is a WaiverJudge of some policies.
type wireWaivers struct {
	AsOf     time.Time
	Tuning   map[string]Tuning
	Policies []string // ids
}

// wireWaiver is a waiver to be judged by one policy.
type wireWaiver struct {
	Policy  string
	Case    WaiverCase
	OwnerID string // of the finding, which JSON leaves out
}

// wireWaiverDone is what a policy has against a waiver, or why it could not be judged.
type wireWaiverDone struct {
	Messages []string
	Failed   string
}

// waiversOutside judges waivers by the policies of others, in sandboxes that are
// started when they are needed. A policy that ends one is asked no more.
type waiversOutside struct {
	set       *Set
	wire      wireWaivers
	child     *child           // nil: to be started
	condemned map[string]error // policy id → how it ended a sandbox
}

func newWaiversOutside(s *Set, asOf time.Time, tuning map[string]Tuning) *waiversOutside {
	o := &waiversOutside{set: s, wire: wireWaivers{AsOf: asOf, Tuning: map[string]Tuning{}}, condemned: map[string]error{}}
	for _, p := range s.waivers {
		if !p.trusted && !tuning[p.ID].Disabled {
			o.wire.Policies = append(o.wire.Policies, p.ID)
			o.wire.Tuning[p.ID] = tuning[p.ID]
		}
	}
	return o
}

// ask gives what a policy has against a waiver.
func (o *waiversOutside) ask(ctx context.Context, id string, c *WaiverCase) ([]string, error) {
	if why := o.condemned[id]; why != nil {
		return nil, why
	}
	err := o.enter(ctx)
	var messages []string
	if err == nil {
		messages, err = o.child.waiver(ctx, id, c)
	}
	var end *sandboxEnd
	if errors.As(err, &end) {
		o.leave()
		o.condemned[id] = end
	}
	return messages, err
}

func (o *waiversOutside) enter(ctx context.Context) error {
	if o.child != nil {
		return nil
	}
	started, err := startChild(o.set.options.Sandbox(), o.set.deadline())
	if err != nil {
		return err
	}
	o.child = started
	return started.prepare(ctx, request{Packs: o.set.sources.wired(), Deadline: o.set.deadline(), Waivers: &o.wire})
}

func (o *waiversOutside) leave() {
	if o.child != nil {
		o.child.kill()
		o.child = nil
	}
}

// waiver has a policy judge a waiver.
func (c *child) waiver(ctx context.Context, id string, of *WaiverCase) ([]string, error) {
	w := wireWaiver{Policy: id, Case: *of}
	if of.Finding != nil {
		finding := *of.Finding
		finding.Evidence, finding.Message = nil, "" // no policy sees these
		w.Case.Finding, w.OwnerID = &finding, finding.OwnerID
	}
	c.tellIt(request{Waiver: &w})
	said, err := c.next(ctx, c.silence, id)
	switch {
	case err != nil:
		return nil, err
	case said.Waiver == nil:
		return nil, &sandboxEnd{policy: id, why: "the sandbox gave no answer: " + said.Failed}
	case said.Waiver.Failed != "":
		return nil, errors.New(said.Waiver.Failed)
	}
	return said.Waiver.Messages, nil
}

// waiverBench is the judge in a sandbox.
func (s *Set) waiverBench(ctx context.Context, w *wireWaivers) (*WaiverJudge, error) {
	chosen := *s
	chosen.waivers = slices.DeleteFunc(slices.Clone(s.waivers), func(p *policy) bool { return !slices.Contains(w.Policies, p.ID) })
	return chosen.WaiverJudge(ctx, w.AsOf, w.Tuning)
}

// serve judges a waiver by one policy, and answers.
func (j *WaiverJudge) serve(ctx context.Context, w *wireWaiver, v *voice) error {
	if err := boundCPU(2*j.deadline + 2*loadDeadline); err != nil {
		return err
	}
	i := slices.IndexFunc(j.policies, func(p *waiverPolicy) bool { return p.ID == w.Policy })
	if i < 0 {
		return fmt.Errorf("judge: no policy %s in the job", w.Policy)
	}
	if w.Case.Finding != nil {
		w.Case.Finding.OwnerID = w.OwnerID
	}
	a := j.policies[i].assignment
	messages, err := j.run(ctx, a, waiverInput(a, w.Case, j.asOf))
	return v.say(reply{Waiver: newWaiverDone(messages, err)})
}

func newWaiverDone(messages []string, err error) *wireWaiverDone {
	if err != nil {
		return &wireWaiverDone{Failed: err.Error()}
	}
	size := 0
	for _, message := range messages {
		size += len(message)
	}
	if size > maxText {
		return &wireWaiverDone{Failed: fmt.Sprintf("the result is too long: messages may have %d bytes", maxText)}
	}
	return &wireWaiverDone{Messages: messages}
}
