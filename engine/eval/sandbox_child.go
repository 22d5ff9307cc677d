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
	waivers := map[string]*WaiverJudge{} // a judge counts how often each policy ran out of time
	return sandbox.Serve(ctx, in, out, func(ctx context.Context, text json.RawMessage, answer *sandbox.Answer) (err error) {
		var r request
		if err := sandbox.Decode(text, &r); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		if r.Packs != nil {
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
		switch {
		case r.Policy != "":
			if r.Job != nil {
				e, err := set.start(ctx, *r.Job, func(engine.Finding) error { return nil })
				if err != nil {
					return err
				}
				job = &sandboxedJob{evaluation: e}
				job.judges[0].begin = answer.Doing
			}
			if job == nil {
				return errors.New("the first request about tokens or a workspace had no job")
			}
			return job.answer(ctx, r, answer)
		case r.Waiver != nil:
			w := r.Waiver
			answer.Doing(w.Policy)
			key := fmt.Sprint(w.Policy, w.AsOf, w.Tuning)
			if waivers[key] == nil {
				if waivers[key], err = set.WaiverJudge(ctx, w.AsOf, map[string]policy.Tuning{w.Policy: w.Tuning}); err != nil {
					return err
				}
			}
			return waivers[key].answer(ctx, w, answer)
		case r.Explain != nil && r.Job != nil:
			answer.Doing(r.Explain.Policy)
			e, err := set.Explain(ctx, *r.Job, r.Explain.Policy, r.Explain.On)
			if err != nil {
				return err
			}
			return answer.Give(e)
		case r.Tests != nil:
			return set.answerTests(ctx, *r.Tests, answer)
		}
		return nil // to load was all
	})
}

// sandboxedJob is the workspace that a sandbox judges.
type sandboxedJob struct {
	*evaluation
	tokens []*subject
}

// answer judges by the policy of a request.
func (j *sandboxedJob) answer(ctx context.Context, r request, answer *sandbox.Answer) error {
	i := slices.IndexFunc(j.own, func(a *assignment) bool { return a.ID == r.Policy })
	if i < 0 {
		return fmt.Errorf("no policy %s in the job", r.Policy)
	}
	a, judge := j.own[i], j.judges[0]
	if r.Tokens != nil {
		j.tokens = nil
		for _, t := range r.Tokens {
			j.tokens = append(j.tokens, j.view.newSubject(t, allFields))
		}
	}
	answer.Doing(a.ID)
	var outcomes []outcome
	switch a.Resource {
	case engine.ResourceToken:
		for _, s := range j.tokens {
			outcomes = append(outcomes, a.bounded(judge.token(ctx, a, s)))
		}
	case engine.ResourceSecret:
		for _, s := range j.view.secrets {
			outcomes = append(outcomes, a.bounded(judge.secret(ctx, a, s)))
		}
	default:
		outcomes = append(outcomes, a.bounded(judge.workspace(ctx, a)))
	}
	judged := result{Policy: a.ID}
	for i, o := range outcomes {
		switch o.status {
		case engine.Pass:
			judged.Pass++
		case engine.NotApplicable:
			judged.NotApplicable++
		default:
			judged.Findings = append(judged.Findings, foundAt{i, o.status, o.message, o.evidence})
		}
	}
	return answer.Give(judged)
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

// answer judges a waiver by the policy of a request.
func (j *WaiverJudge) answer(ctx context.Context, w *waiverRequest, answer *sandbox.Answer) error {
	i := slices.IndexFunc(j.policies, func(p *waiverPolicy) bool { return p.ID == w.Policy })
	if i < 0 {
		return fmt.Errorf("no policy %s over waivers", w.Policy)
	}
	if w.Case.Finding != nil {
		w.Case.Finding.OwnerID = w.OwnerID
	}
	var verdict waiverVerdict
	messages, err := j.run(ctx, j.policies[i].assignment, &w.Case)
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

// answerTests runs the tests of packs that are not trusted, or lints one. A test that
// does not even parse is the author's to know, with its place.
func (s *Set) answerTests(ctx context.Context, r testsRequest, answer *sandbox.Answer) (err error) {
	run := policy.TestRun{Filter: r.Filter, Skip: r.Skip, Parallel: 1, Deadline: s.deadline(), ThirdParty: true, Begin: func(test policy.TestResult) {
		_ = answer.Give(authored{Begun: &test})
		answer.Doing(test.Name)
	}}
	var a authored
	if r.Lint != "" {
		a.Problems, err = s.Set.Lint(ctx, r.Lint, run)
	} else {
		a.Tests, a.Coverage, err = s.Set.RunTests(ctx, run)
	}
	if err != nil && !errors.As(err, &a.Broken) {
		return err
	}
	return answer.Give(a)
}
