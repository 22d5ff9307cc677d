package plan

import (
	"cmp"
	"slices"

	"patrol/engine"
	"patrol/engine/remedy"
)

// narrow keeps the steps of the choice, and what fits of them. What is left for
// the next plan is told.
func (b *builder) narrow() {
	type target struct{ workspace, token string }
	gone := map[target]string{} // what was left or not chosen, and why
	drop := func(s engine.Step, why string) {
		gone[target{s.WorkspaceID, s.Target}] = why
		for _, policy := range s.Policies {
			if why != "" {
				b.notPlanned = append(b.notPlanned, engine.NotPlanned{Policy: policy, WorkspaceID: s.WorkspaceID, ResourceID: s.Target, Reason: "left", Detail: why})
			}
		}
	}
	choice, limits := b.in.Choice, b.in.Config.Limits
	b.steps = slices.DeleteFunc(b.steps, func(s engine.Step) bool {
		chosen := choice.Step == nil || choice.Step(s)
		if !chosen {
			drop(s, "")
		}
		return !chosen
	})
	if choice.Most > 0 || choice.WithinLimits {
		slices.SortFunc(b.steps, riskiestFirst)
	}
	populations := map[string]engine.PlanWorkspace{}
	for _, w := range b.order {
		populations[w.Snapshot.Workspace.ID] = engine.PlanWorkspace{ID: w.Snapshot.Workspace.ID, Tokens: w.Snapshot.Tokens}
	}
	taken, steps, endangered, recent := 0, 0, 0, 0
	within := map[string][]engine.Step{} // by workspace
	b.steps = slices.DeleteFunc(b.steps, func(s engine.Step) bool {
		if choice.Most > 0 && taken == choice.Most {
			drop(s, "left for the next plan by --limit")
			return true
		}
		if choice.WithinLimits {
			n, e, r := remedy.Weight(s)
			there := append(slices.Clip(within[s.WorkspaceID]), s)
			over := remedy.Exceeds(engine.Plan{Limits: limits, Workspaces: []engine.PlanWorkspace{populations[s.WorkspaceID]}, Steps: there}, remedy.Every)
			switch {
			case endangered+e > limits.MaxEndangered && e > 0:
				over = append(over, remedy.Excess{Limit: "max_endangered"})
			case steps+n > limits.MaxSteps && n > 0:
				over = append(over, remedy.Excess{Limit: "max_steps"})
			case recent+r > limits.MaxRecentlyUsed && r > 0:
				over = append(over, remedy.Excess{Limit: "max_recently_used"})
			}
			if len(over) > 0 {
				drop(s, "left for the next plan by "+over[0].Limit)
				return true
			}
			steps, endangered, recent, within[s.WorkspaceID] = steps+n, endangered+e, recent+r, there
		}
		taken++
		return false
	})
	kept := b.notPlanned[:0]
	for _, n := range b.notPlanned {
		why, dropped := gone[target{n.WorkspaceID, n.ResourceID}]
		switch {
		case n.Reason != "superseded" || !dropped:
		case why == "":
			continue
		default: // by a step that is left itself
			n.Reason, n.Detail = "left", why
		}
		kept = append(kept, n)
	}
	b.notPlanned = kept
}

// riskiestFirst orders by what the findings tell of a token, then by how little
// the step could break.
func riskiestFirst(a, b engine.Step) int {
	return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(len(b.Policies), len(a.Policies)), compareSteps(a, b))
}
