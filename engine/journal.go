package engine

import (
	"encoding/json"
	"time"
)

// StateForPeople is the state of an approved step that patrol does not carry
// out itself: a notice or a task for somebody.
const StateForPeople StepState = "for_people"

// Registration is a plan with its approval as a journal takes it in.
type Registration struct {
	SHA      string   // of Bytes
	Bytes    []byte   // the plan file as it was approved
	Approval []byte   // the approval file
	By       []string // who approved
	Steps    []Step   // approved ones; those that are known already stay as they are
	Host     string   // of this process
	PID      int
}

// Entry is where a step stands.
type Entry struct {
	Plan      string          `json:"plan_sha256"`
	Step      string          `json:"step"`
	Workspace string          `json:"workspace_id"`
	Action    Action          `json:"action"`
	Target    string          `json:"target"`
	State     StepState       `json:"state"`
	Reason    string          `json:"reason"`
	Detail    string          `json:"detail"`
	Attempt   int             `json:"attempt"` // requests that may have been sent
	Epoch     int64           `json:"epoch"`   // of the run that wrote it
	HTTP      int             `json:"http"`
	Request   string          `json:"request_id"`
	Before    string          `json:"before"`          // fingerprint seen before the request
	After     string          `json:"after"`           // fingerprint seen after it
	Prior     json.RawMessage `json:"prior,omitempty"` // what an undo restores
	At        int64           `json:"at"`              // ms
}

// Note is an event of a run that belongs to no single step.
type Note struct {
	Plan      string
	Workspace string
	Kind      NoteKind
	Detail    json.RawMessage
	At        int64 // ms
}

// NoteKind is what a note tells.
type NoteKind string

// The kinds of notes.
const (
	NoteReconciled NoteKind = "reconciled" // the list at the end of a run was compared with the journal
	NoteStopped    NoteKind = "stopped"    // a run ended before its time
)

// Reconciliation compares the list of tokens at the end of a run with what the
// journal says and what was there at the beginning.
type Reconciliation struct {
	StillListed []string `json:"still_listed"` // revoked, and yet listed
	ThirdParty  []string `json:"third_party"`  // vanished during the run, by somebody else
	Listed      int      `json:"listed"`
}

// JournalEvent is one line of the journal's history. Hash chains it to all
// lines before.
type JournalEvent struct {
	Seq       int64           `json:"seq"`
	Plan      string          `json:"plan_sha256"`
	Step      string          `json:"step"` // "" for an event of a run
	Workspace string          `json:"workspace_id"`
	From      string          `json:"from"`
	To        string          `json:"to"`
	Epoch     int64           `json:"epoch"`
	At        int64           `json:"at"`
	Detail    json.RawMessage `json:"detail"`
	Previous  string          `json:"prev_hash"`
	Hash      string          `json:"hash"`
}

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
