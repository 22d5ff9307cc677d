package engine_test

import (
	"slices"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"

	"pgregory.net/rapid"
)

func TestScopeModifiers(t *testing.T) {
	t.Parallel()
	for scope, writes := range map[string]bool{
		"sql": true, "all-apis": true, "sql:read": false, "sql:restricted-query": false, "sql:read:restricted-query": false, "sql:unheard-of": true,
	} {
		if engine.ScopeWrites(scope) != writes {
			t.Errorf("%s writes: %v", scope, !writes)
		}
	}
	for _, test := range []struct{ from, want []string }{
		{[]string{"sql:read", "sql"}, []string{"sql"}},
		{[]string{"sql", "all-apis", "jobs:read"}, []string{"all-apis"}},
		{[]string{"sql:read", "sql:read:restricted-query", "sql:restricted-query"}, []string{"sql:read:restricted-query"}},
		{[]string{"jobs", "sql:read", "jobs"}, []string{"jobs", "sql:read"}},
		{[]string{"all-apis:read", "sql"}, []string{"all-apis:read", "sql"}},
	} {
		if got := engine.LeastScopes(test.from); !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.from, got, test.want)
		}
	}
}

// TestCallsAreMappedOnce, to one scope each.
func TestCallsAreMappedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	engine.CallScopes(func(call engine.Call, scope string) {
		if seen[call.String()] {
			t.Errorf("%s stands twice", call)
		}
		seen[call.String()] = true
	})
	if len(seen) < 80 {
		t.Errorf("%d calls", len(seen))
	}
	if _, known := engine.ScopeOf(engine.Call{Service: "notebook", Action: "runCommand"}); known {
		t.Error("a call that is not documented has a scope")
	}
}

// TestProposedScopesCoverWhatWasSeen: whatever a token was used for, no call that
// was seen to work needs a scope that the proposal lacks; and of what nobody can
// tell it says so.
func TestProposedScopesCoverWhatWasSeen(t *testing.T) {
	var known []engine.Call
	engine.CallScopes(func(call engine.Call, _ string) { known = append(known, call) })
	known = append(known, engine.Call{Service: "notebook", Action: "runCommand"}, engine.Call{Service: "x", Action: "y"})
	scopes := rapid.SliceOfN(rapid.SampledFrom([]string{"sql", "sql:read", "jobs", "unity-catalog", "unity-catalog:read", "clusters:read", "all-apis", "authentication"}), 0, 4)
	enginetest.Check(t, func(t *rapid.T) {
		token := engine.Token{Scopes: scopes.Draw(t, "scopes"), InferredScopes: scopes.Draw(t, "inferred"), BackfillScopes: scopes.Draw(t, "backfilled")}
		activity := engine.Activity{Events: 1, Detail: &engine.ActivityDetail{MoreCalls: rapid.Int64Range(0, 1).Draw(t, "more") * rapid.Int64Range(0, 1).Draw(t, "some")}}
		for _, call := range rapid.SliceOfNDistinct(rapid.SampledFrom(known), 0, 6, engine.Call.String).Draw(t, "calls") {
			call.Events = rapid.Int64Range(1, 3).Draw(t, "events")
			call.Refused = rapid.Int64Range(0, call.Events).Draw(t, "refused")
			activity.Detail.Calls = append(activity.Detail.Calls, call)
		}
		need := engine.NeedOf(&token, &activity)
		for _, call := range activity.Detail.Calls {
			scope, mapped := engine.ScopeOf(call)
			switch works := call.Refused < call.Events; {
			case works && !mapped && !slices.Contains(need.Unknown, call.String()):
				t.Fatalf("%s is not said to be unknown: %+v", call, need)
			case works && mapped && scope != "" && !engine.ScopesCover(need.Scopes, scope):
				t.Fatalf("%s takes %s, proposed are %v", call, scope, need.Scopes)
			}
		}
		for _, scope := range slices.Concat(token.InferredScopes, token.BackfillScopes) {
			if !engine.ScopesCover(need.Scopes, scope) {
				t.Fatalf("the platform saw %s, proposed are %v", scope, need.Scopes)
			}
		}
		reading := engine.ReadOnlyScopes(&token, &activity)
		if reading == nil {
			return
		}
		if slices.ContainsFunc(reading, engine.ScopeWrites) || len(need.Unknown) > 0 {
			t.Fatalf("%v may write; unknown are %v", reading, need.Unknown)
		}
		if fails := engine.RefusedCalls(reading, &activity); len(fails) > 0 {
			t.Fatalf("%v would be refused with %v", fails, reading)
		}
	})
}

func TestScopesCover(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		wanted string
		held   []string
		covers bool
	}{
		{"sql:read", []string{"sql"}, true},
		{"sql", []string{"sql:read"}, false},
		{"sql:read", []string{"sql:read:restricted-query"}, true},
		{"sql:restricted-query", []string{"sql:read:restricted-query"}, true},
		{"sql:restricted-query", []string{"sql:read"}, false},
		{"sql:read:restricted-query", []string{"sql:read"}, false},
		{"authentication:read", []string{"all-apis"}, true},
		{"authentication:read", []string{"scim:read", "authentication:read"}, true},
		{"authentication:read", []string{"auth", "authenticationx"}, false},
		{"authentication:read", nil, false},
	} {
		if got := engine.ScopesCover(test.held, test.wanted); got != test.covers {
			t.Errorf("%v cover %s: got %v", test.held, test.wanted, got)
		}
	}
}
