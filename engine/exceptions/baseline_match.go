package exceptions

import (
	"slices"

	"patrol/engine"
)

// BaselineMatcher excuses what a baseline knows and finds out which of it is gone. It
// is for one goroutine.
type BaselineMatcher struct {
	file      *Baseline
	seen      []sight
	judged    map[scope]bool  // a policy was run in a workspace
	undecided map[scope]bool  // … but could not be
	partial   map[string]bool // workspaces whose tokens were not all read
	baselined int
	critical  []string // policies whose critical findings may be excused
	refused   int
}

// scope is a policy in a workspace.
type scope struct{ policy, workspaceID string }

// sight is how an entry was met in an evaluation.
type sight byte

const (
	unseen sight = iota
	present
	unjudged // the result on it is unknown, or an error
)

// NewBaselineMatcher prepares a baseline for one evaluation. Of critical findings
// it excuses only those of the policies named.
func NewBaselineMatcher(f *Baseline, critical []string) *BaselineMatcher {
	return &BaselineMatcher{file: f, critical: critical, seen: make([]sight, len(f.Entries)), judged: map[scope]bool{}, undecided: map[scope]bool{}, partial: map[string]bool{}}
}

// Except turns a failed finding that the baseline lists into a baselined one.
func (m *BaselineMatcher) Except(f engine.Finding) engine.Finding {
	if _, listed := m.file.index[f.Fingerprint]; listed && f.Status == engine.Fail {
		if !MayBaseline(f, m.critical) {
			m.refused++
			return f
		}
		m.baselined++
		f.Status = engine.Baselined
	}
	return f
}

// Refused is how many critical findings go on failing although the baseline lists them.
func (m *BaselineMatcher) Refused() int { return m.refused }

// MayBaseline reports whether a baseline may excuse a finding: none that is
// critical, unless its policy is named. That is what waivers may do, too.
func MayBaseline(f engine.Finding, critical []string) bool {
	return f.Severity != engine.Critical || slices.Contains(critical, f.Policy)
}

// See notes a finding of the evaluation, whatever its status.
func (m *BaselineMatcher) See(f engine.Finding) {
	if i, listed := m.file.index[f.Fingerprint]; listed {
		m.seen[i] = present
		if !f.Status.Judged() {
			m.seen[i] = unjudged
		}
		return
	}
	// A policy that could not be run at all is one finding on the workspace.
	if !f.Status.Judged() && f.Resource == engine.ResourceWorkspace {
		m.undecided[scope{f.Policy, f.WorkspaceID}] = true
	}
}

// Judged notes which policies were run in a workspace. Where not all tokens were
// read, it is open what became of the others.
func (m *BaselineMatcher) Judged(s engine.Snapshot, tallies map[string]engine.Tally) {
	for policy := range tallies {
		m.judged[scope{policy, s.Workspace.ID}] = true
	}
	m.partial[s.Workspace.ID] = !s.Coverage[engine.SectionTokens].Whole()
}

// Use tells what the baseline came to.
func (m *BaselineMatcher) Use() *engine.BaselineUse {
	use := &engine.BaselineUse{
		AsOf: m.file.AsOf, Version: m.file.Version, Entries: len(m.file.Entries), Baselined: m.baselined, Gone: []engine.BaselineEntry{},
	}
	for i, e := range m.file.Entries {
		switch at := (scope{e.Policy, e.WorkspaceID}); {
		case m.seen[i] == present:
		case e.Resource == engine.ResourceToken && m.partial[e.WorkspaceID]:
			use.NotJudged++
		case m.seen[i] == unseen && m.judged[at] && !m.undecided[at]:
			use.Gone = append(use.Gone, e)
		default:
			use.NotJudged++
		}
	}
	return use
}
