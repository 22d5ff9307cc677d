package plan

import (
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// UndoInput is everything that a plan which undoes another is a function of.
type UndoInput struct {
	Applied engine.Plan
	Entries []engine.Entry // of the journal, about Applied
	Now     time.Time
	Version string // of patrol
	Planner string
	Limits  engine.Limits
}

// Undo turns what was done around, last step first. What cannot be undone stands
// in NotPlanned with the reason.
func Undo(in UndoInput) (engine.Plan, error) {
	known, last := map[string]engine.Entry{}, int64(0) // when the last step came to rest, by the workspace's clock
	for _, entry := range in.Entries {
		known[entry.Step], last = entry, max(last, entry.At)
	}
	due, asOf := in.Now.UTC().Add(-time.Hour).Truncate(time.Second), time.UnixMilli(last).UTC().Truncate(time.Second) // an hour: that clock may be behind ours
	if due.Before(asOf) {
		due = asOf
	}
	made := engine.Plan{
		Schema: engine.PlanSchema, Version: in.Version, Engine: in.Applied.Engine, Policies: engine.PolicyDigest(nil),
		AsOf: asOf.Format(time.RFC3339), NotBefore: due.Format(time.RFC3339), ExpiresAt: due.Add(DefaultValidity).Format(time.RFC3339),
		Planner: in.Planner, Limits: in.Limits, Undoes: in.Applied.ID, OnUse: OnUseSkip, Reevaluates: engine.Retuning{}, Workspaces: []engine.PlanWorkspace{},
		Protected: engine.Protected{Tokens: []string{}, Principals: []string{}}, Steps: []engine.Step{}, NotPlanned: []engine.NotPlanned{},
	}
	for _, step := range slices.Backward(in.Applied.Steps) {
		entry, done := known[step.ID]
		if !done || entry.Attempt == 0 {
			continue
		}
		why := "it was not carried out: " + string(entry.State)
		var identity, expected map[string]any
		if entry.State.CarriedOut() || entry.State == engine.StateUnresolved || entry.State == engine.StateAcked || entry.State == engine.StateIntent {
			identity, expected, why = remedy.Undo(step, entry.Prior)
		}
		if why != "" {
			made.NotPlanned = append(made.NotPlanned, engine.NotPlanned{WorkspaceID: step.WorkspaceID, ResourceID: step.Target, Reason: "cannot_undo", Detail: why})
			continue
		}
		made.Steps = append(made.Steps, engine.Step{
			ID: StepID(step.Action, step.WorkspaceID, step.Target), Action: step.Action, Workspace: step.Workspace, WorkspaceID: step.WorkspaceID, Target: step.Target,
			Policies: []string{}, Severity: engine.Info, Reasons: []string{}, Evidence: map[string]any{"undoes": step.ID, "plan": entry.Plan},
			Risk: engine.Risk{Level: remedy.Medium, Why: "gives back what step " + step.ID + " took"}, NotBefore: made.NotBefore,
			Precondition: engine.Precondition{Identity: identity, Digest: engine.Fingerprint(identity)}, Expected: expected,
		})
	}
	for _, w := range in.Applied.Workspaces {
		if slices.ContainsFunc(made.Steps, func(s engine.Step) bool { return s.WorkspaceID == w.ID }) {
			w.CollectedAt = made.AsOf // what it rests on is the journal
			made.Workspaces = append(made.Workspaces, w)
		}
	}
	return Complete(made)
}
