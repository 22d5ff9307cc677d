package engine

import "time"

// OutcomeSchema is the version of the outcome file.
const OutcomeSchema = 1

// RequestLimit is how long a request of apply lasts at most: after that, one
// of which no answer came can no longer take effect on its way.
const RequestLimit = 30 * time.Second

// OutcomeReport is what became of a plan: a pure function of the plan and the
// journal, so that it can be made again at any time, byte for byte.
type OutcomeReport struct {
	Schema     int                `json:"schema"`
	PlanID     string             `json:"plan_id"`
	PlanSHA    string             `json:"plan_sha256"`
	Finished   bool               `json:"finished"`    // every approved step has ended
	Carried    bool               `json:"carried_out"` // and all of them as they should
	Stopped    string             `json:"stopped"`     // why the last run ended before its time; "" when it did not
	Counts     map[StepState]int  `json:"counts"`
	Workspaces []OutcomeWorkspace `json:"workspaces"`
	Outcomes   []Outcome          `json:"outcomes"` // in the order of the plan
}

// OutcomeWorkspace is what is told of a workspace as a whole.
type OutcomeWorkspace struct {
	ID          string   `json:"workspace_id"`
	Name        string   `json:"name"`
	Host        string   `json:"host"`
	Epoch       int64    `json:"epoch"`        // of the last run that wrote
	StillListed []string `json:"still_listed"` // revoked, and yet in the list at the end
	ThirdParty  []string `json:"third_party"`  // vanished during runs, by somebody else
}

// CarriedOut reports whether a step in this state came to its purpose.
func (s StepState) CarriedOut() bool {
	switch s {
	case StateDone, StateGoneBefore, StateGoneAfterIntent, StateForPeople:
		return true
	}
	return false
}
