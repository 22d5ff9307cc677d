package eval

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/policy"
	"patrol/policies"
)

// oddSet is every built-in policy and those that are odd on purpose.
func oddSet(t testing.TB) *Set {
	t.Helper()
	set, err := Load(t.Context(), policy.Pack{Name: "built-in", FS: policies.FS}, policy.Pack{Name: "odd", FS: os.DirFS("testdata/odd")})
	if err != nil {
		t.Fatal(err)
	}
	return set.Select(func(p engine.Policy) bool { return p.Resource == engine.ResourceToken })
}

// awkward is a population with every field present, absent and at thresholds.
func awkward(seed uint64, n int, whole bool) []engine.Subject {
	at := asOf().UnixMilli()
	subjects := enginetest.Subjects(enginetest.Tokens(seed, n, at), enginetest.Principals(), whole, at)
	enginetest.Stand(seed, subjects, at)
	return subjects
}

// With and without the prefilter every result is the same, byte for byte.
func TestPrefilterChangesNoResult(t *testing.T) {
	t.Parallel()
	set := oddSet(t)
	for name, change := range map[string]func(*engine.Snapshot){
		"whole directory": nil,
		"partial directory": func(s *engine.Snapshot) {
			s.Coverage[engine.SectionPrincipals] = engine.Coverage{Status: engine.Partial}
		},
		"other workspace": func(s *engine.Snapshot) {
			s.Workspace.Labels = map[string]string{"env": "dev"}
			s.Documents[engine.SectionSettings] = json.RawMessage(`{"enableTokensConfig":{"value":"true"},"maxTokenLifetimeDays":{"value":""}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			snapshot := covered(change)
			subjects := awkward(enginetest.Seed(t), corpusSize(), snapshot.Coverage[engine.SectionPrincipals].Whole())
			want, wantTallies := evaluate(t, set.With(Options{NoPrefilter: true}), Job{Snapshot: snapshot, Tokens: rows(subjects...)})
			got, gotTallies := evaluate(t, set, Job{Snapshot: snapshot, Tokens: rows(subjects...)})
			enginetest.Equal(t, gotTallies, wantTallies)
			enginetest.Equal(t, bytesOf(t, got), bytesOf(t, want))
			checkVariety(t, set, wantTallies)
		})
	}
}

// corpusSize is few tokens where time is short.
func corpusSize() int {
	if testing.Short() {
		return 100
	}
	return 500
}

func bytesOf(t testing.TB, findings []engine.Finding) string {
	t.Helper()
	var b strings.Builder
	for _, f := range findings {
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	return b.String()
}

// checkVariety: a corpus in which few policies fire proves little.
func checkVariety(t *testing.T, set *Set, tallies map[string]engine.Tally) {
	t.Helper()
	seen := engine.Tally{}
	for _, tally := range tallies {
		for status := range tally {
			seen[status]++
		}
	}
	if n := len(set.Resources); seen[engine.Fail] < n/2 || seen[engine.Pass] < n/2 || seen[engine.Unknown] < n/3 || seen[engine.Errored] < 8 {
		t.Errorf("policies with each status: %v of %d", seen, n)
	}
}

// TestPrefilterReach: a change that silently runs everything on everything is noticed.
func TestPrefilterReach(t *testing.T) {
	t.Parallel()
	set := oddSet(t)
	every := 0
	for _, p := range set.Resources {
		view, err := newWorkspaceView(covered(nil), nil, asOf())
		if err != nil {
			t.Fatal(err)
		}
		a, err := newAssignment(p, policy.Tuning{})
		if err != nil {
			t.Fatal(err)
		}
		j, err := newJudge(t.Context(), Options{}, view, asOf(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := set.filters.prefilter(t.Context(), a, j.input(a)); err != nil {
			every++
			t.Logf("%s %s is run on every token: %v", p.ID, p.File, err)
			if p.Pack == "built-in" {
				t.Errorf("%s is run on every token: %v", p.ID, err)
			}
		}
	}
	if every > len(set.Resources)/5 {
		t.Errorf("%d of %d policies are run on every token", every, len(set.Resources))
	}
}

// A filter is made once for workspaces that are alike in what its policy refers to, and
// anew for one that is not: PAT-003 refers to the limit of the workspace.
func TestFiltersAreSharedByWhatPoliciesReferTo(t *testing.T) {
	t.Parallel()
	set := builtIn(t).Select(func(p engine.Policy) bool { return p.ID == "PAT-003" || p.ID == "PAT-001" })
	set.filters = &filters{known: map[string]madeFilter{}}
	for i, limit := range []string{"30", "30", "60", "30"} {
		snapshot := covered(func(s *engine.Snapshot) {
			s.Workspace.Name = limit + string(rune('a'+i))
			s.Documents[engine.SectionSettings] = json.RawMessage(`{"enableTokensConfig":{"value":"true"},"maxTokenLifetimeDays":{"value":"` + limit + `"}}`)
		})
		_, tallies := evaluate(t, set, Job{Snapshot: snapshot, Tokens: rows(healthy(func(token *engine.Token) {
			token.Created, token.Expires = ptr(asOf().UnixMilli()), ptr(asOf().UnixMilli()+45*engine.Day)
		}))})
		want := map[string]engine.Status{"30": engine.Fail, "60": engine.Pass}[limit]
		if tallies["PAT-003"][want] != 1 {
			t.Errorf("limit %s: %v", limit, tallies)
		}
	}
	if n := len(set.filters.known); n != 3 {
		t.Errorf("%d filters were made, want 3: one of PAT-001, two of PAT-003", n)
	}
}

// BenchmarkManyWorkspaces: what depends on parameters alone is made once.
func BenchmarkManyWorkspaces(b *testing.B) {
	set := builtIn(b)
	for b.Loop() {
		for range 300 {
			if _, err := set.Evaluate(b.Context(), Job{Snapshot: covered(nil), AsOf: asOf(), Tokens: either(population(50))}, func(engine.Finding) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	}
}
