package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNamed: the row names its creator; the owner only where both are known to be
// the same.
func TestNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ owner, creator, want string }{
		{"7", "7", "ann@example.com"}, {"7", "8", ""}, {"", "", ""}, {"7", "", ""},
	} {
		s := Subject{Token: Token{OwnerID: test.owner, CreatorID: test.creator, CreatorName: "ann@example.com"}, Owner: Party{ID: test.owner}, Creator: Party{ID: test.creator}}.Named()
		if s.Owner.Listed != test.want || s.Creator.Listed != "ann@example.com" {
			t.Errorf("owner %q, creator %q: named %q and %q", test.owner, test.creator, s.Owner.Listed, s.Creator.Listed)
		}
	}
}

// TestCoverageWords: of what is implausible nothing is believed; tokens that are
// off are known, though no row of them is.
func TestCoverageWords(t *testing.T) {
	t.Parallel()
	for status, want := range map[CoverageStatus][3]bool{ // usable, complete, covered
		Complete: {true, true, true}, Partial: {true, false, false}, Off: {false, false, true}, Implausible: {}, Denied: {}, NotCollected: {},
	} {
		c := Coverage{Status: status}
		if got := [3]bool{c.Usable(), c.Complete(), c.Covered()}; got != want {
			t.Errorf("%s: usable, complete, covered are %v, want %v", status, got, want)
		}
	}
	s := Snapshot{Coverage: map[SectionName]Coverage{SectionTokens: {Status: Off}, SectionPrincipals: {Status: Implausible}, SectionGrants: {Status: Complete}}}
	if got := s.Incomplete(); !slices.Equal(got, []SectionName{SectionPrincipals}) || !s.Reached() {
		t.Errorf("incomplete are %v, reached is %v", got, s.Reached())
	}
}

// TestNarrowedVerdict: a choice of policies leaves out the sections that none of
// them needs, and no others.
func TestNarrowedVerdict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		partial  SectionName
		narrowed bool
		want     Verdict
	}{{SectionTokens, true, Incomplete}, {SectionGrants, true, Clean}, {SectionGrants, false, Incomplete}} {
		coverage := map[SectionName]Coverage{SectionTokens: {Status: Complete}, test.partial: {Status: Partial}}
		r := Report{
			Narrowed: test.narrowed, Policies: []PolicyReport{{Policy: Policy{ID: "PAT-001", Needs: []string{"tokens"}}}},
			Workspaces: []WorkspaceReport{{Snapshot: Snapshot{Coverage: coverage}}},
		}
		if got := r.Verdict(); got != test.want {
			t.Errorf("%s partial, narrowed %v: %s, want %s", test.partial, test.narrowed, got, test.want)
		}
	}
}

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
