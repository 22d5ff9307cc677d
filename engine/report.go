package engine

import (
	"iter"
	"slices"
	"time"
)

// Report is everything that a report format may show. Formats are pure
// functions of it: same report, same bytes. The iterators start anew at each
// range and stream from the store, so that no format needs the population in
// memory.
type Report struct {
	Version    string // of patrol
	AsOf       time.Time
	FailOn     Threshold
	Digest     string            // of the evaluation; "" where it was never sealed
	WhatIf     string            `names:"written"` // the name of what would be, where the evaluation says that; "" otherwise
	Intact     func() error      // says, before anything of the report counts, whether it is what was sealed
	Narrowed   bool              // only some policies were chosen: sections that they do not need may be missing
	Framework  string            // the framework (or framework:control) all of whose policies ran, where it was all that was asked for
	Workspaces []WorkspaceReport // by name, then id
	Policies   []PolicyReport    // by severity, then id
	Summary    Summary
	Exceptions Exceptions
	MayMiss    int    // percentage of the expected workspaces that may not have been read; 0: none
	Trend      *Trend // nil: no snapshot before was judged

	// Findings in fixed order: severity, policy, workspace, resource.
	Findings iter.Seq2[Finding, error]
	// Tokens are the full population: by workspace, then token id.
	Tokens iter.Seq2[TokenRow, error]

	redacted bool // by Redacted
}

// WorkspaceReport is one judged snapshot.
type WorkspaceReport struct {
	Snapshot Snapshot
	Settings Settings         // nil when not covered
	Grants   Grants           // nil when not covered
	Counts   Tally            // results of all policies here
	Policies map[string]Tally // results of each policy here, by its id
}

// PolicyReport is a policy and what it found.
type PolicyReport struct {
	Policy Policy
	Tally  Tally
}

// TokenRow is a token in a report.
type TokenRow struct {
	Workspace Workspace
	Subject
}

// Summary counts tokens, workspaces and findings.
type Summary struct {
	Tokens     int
	Workspaces int
	Statuses   Tally              // all results
	Severities map[Severity]Tally // the same by the severity in force where each was judged
}

// Failed is the number of results of a severity that failed.
func (s Summary) Failed(level Severity) int { return s.Severities[level][Fail] }

// Verdict is what the run comes to; the exit code follows from it.
type Verdict string

// The verdicts.
const (
	Clean      Verdict = "clean"      // no failed result at or above the threshold
	Violations Verdict = "violations" // at least one
	Incomplete Verdict = "incomplete" // something could not be read or judged; outranks violations
)

// Verdict decides between clean, violations and incomplete. Incomplete is a report of too
// few workspaces, or of one that is not judged whole; those that may be missing are the
// business of the percentage alone.
func (r Report) Verdict() Verdict {
	if r.Reach().Percent() < 100-r.MayMiss || r.MayMiss == 0 && r.Summary.Statuses[Unknown]+r.Summary.Statuses[Errored] > 0 {
		return Incomplete
	}
	// A section that was not read whole matters if the chosen policies need it; where none
	// was left out, all do. A policy that needs one key of the settings is unknown itself
	// where that key was not read.
	matters := func(section SectionName) bool {
		return !r.Narrowed || slices.ContainsFunc(r.Policies, func(p PolicyReport) bool { return slices.Contains(p.Policy.Needs, string(section)) })
	}
	for _, w := range r.Workspaces {
		if !w.Snapshot.Reached() && r.MayMiss > 0 {
			continue
		}
		if w.Counts[Unknown]+w.Counts[Errored] > 0 || slices.ContainsFunc(w.Snapshot.Incomplete(), matters) {
			return Incomplete
		}
	}
	for _, severity := range Severities() {
		if r.FailOn.Fails(severity) && r.Summary.Failed(severity) > 0 {
			return Violations
		}
	}
	return Clean
}

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
