package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"patrol/engine"
)

// TestOutcome says how a Rego test ended.
type TestOutcome string

// The outcomes of tests.
const (
	TestPassed  TestOutcome = "pass"
	TestFailed  TestOutcome = "fail"
	TestSkipped TestOutcome = "skip"  // its name begins with todo_
	TestErrored TestOutcome = "error" // it could not be evaluated
)

// TestResult is one rule test_… of a *_test.rego file.
type TestResult struct {
	Name     string // patrol.token.lifetime_test.test_fires
	File     string // pack and path
	Line     int
	Outcome  TestOutcome
	Message  string // what went wrong
	Output   string // what the test printed
	Duration time.Duration
}

// TestCoverage is what the tests ran of one file that is no test.
type TestCoverage struct {
	File    string
	Percent float64
	Missed  []int // lines that no test ran
}

// TestRun says which tests are run, and how. Its zero value runs all, as many at once
// as there are processors, each for at most 5 s.
type TestRun struct {
	Filter     string // a regular expression that their full names match
	Parallel   int
	Deadline   time.Duration
	ThirdParty bool             // only those of packs that are not trusted
	Skip       []string         // full names of tests that are left out
	Begin      func(TestResult) // is told the name and place of each test as it begins; nil: nobody wants to know
}

// Check refuses a filter that is no regular expression.
func (run TestRun) Check() error {
	if _, err := regexp.Compile(run.Filter); err != nil {
		return engine.UsageError("run policy tests", run.Filter, "Give a regular expression that matches the names of tests.", err)
	}
	return nil
}

// RunTests runs the Rego tests of the packs loaded. They may call what policies may
// call, except that print prints and input is what the test makes of it.
// Results are sorted by file and line, coverage by file.
func (s *Set) RunTests(ctx context.Context, run TestRun) ([]TestResult, []TestCoverage, error) {
	if err := run.Check(); err != nil {
		return nil, nil, err
	}
	coverage := cover.New()
	results, modules, err := s.runTests(ctx, run, &testTrace{begin: run.Begin, also: coverage})
	if err != nil {
		return nil, nil, err
	}
	report := coverage.Report(modules)
	var covered []TestCoverage
	for _, name := range slices.Sorted(maps.Keys(report.Files)) {
		if strings.HasSuffix(name, "_test.rego") {
			continue
		}
		file := report.Files[name]
		c := TestCoverage{File: name, Percent: file.Coverage}
		for _, missed := range file.NotCovered {
			for line := missed.Start.Row; line <= missed.End.Row; line++ {
				c.Missed = append(c.Missed, line)
			}
		}
		c.Missed = slices.Compact(c.Missed)
		covered = append(covered, c)
	}
	return results, covered, nil
}

// runTests parses the tests, which Load leaves alone (a broken test must not stop an
// audit), and runs them with all modules.
func (s *Set) runTests(ctx context.Context, run TestRun, trace *testTrace) ([]TestResult, map[string]*ast.Module, error) {
	var problems Problems
	tests := sources{}
	for _, file := range s.sources.of(testSource) {
		fresh := *file
		tests.files = append(tests.files, &fresh)
	}
	tests.parse(testSource, &problems)
	if err := problems.Err(); err != nil {
		return nil, nil, err
	}
	modules := map[string]*ast.Module{}
	for _, file := range slices.Concat(s.sources.files, tests.files) {
		if file.module != nil {
			modules[file.place()] = file.module
		}
	}
	for _, file := range tests.files {
		for _, rule := range file.module.Rules {
			if isTest(rule) && (run.ThirdParty && file.trusted || slices.Contains(run.Skip, testName(rule))) {
				// Without it, strict mode would find its imports unused: it becomes a rule as any other.
				rule.Head.Name = "dropped_" + rule.Head.Name
				rule.Head.Reference[0] = ast.VarTerm(string(rule.Head.Name))
			}
		}
	}
	store := inmem.New()
	txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return nil, nil, fmt.Errorf("run policy tests: %w", err)
	}
	defer store.Abort(ctx, txn)
	runner := tester.NewRunner().
		SetCompiler(newCompiler().WithEnablePrintStatements(true)).
		SetStore(store).SetModules(modules).Filter(run.Filter).
		RaiseBuiltinErrors(true).CapturePrintOutput(true).
		SetTimeout(cmp.Or(run.Deadline, 5*time.Second)).
		SetCoverageRuns(nil).SetCoverageQueryTracer(trace).SetParallel(run.Parallel)
	found, err := runner.RunTests(ctx, txn)
	if err != nil {
		problems.addOPA("", err)
		return nil, nil, problems.Err()
	}
	var results []TestResult
	for r := range found {
		if r == nil { // a rule that is no test, or that the filter leaves out
			continue
		}
		t := TestResult{
			Name: strings.TrimPrefix(r.Package, "data.") + "." + r.Name, File: r.Location.File, Line: r.Location.Row,
			Outcome: TestPassed, Output: string(r.Output), Duration: r.Duration,
		}
		switch {
		case r.Skip:
			t.Outcome = TestSkipped
		case r.Error != nil:
			t.Outcome, t.Message = TestErrored, r.Error.Error()
		case r.Fail && r.FailedAt == nil:
			t.Outcome, t.Message = TestFailed, "the test is not true"
		case r.Fail:
			t.Outcome, t.Message = TestFailed, fmt.Sprintf("line %d: %s", r.FailedAt.Location.Row, r.FailedAt)
		}
		results = append(results, t)
	}
	trace.end()
	for i, result := range results {
		if result.Outcome != TestFailed {
			continue
		}
		denied := &testTrace{messages: true}
		again, err := runner.Filter(regexp.QuoteMeta(result.Name)+"$").SetParallel(1).SetCoverageQueryTracer(denied).RunTests(ctx, txn)
		if err != nil {
			continue // the failure stands without it
		}
		for range again {
		}
		slices.Sort(denied.denied)
		results[i].Message += fmt.Sprintf("; deny was {%s}", strings.Join(slices.Compact(denied.denied), ", "))
	}
	SortTests(results)
	return results, modules, ctx.Err()
}

// testTrace is a tracer that notes what tests do, and hands events on. Where it is to
// know which test runs, they must run one after the other.
type testTrace struct {
	begin    func(TestResult)       // is told of each test as it begins; nil: nobody wants to know
	also     topdown.QueryTracer    // nil: none
	seen     map[string]observation // by the package that tests are about; nil: nobody wants to know
	messages bool                   // note what deny held
	test     *ast.Rule              // that runs now
	denied   []string               // what deny held of the policy that it is about
}

// observation is what the tests of one policy were seen to do.
type observation struct{ fires, silent bool }

func (*testTrace) Enabled() bool { return true }
func (t *testTrace) Config() topdown.TraceConfig {
	return topdown.TraceConfig{PlugLocalVars: t.messages}
}

func (t *testTrace) TraceEvent(event topdown.Event) {
	if t.also != nil {
		defer t.also.TraceEvent(event)
	}
	rule, ok := event.Node.(*ast.Rule)
	if !ok || rule.Module == nil || t.begin == nil && t.seen == nil && !t.messages {
		return
	}
	switch {
	case event.Op == topdown.EnterOp && isTest(rule):
		t.end()
		t.test, t.denied = rule, nil
		if t.begin != nil {
			t.begin(TestResult{Name: testName(rule), File: rule.Location.File, Line: rule.Location.Row})
		}
	case event.Op == topdown.ExitOp && t.test != nil && rule.Head.Name == DenyVar && t.subject() == packageOf(rule):
		denied := ast.Value(ast.Null{})
		if rule.Head.Key != nil {
			denied = rule.Head.Key.Value
		}
		if event.Locals != nil {
			if bound := event.Locals.Get(denied); bound != nil {
				denied = bound
			}
		}
		t.denied = append(t.denied, denied.String())
	}
}

// end books what the test just run has shown.
func (t *testTrace) end() {
	if t.test != nil && t.seen != nil {
		seen := t.seen[t.subject()]
		seen.fires, seen.silent = seen.fires || len(t.denied) > 0, seen.silent || len(t.denied) == 0
		t.seen[t.subject()] = seen
	}
	t.test = nil
}

// subject is the package that the test is about: a test package is named after it.
func (t *testTrace) subject() string { return strings.TrimSuffix(packageOf(t.test), "_test") }

func packageOf(rule *ast.Rule) string {
	return strings.TrimPrefix(rule.Module.Package.Path.String(), "data.")
}

func testName(rule *ast.Rule) string { return packageOf(rule) + "." + rule.Head.Ref().String() }

func isTest(rule *ast.Rule) bool { return strings.HasPrefix(rule.Head.Name.String(), "test_") }

// SortTests sorts by file, line and name.
func SortTests(results []TestResult) {
	slices.SortFunc(results, func(a, b TestResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
}
