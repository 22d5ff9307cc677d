package engine

import "time"

// Change is how a result compares with the one of the snapshot before.
type Change string

// The changes, in the order of reports.
const (
	ChangeNew      Change = "new"            // fails, and did not before
	ChangeWorse    Change = "worse"          // fails, and was excused or of a lesser severity before
	ChangeOpen     Change = "open"           // failed before and still does
	ChangeExcused  Change = "excused"        // failed before, is waived or baselined now
	ChangeUnjudged Change = "unjudged"       // failed before, could not be judged now
	ChangeFixed    Change = "fixed"          // failed before, and was judged to fail no more
	ChangeUnsure   Change = "unknown_before" // fails; whether it did before could not be judged
)

// Changes lists all changes in the order of reports.
func Changes() []Change {
	return []Change{ChangeNew, ChangeWorse, ChangeOpen, ChangeExcused, ChangeUnjudged, ChangeFixed, ChangeUnsure}
}

// Seen is a result that is listed, as far as a comparison needs it.
type Seen struct {
	Status   Status
	Severity Severity
}

// CompareSeen tells how a result changed; nil is one that is not listed,
// because it passed or its resource is gone. The change is empty where nothing
// failed before or does now.
func CompareSeen(before, now *Seen) Change {
	failed := before != nil && before.Status == Fail
	fails := now != nil && now.Status == Fail
	switch {
	case fails && failed && now.Severity.Rank() >= before.Severity.Rank():
		return ChangeOpen
	case fails && (failed || before != nil && before.Status.Judged()):
		return ChangeWorse
	case fails && before != nil:
		return ChangeUnsure
	case fails:
		return ChangeNew
	case !failed:
		return ""
	case now == nil:
		return ChangeFixed
	case now.Status.Judged():
		return ChangeExcused
	}
	return ChangeUnjudged
}

// TrendShown is how many new findings a trend names.
const TrendShown = 20

// Trend is what changed since the workspaces' snapshots before: each policy in
// each workspace is compared with its last verdict there.
type Trend struct {
	Since      time.Time // as of when the newest of those snapshots was judged
	Earliest   time.Time // the oldest verdict compared with, where a snapshot before could not be judged whole; else zero
	Workspaces int       // that have an earlier snapshot which was judged
	Counts     map[Change]map[Severity]int
	Fixes      map[Severity]Fix
	New        []Finding // new or worse, worst first, at most TrendShown
}

// Fix is how long findings of a severity lasted that are fixed now.
type Fix struct {
	Count int
	Mean  time.Duration // from when a finding was first seen, without a break, to now
	// AtLeast tells that history was not followed to its end: the mean is longer.
	AtLeast bool
}

// Count sums a change over all severities.
func (t Trend) Count(c Change) int {
	n := 0
	for _, count := range t.Counts[c] {
		n += count
	}
	return n
}
