package plan_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/plan"
	"patrol/engine/remedy"

	"pgregory.net/rapid"
)

// drawn is a random estate: tokens of several owners, each with random findings.
func drawn(t *rapid.T) *estate {
	e := newEstate()
	e.workspace("2", "dev")
	policies := []string{"PAT-010", "PAT-013", "PAT-021", "PAT-004", "PAT-014", "PAT-009", "PAT-018"}
	for i := range rapid.IntRange(1, 40).Draw(t, "tokens") {
		workspace := rapid.SampledFrom([]string{"1", "2"}).Draw(t, "workspace")
		id := fmt.Sprintf("t%d", i)
		e.token(workspace, id, fmt.Sprint(rapid.IntRange(11, 14).Draw(t, "owner")), rapid.Int64Range(-1, 200).Draw(t, "idle"),
			observed("", rapid.SampledFrom([][]string{nil, {"sql"}, {"jobs", "sql"}}).Draw(t, "observed"), nil))
		for _, policy := range policies {
			if rapid.IntRange(0, 3).Draw(t, policy) == 0 {
				e.fail(policy, workspace, id)
			}
		}
	}
	for _, workspace := range []string{"1", "2"} {
		for _, policy := range []string{"WS-001", "WS-002", "WS-003", "WS-004"} {
			if rapid.Bool().Draw(t, policy) {
				e.fail(policy, workspace, workspace)
			}
		}
	}
	slices.SortStableFunc(e.findings, func(a, b engine.Finding) int { return a.Severity.Rank() - b.Severity.Rank() })
	return e
}

func TestPlansAreDeterministic(t *testing.T) {
	enginetest.Check(t, func(t *rapid.T) {
		e := drawn(t)
		in := e.input()
		first, err := plan.Build(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		// The order in which tokens come must not show.
		e.tokens = rapid.Permutation(e.tokens).Draw(t, "order")
		in.Report.Tokens = each(e.tokens)
		second, err := plan.Build(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(plan.Encode(first), plan.Encode(second)) {
			t.Fatal("the same evaluation gives different bytes")
		}
	})
}

func TestEveryFindingIsPlannedOnceOrTold(t *testing.T) {
	enginetest.Check(t, func(t *rapid.T) {
		e := drawn(t)
		in := e.input()
		in.Config.Protected.Principals = rapid.SampledFrom([][]string{nil, {"11"}, {"12", "13"}}).Draw(t, "protected")
		p, err := plan.Build(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, s := range p.Steps {
			for _, policy := range s.Policies {
				resource := s.Target
				if s.OwnerID == "" {
					resource = s.WorkspaceID
				}
				seen[policy+" "+s.WorkspaceID+" "+resource]++
			}
			if remedy.OnToken(s) && slices.Contains(p.Protected.Principals, s.OwnerID) {
				t.Fatalf("step %s changes a token of protected principal %s", s.ID, s.OwnerID)
			}
		}
		for _, n := range p.NotPlanned {
			seen[n.Policy+" "+n.WorkspaceID+" "+n.ResourceID]++
		}
		for _, f := range e.findings {
			if got := seen[f.Policy+" "+f.WorkspaceID+" "+f.ResourceID]; got != 1 {
				t.Fatalf("finding of %s on %s is told %d times", f.Policy, f.ResourceID, got)
			}
		}
		if len(seen) != len(e.findings) {
			t.Fatalf("%d findings became %d", len(e.findings), len(seen))
		}
	})
}

func TestRiskRisesAndSwitchingOffIsLast(t *testing.T) {
	rank := map[string]int{"low": 0, "medium": 1, "high": 2}
	enginetest.Check(t, func(t *rapid.T) {
		in := drawn(t).input()
		p, err := plan.Build(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		off, highest := false, 0
		for _, s := range p.Steps {
			isOff := s.Target == "enableTokensConfig"
			if off && !isOff {
				t.Fatalf("step %s follows the switching off of tokens", s.ID)
			}
			if !isOff && rank[s.Risk.Level] < highest {
				t.Fatalf("step %s has less risk than one before it", s.ID)
			}
			off, highest = off || isOff, max(highest, rank[s.Risk.Level])
		}
	})
}
