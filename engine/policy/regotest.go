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
	modules, err := s.testModules(run)
	if err != nil {
		return nil, nil, err
	}
	coverage := cover.New()
	results, err := s.runModules(ctx, modules, run, coverage)
	if err != nil {
		return nil, nil, err
	}
	return results, coverageOf(coverage.Report(modules)), nil
}

// testModules parses the tests, which Load leaves alone: a broken test must not
// stop an audit.
func (s *Set) testModules(run TestRun) (map[string]*ast.Module, error) {
	var problems Problems
	tests := sources{}
	for _, file := range s.sources.of(testSource) {
		fresh := *file
		tests.files = append(tests.files, &fresh)
	}
	tests.parse(testSource, &problems)
	if err := problems.Err(); err != nil {
		return nil, err
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
	modules := map[string]*ast.Module{}
	for _, file := range slices.Concat(s.sources.files, tests.files) {
		if file.module != nil {
			modules[file.place()] = file.module
		}
	}
	return modules, nil
}

func (s *Set) runModules(ctx context.Context, modules map[string]*ast.Module, run TestRun, tracer topdown.QueryTracer) ([]TestResult, error) {
	if run.Begin != nil {
		tracer = watched{tracer, run.Begin}
	}
	store := inmem.New()
	txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return nil, fmt.Errorf("run policy tests: %w", err)
	}
	defer store.Abort(ctx, txn)
	runner := tester.NewRunner().
		SetCompiler(newCompiler().WithEnablePrintStatements(true)).
		SetStore(store).SetModules(modules).Filter(run.Filter).
		RaiseBuiltinErrors(true).CapturePrintOutput(true).
		SetTimeout(cmp.Or(run.Deadline, 5*time.Second)).
		SetCoverageRuns(nil).SetCoverageQueryTracer(tracer).SetParallel(run.Parallel)
	found, err := runner.RunTests(ctx, txn)
	if err != nil {
		var problems Problems
		problems.addOPA("", err)
		return nil, problems.Err()
	}
	var results []TestResult
	for result := range found {
		if result != nil { // a rule that is no test, or that the filter leaves out
			results = append(results, testResult(result))
		}
	}
	for i, result := range results {
		if result.Outcome != TestFailed {
			continue
		}
		denied := &deniedTrace{of: strings.TrimSuffix(result.Name[:strings.LastIndexByte(result.Name, '.')], "_test")}
		again, err := runner.Filter(regexp.QuoteMeta(result.Name)+"$").SetParallel(1).SetCoverageQueryTracer(denied).RunTests(ctx, txn)
		if err != nil {
			continue // the failure stands without it
		}
		for range again {
		}
		slices.Sort(denied.messages)
		results[i].Message += fmt.Sprintf("; deny was {%s}", strings.Join(slices.Compact(denied.messages), ", "))
	}
	SortTests(results)
	return results, ctx.Err()
}

// deniedTrace is a tracer that notes what the deny of a package held.
type deniedTrace struct {
	of       string
	messages []string
}

func (*deniedTrace) Enabled() bool               { return true }
func (*deniedTrace) Config() topdown.TraceConfig { return topdown.TraceConfig{PlugLocalVars: true} }

func (t *deniedTrace) TraceEvent(event topdown.Event) {
	rule, ok := event.Node.(*ast.Rule)
	if !ok || event.Op != topdown.ExitOp || rule.Module == nil || rule.Head.Name != DenyVar || rule.Head.Key == nil || packageOf(rule) != t.of {
		return
	}
	value := rule.Head.Key.Value
	if event.Locals != nil {
		if bound := event.Locals.Get(value); bound != nil {
			value = bound
		}
	}
	t.messages = append(t.messages, value.String())
}

// SortTests sorts by file, line and name.
func SortTests(results []TestResult) {
	slices.SortFunc(results, func(a, b TestResult) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name))
	})
}

func testResult(r *tester.Result) TestResult {
	t := TestResult{
		Name: strings.TrimPrefix(r.Package, "data.") + "." + r.Name, File: r.Location.File, Line: r.Location.Row,
		Outcome: TestPassed, Output: string(r.Output), Duration: r.Duration,
	}
	switch {
	case r.Skip:
		t.Outcome = TestSkipped
	case r.Error != nil:
		t.Outcome, t.Message = TestErrored, r.Error.Error()
	case r.Fail:
		t.Outcome, t.Message = TestFailed, failedAt(r)
	}
	return t
}

func failedAt(r *tester.Result) string {
	if r.FailedAt == nil {
		return "the test is not true"
	}
	return fmt.Sprintf("line %d: %s", r.FailedAt.Location.Row, r.FailedAt)
}

func coverageOf(report cover.Report) []TestCoverage {
	var list []TestCoverage
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
		list = append(list, c)
	}
	return list
}

func testName(rule *ast.Rule) string { return packageOf(rule) + "." + rule.Head.Ref().String() }

func isTest(rule *ast.Rule) bool { return strings.HasPrefix(rule.Head.Name.String(), "test_") }

// watched is a tracer that reports each test as it begins.
type watched struct {
	topdown.QueryTracer

	begin func(TestResult)
}

func (w watched) TraceEvent(event topdown.Event) {
	if rule, ok := event.Node.(*ast.Rule); ok && event.Op == topdown.EnterOp && rule.Module != nil && isTest(rule) {
		w.begin(TestResult{Name: testName(rule), File: rule.Location.File, Line: rule.Location.Row})
	}
	w.QueryTracer.TraceEvent(event)
}
