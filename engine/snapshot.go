package engine

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"
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
