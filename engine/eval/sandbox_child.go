package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
)

// ServeSandbox is a sandbox for third-party policies; see sandbox.Serve.
func ServeSandbox(ctx context.Context, in io.Reader, out io.Writer) error {
	var set *Set
	var job *sandboxedJob
	waivers := map[string]*WaiverJudge{} // each of one policy: it counts how often that ran out of time
	return sandbox.Serve(ctx, in, out, func(ctx context.Context, text json.RawMessage, answer *sandbox.Answer) (err error) {
		var r request
		if err := sandbox.Decode(text, &r); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if len(r.Packs) > 0 {
			var packs []policy.Pack
			for _, text := range r.Packs {
				packs = append(packs, text.Pack())
			}
			if set, err = Load(ctx, packs...); err != nil {
				return fmt.Errorf("the sandbox could not load the policies: %w", err)
			}
			set = set.With(Options{Deadline: r.Deadline, Workers: 1, NoPrefilter: true})
		}
		if set == nil {
			return errors.New("the first request had no packs")
		}
		if r.Judge != nil && r.Job != nil {
			if job, err = set.newSandboxedJob(ctx, *r.Job, r.Policies, answer); err != nil {
				return err
			}
		}
		switch {
		case r.Judge != nil && job != nil:
			return job.judgeAll(ctx, r.Judge, answer)
		case r.Waiver != nil:
			answer.Doing(r.Waiver.Policy)
			key := fmt.Sprint(r.Waiver.Policy, r.Waiver.AsOf, r.Waiver.Tuning)
			if waivers[key] == nil {
				if waivers[key], err = set.oneWaiverPolicy(ctx, r.Waiver); err != nil {
					return err
				}
			}
			return waivers[key].answer(ctx, r.Waiver, answer)
		case r.Tests != nil:
			return set.answerTests(ctx, r.Tests, answer)
		case r.Lint != "":
			return set.answerLint(ctx, r.Lint, answer)
		case r.Explain != nil && r.Job != nil && len(r.Policies) == 1:
			id := r.Policies[0]
			answer.Doing(id)
			e, err := set.Explain(ctx, *r.Job, id, *r.Explain)
			if err != nil {
				return err
			}
			return answer.Give(e)
		}
		return nil // to load was all
	})
}

// sandboxedJob is the workspace that a sandbox judges: one judge.
type sandboxedJob struct {
	*judge
	assignments map[string]*assignment
}

func (s *Set) newSandboxedJob(ctx context.Context, job Job, policies []string, answer *sandbox.Answer) (*sandboxedJob, error) {
	chosen := s.Select(func(p engine.Policy) bool { return slices.Contains(policies, p.ID) })
	e, err := chosen.prepare(job, nil)
	if err != nil {
		return nil, err
	}
	j := &sandboxedJob{assignments: map[string]*assignment{}}
	var list []*assignment
	for _, p := range chosen.Resources {
		a, err := newAssignment(p, job.Tuning[p.ID])
		if err != nil {
			return nil, err
		}
		j.assignments[p.ID] = a
		list = append(list, a)
	}
	if j.judge, err = newJudge(ctx, e.options, e.view, job.AsOf, list); err != nil {
		return nil, err
	}
	j.begin = answer.Doing
	return j, nil
}

// judgeAll judges by each policy, and answers after each.
func (j *sandboxedJob) judgeAll(ctx context.Context, w *wireJudge, answer *sandbox.Answer) error {
	subjects := make([]*subject, len(w.Tokens))
	for i, t := range w.Tokens {
		subjects[i] = j.view.newSubject(t, allFields)
	}
	for _, id := range w.Policies {
		a := j.assignments[id]
		if a == nil {
			return fmt.Errorf("no policy %s in the job", id)
		}
		answer.Doing(id)
		var outcomes []outcome
		switch a.Resource {
		case engine.ResourceToken:
			for _, s := range subjects {
				outcomes = append(outcomes, a.bounded(j.token(ctx, a, s)))
			}
		case engine.ResourceSecret:
			for _, s := range j.view.secrets {
				outcomes = append(outcomes, a.bounded(j.secret(ctx, a, s)))
			}
		default:
			outcomes = append(outcomes, a.bounded(j.workspace(ctx, a)))
		}
		result := wireResult{Policy: id}
		for i, o := range outcomes {
			switch o.status {
			case engine.Pass:
				result.Pass++
			case engine.NotApplicable:
				result.NotApplicable++
			default:
				result.Findings = append(result.Findings, wireOutcome{i, o.status, o.message, o.evidence})
			}
		}
		if err := answer.Give(result); err != nil {
			return err
		}
	}
	return nil
}

// bounded keeps results small enough to be handed on and to be kept: one that is not is
// an error, since a result cut short would say something else. What a policy says in all
// may grow with what it judges, by a page for each.
func (a *assignment) bounded(o outcome) outcome {
	a.allowance += 4 << 10
	text, err := json.Marshal(o.evidence)
	size := int64(len(o.message) + len(text))
	switch {
	case err != nil:
		return failure(fmt.Errorf("encode evidence: %w", err))
	case size > maxText:
		return failure(fmt.Errorf("the result is too long: message and evidence may have %d bytes", maxText))
	case depth(o.evidence) > maxDepth:
		return failure(fmt.Errorf("the result is too deep: evidence may have %d levels", maxDepth))
	case o.status == engine.Fail && a.said+size > a.allowance:
		return failure(errors.New("the policy says too much in all: messages and evidence may have 1 MiB, and 4 KiB for each resource"))
	}
	a.said += size
	return o
}

func depth(value any) int {
	deepest := 0
	switch v := value.(type) {
	case map[string]any:
		for _, element := range v {
			deepest = max(deepest, depth(element))
		}
	case []any:
		for _, element := range v {
			deepest = max(deepest, depth(element))
		}
	default:
		return 0
	}
	return deepest + 1
}

// oneWaiverPolicy judges by the policy that a request is about.
func (s *Set) oneWaiverPolicy(ctx context.Context, w *wireWaiver) (*WaiverJudge, error) {
	one, policies := *s, *s.Set
	policies.Waivers = slices.DeleteFunc(slices.Clone(s.Waivers), func(p *policy.Compiled) bool { return p.ID != w.Policy })
	if len(policies.Waivers) != 1 {
		return nil, fmt.Errorf("no policy %s over waivers", w.Policy)
	}
	one.Set = &policies
	return one.WaiverJudge(ctx, w.AsOf, map[string]policy.Tuning{w.Policy: w.Tuning})
}

// answer judges a waiver by the one policy.
func (j *WaiverJudge) answer(ctx context.Context, w *wireWaiver, answer *sandbox.Answer) error {
	if w.Case.Finding != nil {
		w.Case.Finding.OwnerID = w.OwnerID
	}
	var verdict waiverVerdict
	messages, err := j.run(ctx, j.policies[0].assignment, &w.Case)
	switch {
	case err != nil:
		verdict.Failed = err.Error()
	case len(strings.Join(messages, "")) > maxText:
		verdict.Failed = fmt.Sprintf("the result is too long: messages may have %d bytes", maxText)
	default:
		verdict.Messages = messages
	}
	return answer.Give(verdict)
}

// answerTests runs the tests of packs that are not trusted. A test that does not
// even parse is the author's to know, with its place.
func (s *Set) answerTests(ctx context.Context, w *wireTests, answer *sandbox.Answer) error {
	results, coverage, err := s.Set.RunTests(ctx, policy.TestRun{
		Filter: w.Filter, Parallel: 1, Deadline: s.deadline(), ThirdParty: true, Skip: w.Skip, Begin: beginTest(answer),
	})
	return giveAuthored(answer, authored{Tests: results, Coverage: coverage}, err)
}

func (s *Set) answerLint(ctx context.Context, pack string, answer *sandbox.Answer) error {
	found, err := s.Set.Lint(ctx, pack, policy.TestRun{Deadline: s.deadline(), ThirdParty: true, Begin: beginTest(answer)})
	return giveAuthored(answer, authored{Problems: found}, err)
}

func giveAuthored(answer *sandbox.Answer, a authored, err error) error {
	if errors.As(err, &a.Broken) {
		err = nil
	}
	if err != nil {
		return err
	}
	return answer.Give(a)
}

// beginTest says which test is in hand.
func beginTest(answer *sandbox.Answer) func(policy.TestResult) {
	return func(test policy.TestResult) {
		_ = answer.Give(authored{Begun: &test})
		answer.Doing(test.Name)
	}
}
