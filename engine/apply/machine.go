// Package apply carries out the approved steps of a plan, and nothing else.
//
// It is built like a payment system. Gates come before any request that is not
// a GET; then each step goes through a small machine ([afterLook], [afterAct])
// whose every move is on disk in the journal before the next thing happens:
//
//	PENDING --look--> GONE_BEFORE | SKIPPED_DRIFT | SKIPPED_PROTECTED | INTENT
//	INTENT  --act---> ACKED | GONE_AFTER_INTENT | REFUSED | FAILED | UNRESOLVED
//	ACKED   --look--> DONE | UNRESOLVED (after a minute of looking)
//	INTENT, UNRESOLVED, after a crash or a lost answer: look again, which decides
//
// A crash at any point leaves a journal from which a run with Resume goes on.
// The package knows no file, no database and no HTTP: journal, workspaces,
// judge and clock come in through the interfaces of [Job].
package apply

import "patrol/engine"

// sight is what a look at the target of a step says.
type sight string

const (
	sightGone      sight = "gone"      // the target does not exist
	sightReached   sight = "reached"   // the target is as the step wants it
	sightProtected sight = "protected" // nobody may touch it
	sightDrifted   sight = "drifted"   // it is not what was approved, or no longer for the same reason
	sightClear     sight = "clear"     // as it was when the step was approved
)

// afterLook is where a step goes after a look. It stays in intent where the
// request is to be sent (again), and in acked where the effect is not seen yet.
//
// Absence means three things. Before we said that we would act, somebody else
// removed the target. After that it was us or somebody at the same moment: the
// answer was lost, nobody can tell. Only an answer of success that is then seen
// to be true is ours.
func afterLook(from engine.StepState, seen sight, removes bool) engine.StepState {
	switch {
	case seen == sightGone && from == engine.StatePending:
		return engine.StateGoneBefore
	case seen == sightGone && from == engine.StateAcked && removes:
		return engine.StateDone
	case seen == sightGone:
		return engine.StateGoneAfterIntent
	case from == engine.StateAcked && seen == sightReached:
		return engine.StateDone
	case from == engine.StateAcked:
		return engine.StateAcked
	case seen == sightReached && from == engine.StatePending:
		return engine.StateSkippedDrift
	case seen == sightReached:
		return engine.StateDone
	case seen == sightProtected:
		return engine.StateSkippedProtected
	case seen == sightClear:
		return engine.StateIntent
	}
	return engine.StateSkippedDrift
}

// afterAct is where a step goes after its request. fault is "" for success,
// faultGone when the target did not exist any more: that is never our doing.
func afterAct(fault engine.FaultKind) engine.StepState {
	switch fault {
	case "":
		return engine.StateAcked
	case faultGone:
		return engine.StateGoneAfterIntent
	case engine.FaultForbidden:
		return engine.StateRefused
	case engine.FaultEndpoint, engine.FaultRejected:
		return engine.StateFailed
	case engine.FaultBusy, engine.FaultUnauthenticated:
		return engine.StateIntent // it did not happen
	}
	return engine.StateUnresolved
}

const (
	faultGone   engine.FaultKind = "gone"         // the answer that there is nothing to act on
	faultListed engine.FaultKind = "still_listed" // a look and the list contradict each other
)

// stops reports whether an answer ends the run: further requests would meet
// the same, or go to somebody who is not the workspace.
func stops(fault engine.FaultKind) bool {
	return fault == engine.FaultEndpoint || fault == engine.FaultWorkspace || fault == engine.FaultUnauthenticated
}
