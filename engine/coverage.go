package engine

import (
	"fmt"
	"slices"
	"strings"
)

// SectionName names a part of a snapshot; each collector fills one.
type SectionName string

// The sections that the engine itself knows how to join. A collector may add
// any other: its document then stands in a policy's input.workspace under the
// section's name.
const (
	SectionWorkspace  SectionName = "workspace"  // identity of the workspace and of the caller
	SectionTokens     SectionName = "tokens"     // every personal access token
	SectionPrincipals SectionName = "principals" // users and service principals
	SectionGroups     SectionName = "groups"     // who is in which group; it has no rows of its own
	SectionSettings   SectionName = "settings"   // workspace configuration keys
	SectionGrants     SectionName = "grants"     // who may create and use tokens

	SectionIPAccessLists SectionName = "ip_access_lists" // from where the workspace may be reached
)

// CoverageStatus tells whether a section was read whole, or why not.
type CoverageStatus string

// The states of coverage. Complete is judged whole and Partial row by row.
// Where tokens are Off there is nothing to judge. Everything else makes the
// policies that need the section unknown, never pass.
const (
	Complete       CoverageStatus = "complete"
	Partial        CoverageStatus = "partial"         // rows or keys were read, some are defective or unreadable
	Denied         CoverageStatus = "denied"          // the caller lacks the right
	Disabled       CoverageStatus = "disabled"        // the feature is off in this workspace
	NotInitialised CoverageStatus = "not_initialised" // the platform has not created it yet
	Failed         CoverageStatus = "failed"          // no usable answer
	Truncated      CoverageStatus = "truncated"       // the answer broke off
	Implausible    CoverageStatus = "implausible"     // the answer contradicts what is known: nothing of it is believed
	Off            CoverageStatus = "off"             // tokens are switched off in this workspace, which is known: policies on them do not apply
	NotCollected   CoverageStatus = "not_collected"   // nobody asked for it (an import holds tokens only)
)

// OddRows is what a plan says of a list of which every row was read, some with
// values that could not be: it has no step for those.
const OddRows CoverageStatus = "odd_rows"

// Coverage is the state of one section of a snapshot.
type Coverage struct {
	Status CoverageStatus `json:"status"`
	// Reason is a stable word, such as rate_limited or bad_timestamp; empty when complete.
	Reason string `json:"reason,omitempty"`
	// Detail is a sentence for people: what was asked, what came back.
	Detail string `json:"detail,omitempty"`
	// Hint says what to do about it.
	Hint string `json:"hint,omitempty"`
	// Count is the number of rows read (tokens, principals, keys, grants).
	Count int `json:"count"`
}

// ReasonNotRequested is why a section that is read on request only was not
// collected: policies that need it do not apply.
const ReasonNotRequested = "not_requested"

// NotRequested is the coverage of a section that nobody asked for.
func NotRequested(hint string) Coverage {
	return Coverage{Status: NotCollected, Reason: ReasonNotRequested, Detail: "it is read on request only", Hint: hint}
}

// Requested reports whether somebody asked for the section.
func (c Coverage) Requested() bool { return c.Status != NotCollected || c.Reason != ReasonNotRequested }

// Covered reports whether all is known that there is to know: the section was
// read whole, or tokens are off.
func (c Coverage) Covered() bool { return c.Status == Complete || c.Status == Off }

// Complete reports whether the section was read whole.
func (c Coverage) Complete() bool { return c.Status == Complete }

// Whole reports whether every row was read, though some may hold values that
// could not be: those cost themselves only.
func (c Coverage) Whole() bool {
	return c.Status == Complete || c.Status == Partial && slices.Contains(OddRowReasons(), c.Reason)
}

// OddRowReasons are why a list of which every row was read is partial all the
// same: some rows hold values that could not be read.
func OddRowReasons() []string {
	return []string{"bad_timestamp", "bad_type", "duplicate_id", "duplicate_key", "missing"}
}

// ForPlan is the status as a plan tells it.
func (c Coverage) ForPlan() CoverageStatus {
	if c.Whole() && !c.Complete() {
		return OddRows
	}
	return c.Status
}

// Usable reports whether rows were read: a partial section is judged row by
// row, with its defective rows unknown.
func (c Coverage) Usable() bool { return c.Status == Complete || c.Status == Partial }

// SharedGap is a gap that workspaces have in common: the same sections, not
// read for the same reason.
type SharedGap struct {
	Gap                 // of the first workspace and section; of the others the detail may differ
	Workspaces []string // names, in the order of the snapshots
}

// SharedGaps gathers the gaps of many snapshots, each kind once, in the order
// in which they were met.
func SharedGaps(snapshots []Snapshot) []SharedGap {
	var shared []SharedGap
	known := map[string]int{}
	for _, s := range snapshots {
		for _, gap := range s.kindsOfGap() {
			c := gap.Coverage
			key := strings.Join([]string{gap.Names(), string(c.Status), c.Reason, c.Hint}, "\x00")
			i, met := known[key]
			if !met {
				i = len(shared)
				known[key] = i
				shared = append(shared, SharedGap{Gap: gap})
			}
			shared[i].Workspaces = append(shared[i].Workspaces, s.Workspace.Name)
		}
	}
	return shared
}

// kindsOfGap are the gaps with those in one whose details alone differ: a host
// that breaks each connection off is one gap. The detail is that of the tokens,
// where they are among them.
func (s Snapshot) kindsOfGap() []Gap {
	var kinds []Gap
	for _, gap := range s.Gaps() {
		c := gap.Coverage
		i := slices.IndexFunc(kinds, func(k Gap) bool {
			return k.Coverage.Status == c.Status && k.Coverage.Reason == c.Reason && k.Coverage.Hint == c.Hint
		})
		if i < 0 {
			kinds = append(kinds, gap)
			continue
		}
		kinds[i].Sections = slices.Sorted(slices.Values(slices.Concat(kinds[i].Sections, gap.Sections)))
		if slices.Contains(gap.Sections, SectionTokens) {
			kinds[i].Coverage = c
		}
	}
	return kinds
}

// FewWords lists the first few words, and says how many more there are.
func FewWords(words []string, few int) string {
	if len(words) <= few {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s, … and %d more", strings.Join(words[:few], ", "), len(words)-few)
}
