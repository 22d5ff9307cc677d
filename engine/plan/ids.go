package plan

import "patrol/engine"

// StepID is the id of a step, for who makes a plan by hand; see Complete.
func StepID(action engine.Action, workspace, target string) string {
	return stepID(action, workspace, target)
}
