package eval

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
)

// What a third-party policy says of one resource is bounded: its message and
// evidence in length, its evidence in depth.
const (
	maxText  = 64 << 10
	maxDepth = 16
)

// request is what a sandbox is asked. It keeps packs, job and tokens until it is given
// others. Of the last five fields one counts; a request without any is to load the packs.
type request struct {
	Packs    []policy.PackText `json:",omitempty"`
	Deadline time.Duration
	Job      *Job             `json:",omitempty"`
	Tokens   []engine.Subject `json:",omitempty"`

	Policy  string          `json:",omitempty"` // to judge by: the tokens, or the workspace or its secrets
	Waiver  *waiverRequest  `json:",omitempty"`
	Explain *explainRequest `json:",omitempty"`
	Tests   *testsRequest   `json:",omitempty"`
}

// result is what a policy made of what it was given to judge.
type result struct {
	Policy              string
	Pass, NotApplicable int
	Findings            []foundAt
}

// foundAt is the outcome on the resource at Index.
type foundAt struct {
	Index    int
	Status   engine.Status
	Message  string
	Evidence map[string]any
}

// waiverRequest is a waiver to be judged by one policy.
type waiverRequest struct {
	Policy  string
	AsOf    time.Time
	Tuning  policy.Tuning // of the policy
	Case    WaiverCase
	OwnerID string // of the finding, which JSON leaves out
}

// waiverVerdict is what a policy has against a waiver, or why it could not be judged.
type waiverVerdict struct {
	Messages []string
	Failed   string
}

// explainRequest is a resource of the job to be explained by one policy.
type explainRequest struct {
	Policy string
	On     Explained
}

// testsRequest is which tests to run: those of packs that are not trusted whose full
// name matches Filter, without those of the names in Skip. With Lint, the name of a
// pack, that is linted instead.
type testsRequest struct {
	Filter string
	Skip   []string
	Lint   string
}

// authored is what came of tests or of linting.
type authored struct {
	Begun    *policy.TestResult    `json:",omitempty"` // alone: this test runs now
	Tests    []policy.TestResult   `json:",omitempty"`
	Coverage []policy.TestCoverage `json:",omitempty"`
	Problems policy.Problems       `json:",omitempty"` // that linting found
	Broken   policy.Problems       `json:",omitempty"` // these kept tests from being read
}

// ask asks a sandbox, which is started where there is none. After an error there is
// none: the next request has to say again which job and which tokens it is about.
func (s *Set) ask(ctx context.Context, process **sandbox.Process, r request, take func(json.RawMessage) error) (err error) {
	r.Deadline = s.deadline()
	if *process == nil {
		if r.Packs == nil {
			r.Packs = s.Texts(r.Tests != nil)
		}
		if *process, err = sandbox.Start(s.options.Sandbox); err != nil {
			return err
		}
	}
	if err = (*process).Ask(ctx, r.Deadline, r, take); err != nil {
		drop(process)
	}
	return err
}

// askOnce asks a sandbox for this request alone.
func (s *Set) askOnce(ctx context.Context, r request, take func(json.RawMessage) error) error {
	var process *sandbox.Process
	defer drop(&process)
	return s.ask(ctx, &process, r, take)
}

func drop(process **sandbox.Process) {
	if *process != nil {
		(*process).Stop()
		*process = nil
	}
}

// judgeThirdParty judges by policies in a sandbox. One that ends the sandbox, or
// makes it fall silent, is an error on what was in hand and on all that follows;
// the others go on in a new one.
func (e *evaluation) judgeThirdParty(ctx context.Context, all []*assignment) error {
	killed := map[string]error{} // policy id → how it ended a sandbox
	var process *sandbox.Process // nil: to be started
	defer drop(&process)
	hasTokens := false // the sandbox has been given the tokens in hand

	// judge gives every target one result by a policy.
	judge := func(a *assignment, on []target, tokens []engine.Subject) error {
		var judged *result
		for judged == nil && killed[a.ID] == nil {
			r, waited := request{Policy: a.ID}, false
			if process == nil {
				process = e.set.waiting.Take()
				r.Job, waited, hasTokens = &e.job, process != nil, false
			}
			if !hasTokens {
				r.Tokens, hasTokens = tokens, true
			}
			err := e.set.ask(ctx, &process, r, func(text json.RawMessage) error {
				judged = &result{}
				if err := sandbox.Decode(text, judged); err != nil || judged.Policy != a.ID || !judged.addsUp(len(on)) {
					return notAddingUp(a.ID)
				}
				return nil
			})
			if err == nil && judged == nil {
				drop(&process)
				err = notAddingUp(a.ID)
			}
			var end *sandbox.End
			switch {
			case err == nil:
				continue
			case !errors.As(err, &end):
				return err
			}
			judged = nil
			switch {
			case waited && end.Doing == "" && !end.Said: // it ended while it waited: a new one tries again
			case end.Doing == a.ID:
				killed[a.ID] = end
			default: // nothing tells them apart, and a sandbox must not be started for ever
				for _, each := range all {
					killed[each.ID] = end
				}
			}
		}
		if why := killed[a.ID]; why != nil {
			for i, target := range on {
				if tokens != nil && !judges(a.Judges, tokens[i].Facts.Expired) {
					add(e.tallies[a.ID], engine.NotApplicable, 1)
					continue
				}
				if err := e.report(e.view.finding(a, target, failure(why))); err != nil {
					return err
				}
			}
			return nil
		}
		add(e.tallies[a.ID], engine.Pass, judged.Pass)
		add(e.tallies[a.ID], engine.NotApplicable, judged.NotApplicable)
		for _, f := range judged.Findings {
			if err := e.report(e.view.finding(a, on[f.Index], f.outcome())); err != nil {
				return err
			}
		}
		return nil
	}

	var forTokens []*assignment
	for _, a := range all {
		on := []target{e.view.itself()}
		switch a.Resource {
		case engine.ResourceToken:
			forTokens = append(forTokens, a)
			continue
		case engine.ResourceSecret:
			on = nil
			for _, secret := range e.view.secrets {
				on = append(on, ofSecret(secret))
			}
		}
		if err := judge(a, on, nil); err != nil {
			return err
		}
	}
	if len(forTokens) > 0 {
		if e.job.Tokens == nil {
			return errNoRows
		}
		var tokens []engine.Subject
		var on []target
		judgeBatch := func() error {
			hasTokens = false
			for _, a := range forTokens {
				if err := judge(a, on, tokens); err != nil {
					return err
				}
			}
			tokens, on = tokens[:0], on[:0]
			return nil
		}
		for token, err := range e.job.Tokens(fieldsRead(forTokens)&peerFields() != 0) {
			if err != nil {
				return err
			}
			token.Token.Raw = nil // no policy sees it
			tokens, on = append(tokens, token), append(on, ofToken(token))
			if len(tokens) == batchSize {
				if err := judgeBatch(); err != nil {
					return err
				}
			}
		}
		if len(tokens) > 0 {
			if err := judgeBatch(); err != nil {
				return err
			}
		}
	}
	if process != nil {
		e.set.waiting.Put(process)
		process = nil
	}
	return nil
}

func notAddingUp(policy string) *sandbox.End {
	return &sandbox.End{Doing: policy, Why: "the sandbox gave results that do not add up"}
}

// addsUp reports whether a result has one outcome for each of n targets.
func (r *result) addsUp(n int) bool {
	if r.Pass < 0 || r.NotApplicable < 0 || r.Pass+r.NotApplicable+len(r.Findings) != n {
		return false
	}
	last := -1
	for _, f := range r.Findings {
		if f.Index <= last || f.Index >= n || f.Status != engine.Fail && f.Status != engine.Unknown && f.Status != engine.Errored {
			return false
		}
		last = f.Index
	}
	return true
}

// outcome gives numbers the types that an evaluation in process gives.
func (f foundAt) outcome() outcome {
	evidence, _ := exactNumbers(f.Evidence).(map[string]any)
	return outcome{status: f.Status, message: f.Message, evidence: evidence}
}

func exactNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, element := range v {
			v[key] = exactNumbers(element)
		}
	case []any:
		for i, element := range v {
			v[i] = exactNumbers(element)
		}
	case json.Number:
		if number, err := policy.ExactNumber(v); err == nil {
			return number
		}
	}
	return value
}

// Keep makes a set whose sandboxes wait for the next job. Whoever keeps must stop.
func (s *Set) Keep() (kept *Set, stop func()) {
	changed := *s
	changed.waiting = &sandbox.Pool{}
	return &changed, changed.waiting.Close
}

// askSandbox has a third-party policy judge a waiver. One that ends the sandbox
// is asked no more.
func (j *WaiverJudge) askSandbox(ctx context.Context, id string, c *WaiverCase) ([]string, error) {
	if why := j.killed[id]; why != nil {
		return nil, why
	}
	w := waiverRequest{Policy: id, AsOf: j.asOf, Tuning: j.tuning[id], Case: *c}
	if c.Finding != nil {
		finding := *c.Finding
		finding.Evidence, finding.Message = nil, "" // no policy sees these
		w.Case.Finding, w.OwnerID = &finding, finding.OwnerID
	}
	verdict := waiverVerdict{Failed: "the sandbox gave no answer"}
	err := j.set.ask(ctx, &j.process, request{Waiver: &w}, func(text json.RawMessage) error {
		verdict = waiverVerdict{}
		return sandbox.Decode(text, &verdict)
	})
	var end *sandbox.End
	switch {
	case errors.As(err, &end):
		j.killed[id] = end
	case err == nil && verdict.Failed != "":
		err = errors.New(verdict.Failed)
	}
	return verdict.Messages, err
}

// TryLoad loads packs in a sandbox first, where one of them is not trusted: a
// pack that cannot be read within the bounds of a sandbox is refused before
// Load reads it here. What else is wrong with packs is for Load to report.
func TryLoad(ctx context.Context, command sandbox.Command, packs ...policy.Pack) error {
	var names []string
	for _, p := range packs {
		if !p.Trusted {
			names = append(names, p.Name)
		}
	}
	if command == nil || len(names) == 0 {
		return nil
	}
	texts, err := policy.ReadTexts(packs)
	if err != nil {
		return nil // Load reports it, with what else is wrong
	}
	set := &Set{options: Options{Sandbox: command}}
	err = set.askOnce(ctx, request{Packs: texts}, func(json.RawMessage) error { return nil })
	var end *sandbox.End
	switch {
	case errors.As(err, &end) && end.Said:
		return ctx.Err()
	case !errors.As(err, &end):
		return err
	}
	return &engine.Error{
		Class: engine.ClassUsage, Reason: "policy", Op: "load policies of", Target: engine.FewWords(names, len(names)),
		Hint: "Loading must end within 30 s and 1 GiB of memory: leave the packs out one by one to find the one that does not.",
		Err:  err,
	}
}

// askTests has tests run, or a pack linted, in a sandbox of its own: tests can take all
// time and memory as policies can. An end of the sandbox is an *engine.Error for whoever
// gave the packs, and begun the test that was running.
func (s *Set) askTests(ctx context.Context, op string, r testsRequest) (all authored, begun policy.TestResult, err error) {
	err = s.askOnce(ctx, request{Tests: &r}, func(text json.RawMessage) error {
		var part authored
		if err := sandbox.Decode(text, &part); err != nil {
			return &sandbox.End{Why: "the sandbox gave an answer that cannot be read"}
		}
		if part.Begun != nil {
			begun = *part.Begun
			return nil
		}
		all = part
		return part.Broken.Err()
	})
	var end *sandbox.End
	if errors.As(err, &end) {
		if end.Doing != begun.Name {
			begun = policy.TestResult{}
		}
		begun.Outcome, begun.Message = policy.TestErrored, end.Why
		err = &engine.Error{Class: engine.ClassUsage, Reason: "policy", Op: op, Target: end.Doing, Err: end,
			Hint: "Policies of --policy and their tests run in a process of its own, with 5 s for each and 1 GiB of memory in all."}
	}
	return all, begun, err
}

// testsInSandbox runs tests in a sandbox. One that ends it is an error of that
// test; the others run anew without it.
func (s *Set) testsInSandbox(ctx context.Context, filter string) ([]policy.TestResult, []policy.TestCoverage, error) {
	var killers []policy.TestResult
	r := testsRequest{Filter: filter}
	for {
		done, begun, err := s.askTests(ctx, "run policy tests", r)
		var end *sandbox.End
		switch {
		case err == nil:
			results := append(killers, done.Tests...)
			policy.SortTests(results)
			return results, done.Coverage, nil
		case !errors.As(err, &end) || begun.Name == "" || slices.Contains(r.Skip, begun.Name):
			return nil, nil, err
		}
		r.Skip, killers = append(r.Skip, begun.Name), append(killers, begun)
	}
}

// explainInSandbox explains in a sandbox; one that the policy ends explains itself.
func (s *Set) explainInSandbox(ctx context.Context, job Job, id string, on Explained) (e Explanation, err error) {
	r := request{Job: &job, Explain: &explainRequest{Policy: id, On: on}}
	err = s.askOnce(ctx, r, func(text json.RawMessage) error { return sandbox.Decode(text, &e) })
	var end *sandbox.End
	switch {
	case errors.As(err, &end):
		return Explanation{Status: engine.Errored, Message: end.Why}, nil
	case err == nil && e.Status == "":
		return Explanation{Status: engine.Errored, Message: "the sandbox gave no answer"}, nil
	}
	return e, err
}
