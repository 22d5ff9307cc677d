package eval

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/topdown"

	"patrol/engine"
)

// A task is what authors do with policies: run their tests, lint them, ask why
// one came to its result. Where packs did not come with patrol, a sandbox of its
// own does it, for a test can take all time and memory as a policy can.

// wireTask is one task. One of its fields counts.
type wireTask struct {
	Tests   *wireTests
	Lint    string // pack
	Explain *wireExplain
}

// wireTests is which tests to run: those of packs that are not trusted whose full
// name matches Filter, without those of the names in Skip.
type wireTests struct {
	Filter string
	Skip   []string
}

// wireExplain is what to explain: a token, a secret, or the workspace.
type wireExplain struct {
	Job    *wireJob // with the one policy
	Token  *engine.Subject
	Secret *engine.Secret
}

// wireTaskDone is what came of a task. Problems is also what kept tests from
// being read: Broken says so.
type wireTaskDone struct {
	Results     []TestResult
	Coverage    []TestCoverage
	Problems    Problems
	Broken      bool
	Explanation Explanation
}

// apartFromHere reports whether a sandbox has to run what authors do.
func (s *Set) apartFromHere() bool {
	return s.options.Sandbox != nil && slices.ContainsFunc(s.sources.files, func(f *source) bool { return !f.trusted })
}

// delegate has a task done by a sandbox. The error is a *taskEnd when that did
// not live to see the end of it.
func (s *Set) delegate(ctx context.Context, task wireTask) (*wireTaskDone, error) {
	c, err := startChild(s.options.Sandbox(), s.deadline())
	if err != nil {
		return nil, err
	}
	defer c.kill()
	c.tellIt(request{Packs: s.sources.wiredWhere(func(*source) bool { return true }), Deadline: s.deadline(), Task: &task})
	patience, inHand := loadDeadline, reply{}
	for {
		said, err := c.next(ctx, patience, inHand.Begun)
		var end *sandboxEnd
		switch {
		case errors.As(err, &end):
			return nil, &taskEnd{*end, inHand}
		case err != nil:
			return nil, err
		case said.Failed != "":
			return nil, &taskEnd{sandboxEnd{why: said.Failed}, inHand}
		case said.Task != nil && said.Task.Broken:
			return nil, said.Task.Problems.err()
		case said.Task != nil:
			return said.Task, nil
		case said.Begun != "":
			patience, inHand = c.silence, said
		}
	}
}

// taskEnd is why the sandbox of a task ended, and what it had in hand.
type taskEnd struct {
	sandboxEnd

	inHand reply
}

// usage is the end as an error for whoever gave the packs.
func (e *taskEnd) usage(op string) error {
	target := e.inHand.Begun
	return &engine.Error{Class: engine.ClassUsage, Reason: "policy", Op: op, Target: target, Err: errors.New(e.why),
		Hint: "Policies of --policy and their tests run in a process of its own, with 5 s for each and 1 GiB of memory in all."}
}

// testsApart runs tests in a sandbox. One that ends it is an error of that test;
// the others run anew without it.
func (s *Set) testsApart(ctx context.Context, filter string) ([]TestResult, []TestCoverage, error) {
	var ended []TestResult
	tests := &wireTests{Filter: filter}
	for {
		done, err := s.delegate(ctx, wireTask{Tests: tests})
		var end *taskEnd
		switch {
		case err == nil:
			results := append(done.Results, ended...)
			sortTests(results)
			return results, done.Coverage, nil
		case !errors.As(err, &end):
			return nil, nil, err
		case end.inHand.Begun == "" || slices.Contains(tests.Skip, end.inHand.Begun):
			return nil, nil, end.usage("run policy tests")
		}
		tests.Skip = append(tests.Skip, end.inHand.Begun)
		ended = append(ended, TestResult{Name: end.inHand.Begun, File: end.inHand.File, Line: end.inHand.Line, Outcome: TestErrored, Message: end.why})
	}
}

func (s *Set) lintApart(ctx context.Context, pack string) (Problems, error) {
	done, err := s.delegate(ctx, wireTask{Lint: pack})
	var end *taskEnd
	if errors.As(err, &end) {
		return nil, end.usage("lint policies")
	}
	if err != nil {
		return nil, err
	}
	return done.Problems, nil
}

// explainApart explains in a sandbox; one that the policy ends explains itself.
func (s *Set) explainApart(ctx context.Context, job Job, id string, token *engine.Subject, secret *engine.Secret) (Explanation, error) {
	done, err := s.delegate(ctx, wireTask{Explain: &wireExplain{Job: job.wired([]string{id}), Token: token, Secret: secret}})
	var end *taskEnd
	if errors.As(err, &end) {
		return Explanation{Status: engine.Errored, Message: end.why}, nil
	}
	if err != nil {
		return Explanation{}, err
	}
	return done.Explanation, nil
}

// serveTask does a task and answers. A test that does not even parse is the
// author's to know, with its place.
func (s *Set) serveTask(ctx context.Context, task *wireTask, v *voice) error {
	done, err := s.do(ctx, task, v)
	var problems Problems
	if errors.As(err, &problems) {
		done, err = &wireTaskDone{Problems: problems, Broken: true}, nil
	}
	if err != nil {
		return err
	}
	return v.say(reply{Task: done})
}

func (s *Set) do(ctx context.Context, task *wireTask, v *voice) (done *wireTaskDone, err error) {
	done = &wireTaskDone{}
	switch {
	case task.Tests != nil:
		r := testRun{filter: task.Tests.Filter, parallel: 1, begin: beginTest(v), keep: func(file *source, name string) bool {
			return !file.trusted && !slices.Contains(task.Tests.Skip, name)
		}}
		done.Results, done.Coverage, err = s.runTests(ctx, r)
	case task.Explain != nil:
		job := task.Explain.Job
		if err := v.say(reply{Begun: job.Policies[0]}); err != nil {
			return nil, err
		}
		if task.Explain.Secret != nil {
			done.Explanation, err = s.ExplainSecret(ctx, job.job(), job.Policies[0], *task.Explain.Secret)
		} else {
			done.Explanation, err = s.Explain(ctx, job.job(), job.Policies[0], task.Explain.Token)
		}
	default:
		done.Problems, err = s.lint(ctx, task.Lint, testRun{parallel: 1, begin: beginTest(v), keep: func(file *source, _ string) bool { return !file.trusted }})
	}
	return done, err
}

// beginTest says which test is in hand, and gives it CPU time of its own.
func beginTest(v *voice) func(*ast.Rule) {
	return func(rule *ast.Rule) {
		_ = boundCPU(2 * loadDeadline)
		_ = v.say(reply{Begun: testName(rule), File: rule.Location.File, Line: rule.Location.Row})
	}
}

func testName(rule *ast.Rule) string { return packageOf(rule) + "." + rule.Head.Ref().String() }

// testRun is how tests are run. Its zero value runs all, as many at once as
// there are processors.
type testRun struct {
	filter   string
	parallel int
	keep     func(file *source, name string) bool // nil: all
	begin    func(*ast.Rule)                      // nil: nobody wants to know
	tracer   topdown.QueryTracer
}

// drop makes the tests that are not to be run rules as any other: without them,
// strict mode would find their imports unused.
func (r testRun) drop(file *source) {
	if r.keep == nil {
		return
	}
	for _, rule := range file.module.Rules {
		if isTest(rule) && !r.keep(file, testName(rule)) {
			rule.Head.Name = "dropped_" + rule.Head.Name
			rule.Head.Reference[0] = ast.VarTerm(string(rule.Head.Name))
		}
	}
}

func isTest(rule *ast.Rule) bool { return strings.HasPrefix(rule.Head.Name.String(), "test_") }

// watched is a tracer that tells of each test as it begins.
type watched struct {
	topdown.QueryTracer

	begin func(*ast.Rule)
}

func (r testRun) watch(tracer topdown.QueryTracer) topdown.QueryTracer {
	if r.begin == nil {
		return tracer
	}
	return watched{tracer, r.begin}
}

func (w watched) TraceEvent(event topdown.Event) {
	if rule, ok := event.Node.(*ast.Rule); ok && event.Op == topdown.EnterOp && rule.Module != nil && isTest(rule) {
		w.begin(rule)
	}
	w.QueryTracer.TraceEvent(event)
}

// runTests is RunTests in this process.
func (s *Set) runTests(ctx context.Context, r testRun) ([]TestResult, []TestCoverage, error) {
	modules, err := s.testModules(r)
	if err != nil {
		return nil, nil, err
	}
	coverage := cover.New()
	r.tracer = r.watch(coverage)
	results, err := s.runModules(ctx, modules, r)
	if err != nil {
		return nil, nil, err
	}
	return results, s.coverageOf(coverage.Report(modules)), nil
}
