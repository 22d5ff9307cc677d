package policy

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"patrol/engine/enginetest"
)

func TestTestRunner(t *testing.T) {
	t.Parallel()
	files := enginetest.TokenPolicy("", "deny contains \"x\" if input.token.used\n\ndeny contains \"y\" if input.token.expired")
	files["token/rule_test.rego"] = `package patrol.token.rule_test

import data.patrol.token.rule

test_fires if rule.deny == {"x"} with input as {"token": {"used": true}}

test_wrong if {
	print("here")
	rule.deny == {"x"} with input as {"token": {"used": false}}
}

test_fails_to_run if 1 / (count(rule.deny) * 0) == 1

todo_test_later if false
`
	set := load(t, files)
	results, coverage, err := set.RunTests(t.Context(), TestRun{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]TestOutcome{}
	for _, r := range results {
		got[strings.TrimPrefix(r.Name, "patrol.token.rule_test.")] = r.Outcome
	}
	enginetest.Equal(t, got, map[string]TestOutcome{"test_fires": TestPassed, "test_wrong": TestFailed, "test_fails_to_run": TestErrored, "todo_test_later": TestSkipped})
	if i := slices.IndexFunc(results, func(r TestResult) bool { return r.Outcome == TestFailed }); results[i].Output != "here\n" || results[i].File != "pack/token/rule_test.rego" || results[i].Line != 7 {
		t.Errorf("got %+v", results[i])
	}
	if len(coverage) != 1 || coverage[0].File != "pack/token/rule.rego" || !slices.Equal(coverage[0].Missed, []int{12}) {
		t.Errorf("coverage %+v", coverage)
	}
	some, _, err := set.RunTests(t.Context(), TestRun{Filter: "test_fires"})
	if err != nil || len(some) != 1 {
		t.Errorf("filter: %v %v", some, err)
	}
	if _, _, err := set.RunTests(t.Context(), TestRun{Filter: "("}); err == nil {
		t.Error("no error for a filter that is no regular expression")
	}
	broken := maps.Clone(files)
	broken["token/rule_test.rego"] = "package patrol.token.rule_test\n\ntest_net if http.send({})\n"
	_, _, err = load(t, broken).RunTests(t.Context(), TestRun{})
	wantProblem(t, asProblems(t, err), Problem{"pack/token/rule_test.rego", 3, reasonSandbox, "http.send"})
}
