package policy

import (
	"testing"
	"time"

	"patrol/policies"
)

// TestBuiltInPack loads the policies that ship with patrol.
func TestBuiltInPack(t *testing.T) {
	start := time.Now()
	set, err := Load(t.Context(), Pack{Name: "built-in", FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d policies in %v", len(set.Policies()), time.Since(start))
	for _, p := range set.Policies() {
		t.Log(p.ID, p.Severity, p.Needs, p.Judges, len(p.Params))
	}
}

// TestBuiltInRegoTests runs the Rego tests that stand beside the policies.
func TestBuiltInRegoTests(t *testing.T) {
	t.Parallel()
	set, err := Load(t.Context(), Pack{Name: "built-in", FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	results, coverage, err := set.RunTests(t.Context(), TestRun{})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) == 0 {
		t.Fatal("no tests ran")
	}
	for _, r := range results {
		if r.Outcome != TestPassed {
			t.Errorf("%s:%d: %s: %s: %s%s", r.File, r.Line, r.Name, r.Outcome, r.Message, r.Output)
		}
	}
	for _, c := range coverage {
		if c.Percent < 100 {
			t.Errorf("%s: tests run %.0f %%, not lines %v", c.File, c.Percent, c.Missed)
		}
	}
	t.Logf("%d tests", len(results))
}
