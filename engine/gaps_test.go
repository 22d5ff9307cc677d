package engine

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSharedGaps(t *testing.T) {
	t.Parallel()
	denied := Coverage{Status: Denied, Reason: "permission_denied", Hint: "Sign in as a workspace admin."}
	told := func(detail string) Coverage { c := denied; c.Detail = detail; return c }
	snapshots := []Snapshot{
		{Workspace: Workspace{Name: "a"}, Coverage: map[SectionName]Coverage{SectionPrincipals: told("users of a"), SectionTokens: told("of a"), SectionGrants: {Status: NotInitialised}}},
		{Workspace: Workspace{Name: "b"}, Coverage: map[SectionName]Coverage{SectionTokens: {Status: Complete}}},
		{Workspace: Workspace{Name: "c"}, Coverage: map[SectionName]Coverage{SectionTokens: told("of c"), SectionPrincipals: told("users of c")}},
		{Workspace: Workspace{Name: "d"}, Coverage: map[SectionName]Coverage{SectionTokens: {Status: Denied, Reason: "invalid_token"}}},
	}
	var got []string
	for _, shared := range SharedGaps(snapshots) {
		got = append(got, fmt.Sprintf("%s %s %s %q: %v", shared.Names(), shared.Coverage.Status, shared.Coverage.Reason, shared.Coverage.Detail, shared.Workspaces))
	}
	want := []string{
		`grants not_initialised  "": [a]`,
		`principals, tokens denied permission_denied "of a": [a c]`,
		`tokens denied invalid_token "": [d]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFewWords(t *testing.T) {
	t.Parallel()
	for want, words := range map[string][]string{"": nil, "a": {"a"}, "a, b": {"a", "b"}, "a, b, … and 1 more": {"a", "b", "c"}} {
		if got := FewWords(words, 2); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
