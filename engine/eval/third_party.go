package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// request is what a sandbox is asked. One of the last five fields counts.
type request struct {
	Packs    []policy.PackText `json:",omitempty"` // with the first request of a process
	Deadline time.Duration
	Job      *Job     `json:",omitempty"` // with the first Judge of a workspace, and with Explain
	Policies []string `json:",omitempty"` // with Job: ids of those that will judge

	Judge   *wireJudge  `json:",omitempty"`
	Waiver  *wireWaiver `json:",omitempty"`
	Tests   *wireTests  `json:",omitempty"`
	Lint    string      `json:",omitempty"` // pack
	Explain *Explained  `json:",omitempty"`
}

// wireJudge is what to judge by which policies: tokens, or the workspace with its secrets.
type wireJudge struct {
	Policies []string
	Tokens   []engine.Subject // by policies over tokens
}

// wireResult is what a policy made of what it was given to judge.
type wireResult struct {
	Policy              string
	Pass, NotApplicable int
	Findings            []wireOutcome
}

// wireOutcome is an outcome of the resource at Index.
type wireOutcome struct {
	Index    int
	Status   engine.Status
	Message  string
	Evidence map[string]any
}

// judgeThirdParty judges by policies in a sandbox. One that ends the sandbox, or
// makes it fall silent, is an error on what was in hand and on all that follows;
// the others go on in a new one.
func (e *evaluation) judgeThirdParty(ctx context.Context, all []*assignment) error {
	killed := map[string]error{} // policy id → how it ended a sandbox
	var process *sandbox.Process // nil: to be started
	defer func() {
		if process != nil {
			process.Stop()
		}
	}()
	remaining := func(of []*assignment, done map[string]bool) []*assignment {
		return slices.DeleteFunc(slices.Clone(of), func(a *assignment) bool { return killed[a.ID] != nil || done[a.ID] })
	}

	// ask has targets judged by as many of the pending policies as a sandbox
	// survives, and notes those that are done.
	ask := func(pending []*assignment, on []target, tokens []engine.Subject, done map[string]bool) error {
		r := request{Judge: &wireJudge{Policies: idsOf(pending), Tokens: tokens}, Deadline: e.options.Deadline}
		waited := false
		if process == nil {
			r.Job, r.Policies = &e.job, idsOf(remaining(all, nil))
			process = e.set.waiting.Take()
			waited = process != nil
		}
		if process == nil {
			r.Packs = e.set.Texts(false)
			var err error
			if process, err = sandbox.Start(e.options.Sandbox); err != nil {
				return err
			}
		}
		err := process.Ask(ctx, e.options.Deadline, r, func(text json.RawMessage) error {
			var result wireResult
			if err := sandbox.Decode(text, &result); err != nil {
				return notAddingUp("")
			}
			i := slices.IndexFunc(pending, func(a *assignment) bool { return a.ID == result.Policy && !done[a.ID] })
			if i < 0 || !result.addsUp(len(on)) {
				return notAddingUp(result.Policy)
			}
			add(e.tallies[result.Policy], engine.Pass, result.Pass)
			add(e.tallies[result.Policy], engine.NotApplicable, result.NotApplicable)
			for _, f := range result.Findings {
				if err := e.report(e.view.finding(pending[i], on[f.Index], f.outcome())); err != nil {
					return err
				}
			}
			done[result.Policy] = true
			return nil
		})
		var end *sandbox.End
		switch {
		case err == nil && len(remaining(pending, done)) == 0:
			return nil
		case err == nil:
			end = notAddingUp("")
		case !errors.As(err, &end):
			return err
		}
		process.Stop()
		process = nil
		if waited && end.Doing == "" && !end.Said {
			return nil // it ended while it waited: the next one tries again
		}
		if i := slices.IndexFunc(pending, func(a *assignment) bool { return a.ID == end.Doing && !done[a.ID] }); i >= 0 {
			killed[end.Doing] = end
			return nil
		}
		for _, a := range remaining(pending, done) { // nothing tells them apart, and a sandbox must not be started for ever
			killed[a.ID] = end
		}
		return nil
	}

	// judge gives every target one result by each policy.
	judge := func(by []*assignment, on []target, tokens []engine.Subject) error {
		done := map[string]bool{}
		for pending := remaining(by, done); len(pending) > 0; pending = remaining(by, done) {
			if err := ask(pending, on, tokens, done); err != nil {
				return err
			}
		}
		for _, a := range by {
			why := killed[a.ID]
			if why == nil || done[a.ID] {
				continue
			}
			for i, target := range on {
				if tokens != nil && !judges(a.Judges, tokens[i].Facts.Expired) {
					add(e.tallies[a.ID], engine.NotApplicable, 1)
					continue
				}
				if err := e.report(e.view.finding(a, target, failure(why))); err != nil {
					return err
				}
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
		if err := judge([]*assignment{a}, on, nil); err != nil {
			return err
		}
	}
	if len(forTokens) > 0 {
		if e.job.Tokens == nil {
			return errNoRows
		}
		var tokens []engine.Subject
		var on []target
		for token, err := range e.job.Tokens(fieldsRead(forTokens)&peerFields() != 0) {
			if err != nil {
				return err
			}
			token.Token.Raw = nil // no policy sees it
			tokens, on = append(tokens, token), append(on, ofToken(token))
			if len(tokens) < batchSize {
				continue
			}
			if err := judge(forTokens, on, tokens); err != nil {
				return err
			}
			tokens, on = tokens[:0], on[:0]
		}
		if len(tokens) > 0 {
			if err := judge(forTokens, on, tokens); err != nil {
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
func (r *wireResult) addsUp(n int) bool {
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

func idsOf(assignments []*assignment) []string {
	ids := make([]string, len(assignments))
	for i, a := range assignments {
		ids[i] = a.ID
	}
	return ids
}

// outcome gives numbers the types that an evaluation in process gives.
func (w wireOutcome) outcome() outcome {
	evidence, _ := exactNumbers(w.Evidence).(map[string]any)
	return outcome{status: w.Status, message: w.Message, evidence: evidence}
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

// wireWaiver is a waiver to be judged by one policy.
type wireWaiver struct {
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

// askSandbox has a third-party policy judge a waiver. One that ends the sandbox
// is asked no more.
func (j *WaiverJudge) askSandbox(ctx context.Context, id string, c *WaiverCase) (_ []string, err error) {
	if why := j.killed[id]; why != nil {
		return nil, why
	}
	w := wireWaiver{Policy: id, AsOf: j.asOf, Tuning: j.tuning[id], Case: *c}
	if c.Finding != nil {
		finding := *c.Finding
		finding.Evidence, finding.Message = nil, "" // no policy sees these
		w.Case.Finding, w.OwnerID = &finding, finding.OwnerID
	}
	r := request{Waiver: &w, Deadline: j.set.deadline()}
	if j.process == nil {
		r.Packs = j.set.Texts(false)
		if j.process, err = sandbox.Start(j.set.options.Sandbox); err != nil {
			return nil, err
		}
	}
	verdict := waiverVerdict{Failed: "the sandbox gave no answer"}
	err = j.process.Ask(ctx, r.Deadline, r, func(text json.RawMessage) error {
		verdict = waiverVerdict{}
		return sandbox.Decode(text, &verdict)
	})
	var end *sandbox.End
	if errors.As(err, &end) {
		j.killed[id] = end
	}
	if err != nil {
		j.Close()
		return nil, err
	}
	if verdict.Failed != "" {
		return nil, errors.New(verdict.Failed)
	}
	return verdict.Messages, nil
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
	process, err := sandbox.Start(command)
	if err != nil {
		return err
	}
	defer process.Stop()
	err = process.Ask(ctx, defaultDeadline, request{Packs: texts}, func(json.RawMessage) error { return nil })
	var end *sandbox.End
	if !errors.As(err, &end) || end.Said {
		return ctx.Err()
	}
	return &engine.Error{
		Class: engine.ClassUsage, Reason: "policy", Op: "load policies of", Target: engine.FewWords(names, len(names)),
		Hint: "Loading must end within 30 s and 1 GiB of memory: leave the packs out one by one to find the one that does not.",
		Err:  err,
	}
}

// askTask asks a sandbox of its own for what authors do with policies: tests can take
// all time and memory as policies can.
func (s *Set) askTask(ctx context.Context, r request, take func(json.RawMessage) error) error {
	process, err := sandbox.Start(s.options.Sandbox)
	if err != nil {
		return err
	}
	defer process.Stop()
	r.Packs, r.Deadline = s.Texts(true), s.deadline()
	return process.Ask(ctx, s.deadline(), r, take)
}

// wireTests is which tests to run: those of packs that are not trusted whose full
// name matches Filter, without those of the names in Skip.
type wireTests struct {
	Filter string
	Skip   []string
}

// authored is what came of tests and of linting.
type authored struct {
	Begun    *policy.TestResult    `json:",omitempty"` // alone: this test runs now
	Tests    []policy.TestResult   `json:",omitempty"`
	Coverage []policy.TestCoverage `json:",omitempty"`
	Problems policy.Problems       `json:",omitempty"` // that linting found
	Broken   policy.Problems       `json:",omitempty"` // these kept tests from being read
}

// taskError is the end of a sandbox as an error for whoever gave the packs.
func taskError(op string, err error) error {
	var end *sandbox.End
	if !errors.As(err, &end) {
		return err
	}
	return &engine.Error{Class: engine.ClassUsage, Reason: "policy", Op: op, Target: end.Doing, Err: errors.New(end.Why),
		Hint: "Policies of --policy and their tests run in a process of its own, with 5 s for each and 1 GiB of memory in all."}
}

// testsInSandbox runs tests in a sandbox. One that ends it is an error of that
// test; the others run anew without it.
func (s *Set) testsInSandbox(ctx context.Context, filter string) ([]policy.TestResult, []policy.TestCoverage, error) {
	var killers []policy.TestResult
	tests := &wireTests{Filter: filter}
	for {
		var begun policy.TestResult
		results, coverage := slices.Clone(killers), []policy.TestCoverage(nil)
		err := s.askTask(ctx, request{Tests: tests}, func(text json.RawMessage) error {
			var part authored
			if err := sandbox.Decode(text, &part); err != nil {
				return fmt.Errorf("read answer of sandbox: %w", err)
			}
			if part.Begun != nil {
				begun = *part.Begun
			}
			results, coverage = append(results, part.Tests...), append(coverage, part.Coverage...)
			return part.Broken.Err()
		})
		var end *sandbox.End
		switch {
		case err == nil:
			policy.SortTests(results)
			return results, coverage, nil
		case !errors.As(err, &end) || end.Doing == "" || end.Doing != begun.Name || slices.Contains(tests.Skip, begun.Name):
			return nil, nil, taskError("run policy tests", err)
		}
		tests.Skip = append(tests.Skip, begun.Name)
		begun.Outcome, begun.Message = policy.TestErrored, end.Why
		killers = append(killers, begun)
	}
}

func (s *Set) lintInSandbox(ctx context.Context, pack string) (policy.Problems, error) {
	var problems policy.Problems
	err := s.askTask(ctx, request{Lint: pack}, func(text json.RawMessage) error {
		var part authored
		if err := sandbox.Decode(text, &part); err != nil {
			return fmt.Errorf("read answer of sandbox: %w", err)
		}
		problems = append(problems, part.Problems...)
		return part.Broken.Err()
	})
	return problems, taskError("lint policies", err)
}

// explainInSandbox explains in a sandbox; one that the policy ends explains itself.
func (s *Set) explainInSandbox(ctx context.Context, job Job, id string, on Explained) (e Explanation, err error) {
	err = s.askTask(ctx, request{Job: &job, Policies: []string{id}, Explain: &on}, func(text json.RawMessage) error { return sandbox.Decode(text, &e) })
	var end *sandbox.End
	switch {
	case errors.As(err, &end):
		return Explanation{Status: engine.Errored, Message: end.Why}, nil
	case err == nil && e.Status == "":
		return Explanation{Status: engine.Errored, Message: "the sandbox gave no answer"}, nil
	}
	return e, err
}
