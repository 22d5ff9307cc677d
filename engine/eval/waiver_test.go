package eval

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/policy"
	"patrol/policies"
)

func granted() engine.WaiverRule {
	return engine.WaiverRule{
		ID: "W-1", Policies: []string{"PAT-016"}, Workspace: "prod-*", Token: "aa*", Reason: "Partner connector cannot use OAuth before Q2.",
		Ticket: "OPS-1234", Approver: "lead@example.com", Created: engine.DateOf(asOf()), Expires: engine.DateOf(asOf()) + 92,
	}
}

func waivable() engine.Finding {
	return engine.Finding{
		Policy: "PAT-016", Severity: engine.Medium, Status: engine.Fail, Workspace: "prod", WorkspaceID: "1000",
		Resource: engine.ResourceToken, ResourceID: strings.Repeat("a", 64), Owner: "ann@example.com", OwnerID: "7000000000000000001",
	}
}

func caseOf(w engine.WaiverRule, f engine.Finding) WaiverCase {
	return WaiverCase{Waiver: w, Policy: f.Policy, Severity: f.Severity, Finding: &f}
}

func builtin(t testing.TB) *Set {
	t.Helper()
	set, err := Load(t.Context(), policy.Pack{Name: "built-in", FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func waiverJudge(t testing.TB, set *Set, tuning map[string]policy.Tuning) *WaiverJudge {
	t.Helper()
	j, err := set.WaiverJudge(t.Context(), asOf(), tuning)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestBuiltinWaiverPolicies(t *testing.T) {
	t.Parallel()
	set := builtin(t)
	for name, c := range map[string]struct {
		waiver  func(*engine.WaiverRule)
		finding func(*engine.Finding)
		tuning  map[string]policy.Tuning
		want    []engine.WaiverRefusal
	}{
		"allowed":       {},
		"term at limit": {waiver: func(w *engine.WaiverRule) { w.Expires = w.Created + 180 }},
		"term too long": {
			waiver: func(w *engine.WaiverRule) { w.Expires = w.Created + 181 },
			want:   []engine.WaiverRefusal{{Policy: "WV-001", Message: "granted for 181 days, limit 180"}},
		},
		"term tuned": {
			tuning: map[string]policy.Tuning{"WV-001": {Params: map[string]any{"max_term_days": 30}}},
			want:   []engine.WaiverRefusal{{Policy: "WV-001", Message: "granted for 92 days, limit 30"}},
		},
		"critical": {
			finding: func(f *engine.Finding) { f.Severity = engine.Critical },
			want:    []engine.WaiverRefusal{{Policy: "WV-002", Message: "PAT-016 is critical: it may not be waived"}},
		},
		"critical, switched off": {
			finding: func(f *engine.Finding) { f.Severity = engine.Critical },
			tuning:  map[string]policy.Tuning{"WV-002": {Disabled: true}},
		},
		"approved by the owner": {
			finding: func(f *engine.Finding) { f.Owner = "Lead@example.com" },
			want:    []engine.WaiverRefusal{{Policy: "WV-003", Message: "approved by lead@example.com, who owns the token"}},
		},
		"owner without a name": {
			finding: func(f *engine.Finding) { f.Owner = f.OwnerID },
			tuning:  map[string]policy.Tuning{"WV-003": {Params: map[string]any{"refuse_unknown_owner": true}}},
			want:    []engine.WaiverRefusal{{Policy: "WV-003", Message: "the owner of the token is not known by name"}},
		},
		"short and without ticket": {
			waiver: func(w *engine.WaiverRule) { w.Reason, w.Ticket = "legacy", "" },
			tuning: map[string]policy.Tuning{"WV-005": {Params: map[string]any{"pattern": "OPS-[0-9]+"}}},
			want: []engine.WaiverRefusal{
				{Policy: "WV-004", Message: "reason of 6 characters, want at least 15"},
				{Policy: "WV-005", Message: `ticket "" does not match OPS-[0-9]+`},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, f := granted(), waivable()
			if c.waiver != nil {
				c.waiver(&w)
			}
			if c.finding != nil {
				c.finding(&f)
			}
			j := waiverJudge(t, set, c.tuning)
			enginetest.Equal(t, j.Judge(t.Context(), caseOf(w, f)), c.want)
			enginetest.Equal(t, j.Judge(t.Context(), caseOf(w, f)), c.want) // the same from memory
		})
	}
}

// TestWaiverAlone: without a finding the policies that ask for one are left out.
func TestWaiverAlone(t *testing.T) {
	t.Parallel()
	w := granted()
	w.Expires = w.Created + 400
	got := waiverJudge(t, builtin(t), nil).Judge(t.Context(), WaiverCase{Waiver: w, Policy: "PAT-016", Severity: engine.Critical})
	enginetest.Equal(t, got, []engine.WaiverRefusal{
		{Policy: "WV-001", Message: "granted for 400 days, limit 180"},
		{Policy: "WV-002", Message: "PAT-016 is critical: it may not be waived"},
	})
}

func waiverPack(custom, body string) map[string]string {
	return map[string]string{"waiver/rule.rego": enginetest.PolicyText("waiver", "rule", "V-1", custom, body)}
}

// TestWaiverVerdictsAreKept: a verdict is used again exactly where nothing
// changed that the policy reads.
func TestWaiverVerdictsAreKept(t *testing.T) {
	t.Parallel()
	set := load(t, waiverPack("", `deny contains sprintf("%s in %s", [input.finding.owner, input.finding.workspace]) if input.waiver.id != ""`))
	j := waiverJudge(t, set, nil)
	for _, change := range []func(*engine.Finding){
		func(*engine.Finding) {},
		func(f *engine.Finding) { f.Owner = "bob@example.com" },
		func(f *engine.Finding) { f.Workspace = "dev" },
		func(f *engine.Finding) { f.ResourceID = "b" },
	} {
		f := waivable()
		change(&f)
		enginetest.Equal(t, j.Judge(t.Context(), caseOf(granted(), f)), []engine.WaiverRefusal{{Policy: "V-1", Message: f.Owner + " in " + f.Workspace}})
	}
	if kept := len(j.policies[0].verdicts); kept != 3 {
		t.Errorf("%d verdicts kept, want 3: the token is not read", kept)
	}
	whole := load(t, waiverPack("", `deny contains input.finding.resource_id if input.waiver.id != ""`))
	j = waiverJudge(t, whole, nil)
	j.Judge(t.Context(), caseOf(granted(), waivable()))
	if kept := len(j.policies[0].verdicts); kept != 0 {
		t.Errorf("%d verdicts kept by token: as many as findings", kept)
	}
}

func TestWaiverPolicyFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ body, want string }{
		"builtin error": {`deny contains "x" if to_number(input.waiver.reason) > 1`, "could not be judged: "},
		"no set":        {`deny := true`, "could not be judged: deny is no set"},
		"endless": {`deny contains "x" if {
	some a in numbers.range(1, 100000)
	some b in numbers.range(1, 100000)
	a + b == 0
}`, "could not be judged: evaluation did not end within 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			set := load(t, waiverPack("", c.body)).With(Options{Deadline: 300 * time.Millisecond})
			got := waiverJudge(t, set, nil).Judge(t.Context(), caseOf(granted(), waivable()))
			if len(got) != 1 || got[0].Policy != "V-1" || !strings.HasPrefix(got[0].Message, c.want) {
				t.Errorf("got %+v, want %q", got, c.want)
			}
		})
	}
}

func TestWaiverApplicable(t *testing.T) {
	t.Parallel()
	set := load(t, waiverPack("", "applicable if input.finding.workspace == \"prod\"\n\ndeny contains \"no\" if input.waiver.id != \"\""))
	j := waiverJudge(t, set, nil)
	elsewhere := waivable()
	elsewhere.Workspace = "dev"
	if got := j.Judge(t.Context(), caseOf(granted(), elsewhere)); got != nil {
		t.Errorf("got %v where the policy does not apply", got)
	}
	if got := j.Judge(t.Context(), caseOf(granted(), waivable())); len(got) != 1 {
		t.Errorf("got %v where it applies", got)
	}
}

func TestWaiverInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	j := waiverJudge(t, builtin(t), nil)
	cancel()
	if got := j.Judge(ctx, caseOf(granted(), waivable())); len(got) == 0 {
		t.Error("a waiver counted that nobody judged")
	}
	if got := j.Judge(t.Context(), caseOf(granted(), waivable())); len(got) != 0 {
		t.Errorf("the interrupt was kept as a verdict: %v", got)
	}
}

// TestWaiverPoliciesApart: they judge no resource, whatever is selected, and
// are tuned like the others.
func TestWaiverPoliciesApart(t *testing.T) {
	t.Parallel()
	files := enginetest.TokenPolicy("", `deny contains "x" if input.token.used`)
	files["waiver/rule.rego"] = waiverPack("", `deny contains "x" if input.waiver.id != ""`)["waiver/rule.rego"]
	set := load(t, files)
	if len(set.Policies()) != 1 || len(set.WaiverPolicies()) != 1 {
		t.Fatalf("%d and %d", len(set.Policies()), len(set.WaiverPolicies()))
	}
	none := set.Select(func(engine.Policy) bool { return false })
	if len(none.WaiverPolicies()) != 1 {
		t.Error("a selection switched a policy over waivers off")
	}
	_, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(healthy(nil)), Tuning: map[string]policy.Tuning{"V-1": {Disabled: true}}})
	enginetest.Equal(t, tallies, map[string]engine.Tally{"T-1": {engine.Fail: 1}})
	if err := set.CheckTuning(map[string]policy.Tuning{"V-1": {Params: map[string]any{"x": 1}}}); err == nil {
		t.Error("a parameter that the policy has not was accepted")
	}
}

func TestWaiverPolicyProblems(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files  map[string]string
		reason string
		text   string
	}{
		"misspelt field": {waiverPack("", `deny contains "x" if input.waiver.raeson == ""`), "policy_type", "undefined ref"},
		"a token":        {waiverPack("", `deny contains "x" if input.token.used`), "policy_type", "undefined ref"},
		"needs":          {waiverPack("needs: [tokens]", `deny contains "x" if input.waiver.id == ""`), "policy_metadata", "reads no section"},
		"a result's id":  {map[string]string{"token/a.rego": enginetest.PolicyText("token", "a", "V-1", "", `deny contains "x" if input.token.used`), "waiver/b.rego": waiverPack("", `deny contains "x" if input.waiver.id == ""`)["waiver/rule.rego"]}, "policy_duplicate_id", "already that of"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := problemsOf(t, c.files)
			if len(problems) != 1 || problems[0].Reason != c.reason || !strings.Contains(problems[0].Message, c.text) {
				t.Errorf("%v", problems)
			}
		})
	}
}

// BenchmarkWaiverJudge: what a verdict costs that is known, and one that is not.
func BenchmarkWaiverJudge(b *testing.B) {
	set := builtin(b)
	b.Run("known", func(b *testing.B) {
		j := waiverJudge(b, set, nil)
		for b.Loop() {
			j.Judge(b.Context(), caseOf(granted(), waivable()))
		}
	})
	b.Run("new owner", func(b *testing.B) {
		j := waiverJudge(b, set, nil)
		f := waivable()
		for i := 0; b.Loop(); i++ {
			f.Owner = fmt.Sprint(i, "@example.com")
			j.Judge(b.Context(), caseOf(granted(), f))
		}
	})
}
