package engine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// SectionAccount is the list of the workspaces that an account expects to be
// read, the same in each of their snapshots. A workspace that was not found
// through an account has no such section.
const SectionAccount SectionName = "account"

// AccountListing is the document of the account section.
type AccountListing struct {
	AccountID  string            `json:"account_id"`
	Workspaces []ListedWorkspace `json:"workspaces"` // by id; without those that were excluded
}

// ListedWorkspace is a workspace that should be read.
type ListedWorkspace struct {
	ID     string `json:"workspace_id"`
	Name   string `json:"name"`
	Status string `json:"status"` // as the account spells it
}

// Section is the listing as a section of a capture.
func (l AccountListing) Section() (Section, error) {
	text, err := json.Marshal(l)
	return Section{Coverage: Coverage{Status: Complete, Count: len(l.Workspaces)}, Document: text}, err
}

// Reach tells how many of the workspaces that should have been read were read:
// what a report says nothing of must not look clean.
type Reach struct {
	Accounts []string // ids, sorted; none when the workspaces were named one by one
	Expected int
	Read     int      // whose list of tokens was read
	Missing  []Unread // by name, then id
}

// Unread is a workspace that should have been read and was not.
type Unread struct {
	WorkspaceID string `json:"workspace_id"`
	Name        string `json:"name"`
	Status      string `json:"status"` // of the coverage of its tokens; not_collected without a snapshot
	Reason      string `json:"reason"`
	Detail      string `json:"detail"`
}

// Percent is the share that was read, rounded down: 100 only when all were.
func (r Reach) Percent() int {
	if r.Expected == 0 {
		return 100
	}
	return 100 * r.Read / r.Expected
}

// Reached reports whether the tokens of a snapshot are known: they were read, or
// are off.
func (s Snapshot) Reached() bool {
	c := s.Coverage[SectionTokens]
	return c.Usable() || c.Status == Off
}

// Reach compares what was read with what should have been: the judged
// workspaces, and what the newest listing of each account names beyond them.
func (r Report) Reach() Reach {
	var reach Reach
	judged := map[string]bool{}
	for _, w := range r.Workspaces {
		s := w.Snapshot
		judged[s.Workspace.ID] = true
		reach.Expected++
		if s.Reached() {
			reach.Read++
			continue
		}
		c := s.Coverage[SectionTokens]
		reach.Missing = append(reach.Missing, Unread{s.Workspace.ID, s.Workspace.Name, string(c.Status), c.Reason, c.Detail})
	}
	listings := r.listings()
	for _, id := range SortedKeys(listings) {
		reach.Accounts = append(reach.Accounts, id)
		for _, w := range listings[id].Workspaces {
			if judged[w.ID] {
				continue
			}
			judged[w.ID] = true
			reach.Expected++
			reach.Missing = append(reach.Missing, Unread{w.ID, w.Name, string(NotCollected), "no_snapshot",
				fmt.Sprintf("account %s lists it (%s), no snapshot of it was judged", id, w.Status)})
		}
	}
	slices.SortFunc(reach.Missing, func(a, b Unread) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.WorkspaceID, b.WorkspaceID))
	})
	return reach
}

// listings are the newest of each account. A document that cannot be read was
// not written by patrol; verifying the snapshot tells so.
func (r Report) listings() map[string]AccountListing {
	newest := map[string]AccountListing{}
	at := map[string]int64{}
	for _, w := range r.Workspaces {
		var listing AccountListing
		document, ok := w.Snapshot.Documents[SectionAccount]
		if !ok || json.Unmarshal(document, &listing) != nil {
			continue
		}
		if _, known := newest[listing.AccountID]; !known || w.Snapshot.CollectedAt.UnixMilli() > at[listing.AccountID] {
			newest[listing.AccountID], at[listing.AccountID] = listing, w.Snapshot.CollectedAt.UnixMilli()
		}
	}
	return newest
}

// SectionAccountPrincipals is what the account's directory knows of the owners
// and creators of tokens whom the directory of the workspace does not hold. It
// names people and decides nothing: verdicts rest on the workspace alone. What
// became of reading it is no lack of the workspace's own coverage. Snapshots of
// workspaces that no account listed have no such section.
const SectionAccountPrincipals SectionName = "account_principals"

// AccountPrincipals is the document of that section.
type AccountPrincipals struct {
	AccountID  string             `json:"account_id"`
	Principals []AccountPrincipal `json:"principals"`      // by id; those that the account knows
	Total      int                `json:"total,omitempty"` // principals of the account
}

// AccountPrincipal is a user or service principal as the account lists it.
type AccountPrincipal struct {
	ID          string `json:"id"`
	Kind        Kind   `json:"kind"`
	Name        string `json:"name"` // userName, or application id
	DisplayName string `json:"display_name"`
	Active      *bool  `json:"active,omitempty"` // absent when the account does not say
}

// AccountStatus is how an account stands to a principal.
type AccountStatus string

// The standings. Missing means that the account, read whole, does not know it.
const (
	AccountActive   AccountStatus = "active"
	AccountInactive AccountStatus = "inactive"
	AccountUnclear  AccountStatus = "known" // the account does not say whether it is active
	AccountMissing  AccountStatus = "missing"
)

// AccountParty is what the account knows of an owner or creator whom the
// workspace does not.
type AccountParty struct {
	Status AccountStatus
	Kind   Kind
	Name   string // "" when Status is AccountMissing
}

// AccountDirectory is the section of a snapshot, ready for questions. The zero
// value knows nothing.
type AccountDirectory struct {
	known map[string]AccountParty
	whole bool
}

// AccountDirectory reads the section of a snapshot.
func (s Snapshot) AccountDirectory() (d AccountDirectory, err error) {
	coverage, document := s.Coverage[SectionAccountPrincipals], s.Documents[SectionAccountPrincipals]
	if !coverage.Usable() || document == nil {
		return d, nil
	}
	var listed AccountPrincipals
	if err := json.Unmarshal(document, &listed); err != nil {
		return d, err
	}
	d = AccountDirectory{known: map[string]AccountParty{}, whole: coverage.Complete()}
	for _, p := range listed.Principals {
		status := AccountInactive
		switch {
		case p.Active == nil:
			status = AccountUnclear
		case *p.Active:
			status = AccountActive
		}
		d.known[p.ID] = AccountParty{Status: status, Kind: p.Kind, Name: p.Name}
	}
	return d, nil
}

// Of is what the account knows of a principal; nil when nobody can tell.
func (d AccountDirectory) Of(id string) *AccountParty {
	if p, ok := d.known[id]; ok {
		return &p
	}
	if d.whole {
		return &AccountParty{Status: AccountMissing}
	}
	return nil
}

// AsAccountKnows is the finding as reports show it: under the name by which the
// account knows the owner, with how it stands there. Exceptions do not see
// these: what excuses a finding is what the workspace tells.
func (f Finding) AsAccountKnows() Finding {
	a := f.OwnerInAccount
	if a == nil {
		return f
	}
	evidence := make(map[string]any, len(f.Evidence)+2)
	for key, value := range f.Evidence {
		evidence[key] = value
	}
	evidence["owner.account_status"] = string(a.Status)
	if a.Name != "" {
		f.Owner, evidence["owner.account_name"] = a.Name, a.Name
	}
	f.Evidence, f.OwnerInAccount = evidence, nil
	return f
}
