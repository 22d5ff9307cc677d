package apply

import (
	"cmp"
	"slices"

	"patrol/engine"
	"patrol/engine/remedy"
)

// approved are the approved steps in the order of the plan.
func (r *run) approved() []engine.Step {
	var steps []engine.Step
	for _, step := range r.job.Plan.Steps {
		if r.job.Approval.Steps[step.ID] {
			steps = append(steps, step)
		}
	}
	return steps
}

func (r *run) approvedIn(workspace string) []engine.Step {
	return slices.DeleteFunc(r.approved(), func(s engine.Step) bool { return s.WorkspaceID != workspace })
}

// steps are those that this run is about: the approved ones, and those that
// the journal knows although their approval was withdrawn since.
func (r *run) steps() []engine.Step {
	var steps []engine.Step
	for _, step := range r.job.Plan.Steps {
		if _, known := r.entries[step.ID]; known || r.job.Approval.Steps[step.ID] {
			steps = append(steps, step)
		}
	}
	return steps
}

// changingOf are the steps that send something.
func changingOf(steps []engine.Step) []engine.Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s engine.Step) bool { return !remedy.Changes(s) })
}

// involved are the workspaces in which something is left to do.
func (r *run) involved() []engine.PlanWorkspace {
	var found []engine.PlanWorkspace
	for _, w := range r.job.Plan.Workspaces {
		if len(r.openIn(w.ID)) > 0 {
			found = append(found, w)
		}
	}
	return found
}

// openIn are the steps of a workspace that have not ended, in the order in
// which they are carried out: the plan's, but our own tokens after all others,
// and switching tokens off last of all.
func (r *run) openIn(workspace string) []engine.Step {
	var open []engine.Step
	for _, step := range r.steps() {
		entry, known := r.entries[step.ID]
		if step.WorkspaceID == workspace && (!known || !entry.State.Terminal()) {
			open = append(open, step)
		}
	}
	me := r.job.Workspaces[workspace].Caller.ID
	rank := func(s engine.Step) int {
		switch {
		case remedy.DisablesTokens(s):
			return 2
		case remedy.OnToken(s) && me != "" && (s.OwnerID == me || s.Precondition.Identity["created_by_id"] == me):
			return 1
		}
		return 0
	}
	slices.SortStableFunc(open, func(a, b engine.Step) int { return cmp.Compare(rank(a), rank(b)) })
	return open
}
