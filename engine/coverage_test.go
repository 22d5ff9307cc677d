package engine

import (
	"slices"
	"testing"
)

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
