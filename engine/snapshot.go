package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// Workspace identifies a workspace and says how it is labelled.
type Workspace struct {
	ID     string // the platform's id; "import:<name>" where an import does not tell it
	Name   string
	Host   string // with scheme; "" for an import
	Cloud  string // aws, azure, gcp; "" when unknown
	Labels map[string]string
}

// Capture is what one collection of one workspace brought, before it is stored.
type Capture struct {
	Workspace   Workspace
	CollectedAt time.Time // by the workspace's clock
	Sections    map[SectionName]Section
}

// Section is one part of a capture. Rows and document of a section that is not
// Usable are ignored.
type Section struct {
	Coverage   Coverage
	Document   json.RawMessage            // canonical JSON; nil for sections of rows
	Principals []Principal                // sorted by id; section principals only
	Tokens     iter.Seq2[Token, error]    // ascending by id; section tokens only; can be ranged over once or more
	Activity   iter.Seq2[Activity, error] // in any order; section audit_log only
}

// Snapshot describes a stored capture. It never changes.
type Snapshot struct {
	ID          int64
	Workspace   Workspace
	CollectedAt time.Time
	Coverage    map[SectionName]Coverage
	Documents   map[SectionName]json.RawMessage
	Digest      string // sha256 over all rows and documents and the digest before, hexadecimal
	Previous    string // digest of the workspace's snapshot before; "" for the first
	Tokens      int    // rows stored

	DigestVersion int // how the digest was made
}

// Incomplete lists the sections that were asked for and not read whole, sorted by
// name. The account's principals are no part of the workspace.
func (s Snapshot) Incomplete() []SectionName {
	var names []SectionName
	for _, name := range SortedKeys(s.Coverage) {
		c := s.Coverage[name]
		if !c.Covered() && c.Status != NotCollected && name != SectionAccountPrincipals {
			names = append(names, name)
		}
	}
	return names
}

// Gap is a reason why sections were not read whole.
type Gap struct {
	Sections []SectionName // sorted by name
	Coverage Coverage      // of the first; they differ in Count only
}

// Gaps tells why sections are incomplete, each reason once.
func (s Snapshot) Gaps() []Gap {
	var gaps []Gap
	for _, name := range s.Incomplete() {
		c := s.Coverage[name]
		i := slices.IndexFunc(gaps, func(g Gap) bool {
			c.Count = g.Coverage.Count
			return g.Coverage == c
		})
		if i < 0 {
			gaps = append(gaps, Gap{[]SectionName{name}, s.Coverage[name]})
			continue
		}
		gaps[i].Sections = append(gaps[i].Sections, name)
	}
	return gaps
}

// Names lists the sections of a gap for readers.
func (g Gap) Names() string { return joinWords(g.Sections) }

// Subject is a token with everything that a policy sees of it.
type Subject struct {
	Token   Token
	Facts   Facts
	Owner   Party
	Creator Party
	Peers   *Peers // nil when it was not asked for
	Row     int64  // where a store keeps the token; 0: nowhere
}

// FutureToken is a token as it will be at the n-th of some instants, ascending. It
// is false from the instant on at which the token is out of the question.
type FutureToken func(n int) (Subject, bool)

// Party is the owner or creator of a token, as far as the directory knows it.
type Party struct {
	ID          string `names:"person"`
	Kind        Kind   // "" when the directory was not read
	Name        string
	DisplayName string
	Active      *bool // false for a missing principal; nil when unknown
	Admin       *bool // false for a missing principal; nil when the directory was not read
	Groups      []string
	LiveTokens  int // tokens of this workspace that it owns and that have not expired
	// Account is what the account knows of a missing principal; nil when nobody
	// can tell. Policies do not see it.
	Account *AccountParty
	// Listed is the name that the list of tokens gives where the directory has
	// none. Policies do not see it.
	Listed string `names:"person"`
}

// Named is the subject with the names that its own row gives to parties that the
// directory does not name.
func (s Subject) Named() Subject {
	if s.Creator.Name == "" {
		s.Creator.Listed = s.Token.CreatorName
	}
	if s.Owner.Name == "" && s.Owner.ID != "" && s.Owner.ID == s.Creator.ID {
		s.Owner.Listed = s.Token.CreatorName
	}
	return s
}

// Label is how reports name the party: its name, else that in the account, else
// that in the list of tokens, else its id.
func (p Party) Label() string {
	if p.Account != nil && p.Name == "" && p.Account.Name != "" {
		return p.Account.Name
	}
	return p.WorkspaceLabel()
}

// WorkspaceLabel is how the workspace names the party, which is what exceptions
// go by: its name, else its id.
func (p Party) WorkspaceLabel() string { return cmp.Or(p.Name, p.Listed, p.ID) }

// ClockHoursOff is the key of the workspace section under which a snapshot says
// by how many whole hours the clock of the collecting machine was ahead of the
// workspace's, or (negative) behind it. It is absent within an hour.
const ClockHoursOff = "clock_hours_off"

// HoursOff is what a snapshot has under ClockHoursOff; 0 when nothing.
func (s Snapshot) HoursOff() int {
	var told struct {
		Hours int `json:"clock_hours_off"`
	}
	if json.Unmarshal(s.Documents[SectionWorkspace], &told) != nil {
		return 0
	}
	return told.Hours
}

// keptAtLeast is the percentage of the rows of the whole list before that a list
// must still hold to be believed.
const keptAtLeast = 80

// Shrunk compares the numbers of rows of two whole lists. One row less may be
// one row less, unless it was the last.
func Shrunk(before, now int) bool {
	return 100*now < keptAtLeast*before && (now == 0 || before-now > 1)
}

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
	return []string{"bad_timestamp", "bad_type", "contradictory", "duplicate_id", "duplicate_key", "missing"}
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
// in which they were met. Gaps in one snapshot whose details alone differ are one: a
// host breaks each connection off. The detail is that of the tokens, where they are
// among them.
func SharedGaps(snapshots []Snapshot) []SharedGap {
	var shared []SharedGap
	known := map[string]int{}
	for _, s := range snapshots {
		var gaps []Gap
		for _, name := range s.Incomplete() {
			c := s.Coverage[name]
			i := slices.IndexFunc(gaps, func(g Gap) bool {
				return g.Coverage.Status == c.Status && g.Coverage.Reason == c.Reason && g.Coverage.Hint == c.Hint
			})
			if i < 0 {
				gaps = append(gaps, Gap{[]SectionName{name}, c})
				continue
			}
			gaps[i].Sections = append(gaps[i].Sections, name)
			if name == SectionTokens {
				gaps[i].Coverage = c
			}
		}
		for _, gap := range gaps {
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

// FewWords lists the first few words, and says how many more there are.
func FewWords(words []string, few int) string {
	if len(words) <= few {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s, … and %d more", strings.Join(words[:few], ", "), len(words)-few)
}
