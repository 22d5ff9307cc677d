package engine

import "encoding/json"

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
		d.known[p.ID] = AccountParty{Status: p.status(), Kind: p.Kind, Name: p.Name}
	}
	return d, nil
}

func (p AccountPrincipal) status() AccountStatus {
	switch {
	case p.Active == nil:
		return AccountUnclear
	case *p.Active:
		return AccountActive
	}
	return AccountInactive
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
