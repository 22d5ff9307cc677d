package engine_test

import (
	"testing"

	"patrol/engine"
)

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
