package engine

import (
	"encoding/json"
	"reflect"
	"testing"
)

func accountSnapshot(status CoverageStatus, document string) Snapshot {
	s := Snapshot{Coverage: map[SectionName]Coverage{SectionAccountPrincipals: {Status: status}}, Documents: map[SectionName]json.RawMessage{}}
	if document != "" {
		s.Documents[SectionAccountPrincipals] = json.RawMessage(document)
	}
	return s
}

// TestAccountDirectory: only a directory read whole tells that somebody is not
// in it, and one that was not read tells nothing.
func TestAccountDirectory(t *testing.T) {
	t.Parallel()
	const listed = `{"account_id": "a", "principals": [
		{"id": "1", "kind": "user", "name": "ann@example.com", "display_name": "Ann", "active": true},
		{"id": "2", "kind": "service_principal", "name": "app", "display_name": "", "active": false},
		{"id": "3", "kind": "user", "name": "cal@example.com", "display_name": ""}]}`
	known := map[string]*AccountParty{
		"1": {AccountActive, User, "ann@example.com"}, "2": {AccountInactive, ServicePrincipal, "app"}, "3": {AccountUnclear, User, "cal@example.com"},
	}
	for name, test := range map[string]struct {
		snapshot Snapshot
		known    map[string]*AccountParty
		other    *AccountParty
	}{
		"whole":   {accountSnapshot(Complete, listed), known, &AccountParty{Status: AccountMissing}},
		"partial": {accountSnapshot(Partial, listed), known, nil},
		"denied":  {accountSnapshot(Denied, ""), map[string]*AccountParty{"1": nil, "2": nil}, nil},
		"without": {Snapshot{}, map[string]*AccountParty{"1": nil}, nil},
	} {
		d, err := test.snapshot.AccountDirectory()
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range test.known {
			if got := d.Of(id); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s is %+v, want %+v", name, id, got, want)
			}
		}
		if got := d.Of("9"); !reflect.DeepEqual(got, test.other) {
			t.Errorf("%s: somebody else is %+v, want %+v", name, got, test.other)
		}
	}
	if _, err := accountSnapshot(Complete, `[]`).AccountDirectory(); err == nil {
		t.Error("a document of another shape was read")
	}
}

// TestAccountIsNoPartOfTheWorkspace: what became of reading the account leaves
// a workspace as complete as it is.
func TestAccountIsNoPartOfTheWorkspace(t *testing.T) {
	t.Parallel()
	s := accountSnapshot(Denied, "")
	if s.Incomplete() != nil || s.Gaps() != nil {
		t.Errorf("incomplete %v", s.Incomplete())
	}
	s.Coverage[SectionTokens] = Coverage{Status: Denied}
	if got := s.Incomplete(); !reflect.DeepEqual(got, []SectionName{SectionTokens}) {
		t.Errorf("incomplete %v", got)
	}
}

func TestFindingAsAccountKnows(t *testing.T) {
	t.Parallel()
	evidence := map[string]any{"owner.kind": "missing"}
	f := Finding{Owner: "7", OwnerID: "7", Evidence: evidence, OwnerInAccount: &AccountParty{AccountInactive, User, "ann@example.com"}}
	got := f.AsAccountKnows()
	want := map[string]any{"owner.kind": "missing", "owner.account_status": "inactive", "owner.account_name": "ann@example.com"}
	if got.Owner != "ann@example.com" || got.OwnerID != "7" || !reflect.DeepEqual(got.Evidence, want) || len(evidence) != 1 {
		t.Errorf("finding %+v, evidence before %v", got, evidence)
	}
	f.OwnerInAccount = &AccountParty{Status: AccountMissing}
	if got := f.AsAccountKnows(); got.Owner != "7" || got.Evidence["owner.account_status"] != "missing" {
		t.Errorf("finding %+v", got)
	}
	f.OwnerInAccount = nil
	if got := f.AsAccountKnows(); !reflect.DeepEqual(got, f) {
		t.Errorf("finding %+v", got)
	}
}

func TestPartyIsNamedByTheAccountLast(t *testing.T) {
	t.Parallel()
	account := &AccountParty{AccountActive, User, "ann@example.com"}
	for _, test := range []struct {
		party     Party
		label, ws string
	}{
		{Party{ID: "7"}, "7", "7"},
		{Party{ID: "7", Account: account}, "ann@example.com", "7"},
		{Party{ID: "7", Account: &AccountParty{Status: AccountMissing}}, "7", "7"},
		{Party{ID: "7", Name: "bob@example.com", Account: account}, "bob@example.com", "bob@example.com"},
	} {
		if test.party.Label() != test.label || test.party.WorkspaceLabel() != test.ws {
			t.Errorf("%+v: %s, %s", test.party, test.party.Label(), test.party.WorkspaceLabel())
		}
	}
}

func TestPseudonymsHideTheAccountsNames(t *testing.T) {
	t.Parallel()
	p := testPseudonyms(t)
	row := TokenRow{}
	row.Token.Comment = "made by ann@example.com"
	row.Owner = Party{ID: "7", Kind: Missing, Account: &AccountParty{AccountActive, User, "ann@example.com"}}
	row.Creator = Party{ID: "8", Kind: Missing, Account: &AccountParty{AccountActive, ServicePrincipal, "app"}}
	hidden := Pseudonymised(p, row)
	if hidden.Owner.Label() != p.Name("ann@example.com") || hidden.Token.Comment != "made by "+p.Name("ann@example.com") || hidden.Creator.Label() != "app" {
		t.Errorf("row %+v %+v", hidden.Owner, hidden.Token)
	}
	if row.Owner.Account.Name != "ann@example.com" {
		t.Error("the row itself changed")
	}
}
