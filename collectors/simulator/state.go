package simulator

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// errUnknown names what a state change referred to in vain.
func errUnknown(what, name string) error { return fmt.Errorf("unknown %s %q", what, name) }

// Change is a change of state: what POST /_sim/state takes. What is absent stays
// as it is. Nothing is checked that the API would refuse.
type Change struct {
	Workspace   string             `json:"workspace"` // id or name; the first one when empty
	PutToken    *Token             `json:"put_token"` // see PutToken
	DeleteToken string             `json:"delete_token"`
	User        *UserChange        `json:"user"`
	Conf        map[string]*string `json:"conf"` // null unsets
	Grants      string             `json:"grants"`
	ACL         *[]Grant           `json:"access_control_list"` // without the admins' implied entry
	Admins      string             `json:"admins_entry"`
	Tokens      string             `json:"tokens"`                    // enabled, or disabled: 404 FEATURE_DISABLED, apart from enableTokensConfig
	NotFound    string             `json:"not_found"`                 // of tokens: RESOURCE_DOES_NOT_EXIST or NOT_FOUND
	MaxPage     int                `json:"max_page"`                  // resources on a SCIM page
	Status      string             `json:"workspace_status"`          // as the account lists it; it answers as before
	Restrict    string             `json:"restrict_workspace_admins"` // makes etags stale
	IPLists     *[]IPList          `json:"ip_access_lists"`
	Statements  *string            `json:"statements"` // what happens to statements of a SQL warehouse; see Statements
	DeletedBy   string             `json:"deleted_by"` // who deletes the token, as the audit log says; "system" collects garbage
}

// UserChange changes a user or service principal, in the whole account except
// for Admin. The tokens of one that is removed stay, owned by nobody.
type UserChange struct {
	Name    string `json:"name"` // user name, application id or id
	Active  *bool  `json:"active"`
	Hide    bool   `json:"hide_active"` // leave "active" out of answers, as the platform does at times
	Admin   *bool  `json:"admin"`       // a direct member of the workspace's admins
	Removed bool   `json:"removed"`
}

// IPList is an IP access list.
type IPList struct {
	Label     string   `json:"label"`
	Type      string   `json:"list_type"` // ALLOW, BLOCK
	Addresses []string `json:"ip_addresses"`
	Enabled   bool     `json:"enabled"`
}

// Change makes a change, part by part; it stops at the first part that is wrong,
// when those before it have been made. It returns the token that it stored.
func (a *Account) Change(change Change) (stored Token, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ws := a.workspaces[0]
	if change.Workspace != "" {
		ws = a.find(change.Workspace)
	}
	if ws == nil {
		return stored, errUnknown("workspace", change.Workspace)
	}
	if change.PutToken != nil {
		t, err := a.completed(ws, *change.PutToken)
		if err != nil {
			return stored, err
		}
		ws.tokens.put(&t)
		stored = t
	}
	if id := change.DeleteToken; id != "" {
		if !a.revoke(ws, id) {
			return stored, errUnknown("token", id)
		}
		action, actor := "revokeDbToken", change.DeletedBy
		if actor == "system" {
			action, actor = "garbageCollectDbToken", "System-User"
		}
		if actor != "" {
			ws.note(a.Now().UnixMilli(), action, actor, map[string]string{"tokenId": id})
		}
	}
	if change.Statements != nil {
		if *change.Statements != "" && !slices.Contains(Statements(), *change.Statements) {
			return stored, errUnknown("state of statements", *change.Statements)
		}
		ws.statements = *change.Statements
	}
	if change.User != nil {
		if err := a.changeUser(ws, *change.User); err != nil {
			return stored, err
		}
	}
	for key, value := range change.Conf {
		switch {
		case !slices.Contains(confKeys(), key):
			return stored, errUnknown("key", key)
		case value == nil:
			delete(ws.conf, key)
		default:
			ws.conf[key] = *value
		}
	}
	set := func(into *string, what, value string, known ...string) {
		if value != "" && err == nil {
			if known != nil && !slices.Contains(known, value) {
				err = errUnknown(what, value)
				return
			}
			*into = value
		}
	}
	set(&ws.grantState, "grant state", change.Grants, GrantsInitialised, GrantsNotInitialised, GrantsDisabled)
	set(&ws.adminsEntry, "admins entry", change.Admins, AdminsExplicit, AdminsInherited, AdminsAbsent)
	set(&a.opts.NotFound, "error code", change.NotFound, NotFoundResource, NotFoundPlain)
	set(&ws.status, "status", change.Status)
	feature := ""
	set(&feature, "state of tokens", change.Tokens, "enabled", "disabled")
	set(&ws.restrict.status, "status", change.Restrict, AllowAll, RestrictTokensAndJobRuns)
	switch {
	case err != nil:
		return stored, err
	case feature != "":
		ws.tokensOff = feature == "disabled"
	}
	if change.Restrict != "" {
		ws.restrict.version++
	}
	if change.MaxPage > 0 {
		a.opts.MaxPage = change.MaxPage
	}
	if change.ACL != nil {
		for _, g := range *change.ACL {
			if key, _ := g.principal(); key == "" {
				return stored, fmt.Errorf("grant %+v names not exactly one principal", g)
			}
		}
		ws.grants = addGrants(nil, *change.ACL)
	}
	if change.IPLists != nil {
		for _, l := range *change.IPLists {
			if l.Type != "ALLOW" && l.Type != "BLOCK" {
				return stored, errUnknown("list type", l.Type)
			}
		}
		ws.ipLists = *change.IPLists
	}
	return stored, nil
}

func (a *Account) changeUser(ws *workspace, change UserChange) error {
	p := a.directory.named(change.Name)
	if id, err := strconv.ParseInt(change.Name, 10, 64); p == nil && err == nil {
		p = a.directory.byID[id]
	}
	if p == nil {
		return errUnknown("user", change.Name)
	}
	if change.Active != nil {
		p.Active, p.hideActive = *change.Active, false
	}
	p.hideActive = p.hideActive || change.Hide
	switch {
	case change.Admin == nil:
	case *change.Admin:
		ws.admins.add(p)
	default:
		ws.admins.drop(p)
	}
	if change.Removed {
		d := a.directory
		d.users = slices.DeleteFunc(d.users, func(other *principal) bool { return other == p })
		d.services = slices.DeleteFunc(d.services, func(other *principal) bool { return other == p })
		delete(d.byID, p.ID)
		delete(d.byName, strings.ToLower(p.Name))
		for _, g := range d.groups {
			g.drop(p)
		}
		for _, ws := range a.workspaces {
			ws.admins.drop(p)
		}
	}
	return nil
}

// PutToken adds a token, or replaces the one of that id, and returns it as
// stored. An empty id is made up, a missing owner or creator is the workspace's
// admin, and a creation time of 0 is now.
func (a *Account) PutToken(where string, t Token) (Token, error) {
	return a.Change(Change{Workspace: where, PutToken: &t})
}

// DeleteToken removes a token, as a person or the service itself would.
func (a *Account) DeleteToken(where, id string) error {
	_, err := a.Change(Change{Workspace: where, DeleteToken: id})
	return err
}

// completed is a token with what was left open filled in.
func (a *Account) completed(ws *workspace, t Token) (Token, error) {
	if t.ID == "" {
		t.ID = tokenIDOf(a.mint("put"))
	}
	t.ID = strings.ToLower(t.ID)
	if _, err := hex.DecodeString(t.ID); err != nil || len(t.ID) != 64 {
		return t, fmt.Errorf("token_id %q is not 64 hex digits", t.ID)
	}
	if t.OwnerID == 0 {
		t.OwnerID = ws.admin.ID
	}
	if t.CreationTime == 0 { // no token ends before it is made
		t.CreationTime = a.Now().UnixMilli()
		if t.ExpiryTime > 0 {
			t.CreationTime = min(t.CreationTime, t.ExpiryTime-dayMillis)
		}
	}
	creator := &principal{User: User{ID: t.CreatedByID, Name: t.CreatedByUsername}} // need not exist
	switch {
	case t.CreatedByID == 0 && t.CreatedByUsername == "":
		creator = ws.admin
	case t.CreatedByID == 0:
		creator = cmp.Or(a.directory.named(t.CreatedByUsername), creator)
	case t.CreatedByUsername == "":
		creator = cmp.Or(a.directory.byID[t.CreatedByID], creator)
	}
	t.CreatedByID, t.CreatedByUsername = creator.ID, creator.Name
	return t, nil
}

// look reads the state of a workspace, named by id or name; the zero value where
// there is none.
func look[T any](a *Account, where string, read func(*workspace) T) (found T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ws := a.find(where); ws != nil {
		found = read(ws)
	}
	return found
}

// Tokens returns the tokens of a workspace in the order of the list.
func (a *Account) Tokens(where string) []Token { return look(a, where, (*workspace).copies) }

func (ws *workspace) copies() []Token {
	list := make([]Token, 0, len(ws.tokens.index))
	for _, t := range ws.tokens.all() {
		list = append(list, *t)
	}
	return list
}

// Token returns one token.
func (a *Account) Token(where, id string) (Token, bool) {
	t := look(a, where, func(ws *workspace) *Token { return ws.tokens.get(id) })
	if t == nil {
		return Token{}, false
	}
	return *t, true
}

// Conf returns the workspace-conf values that are set.
func (a *Account) Conf(where string) map[string]string {
	return look(a, where, func(ws *workspace) map[string]string { return maps.Clone(ws.conf) })
}

// Grants returns the ACL of tokens without the admins' implied entry.
func (a *Account) Grants(where string) []Grant {
	return look(a, where, func(ws *workspace) []Grant { return slices.Clone(ws.grants) })
}

// RestrictAdmins returns the status of restrict_workspace_admins.
func (a *Account) RestrictAdmins(where string) string {
	return look(a, where, func(ws *workspace) string { return ws.restrict.status })
}

// Kinds counts the tokens of a workspace by kind. Tokens that were put there
// later count as "other".
func (a *Account) Kinds(where string) map[string]int { return look(a, where, (*workspace).kinds) }

func (ws *workspace) kinds() map[string]int {
	counts := map[string]int{}
	for _, t := range ws.tokens.all() {
		counts[cmp.Or(t.Kind, "other")]++
	}
	return counts
}

// Users returns the directory: users first, then service principals.
func (a *Account) Users() []User {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []User
	for _, p := range slices.Concat(a.directory.users, a.directory.services) {
		list = append(list, p.User)
	}
	return list
}

// AddUser adds to the directory. The id must be new; 0 makes one up.
func (a *Account) AddUser(u User) (User, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u.ID == 0 {
		a.issued++
		u.ID = bigID | int64(a.issued)<<24 | 1
	}
	if u.Name == "" || a.directory.named(u.Name) != nil || a.directory.byID[u.ID] != nil {
		return User{}, fmt.Errorf("user %q (%d) has no name or exists", u.Name, u.ID)
	}
	a.directory.add(u)
	return u, nil
}
