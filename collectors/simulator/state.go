package simulator

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Token is a row of the token list, in the shape of the API.
type Token struct {
	ID                string   `json:"token_id"` // 64 hex digits; PutToken makes one up when empty
	CreationTime      int64    `json:"creation_time"`
	ExpiryTime        int64    `json:"expiry_time"` // -1 never
	Comment           string   `json:"comment"`
	CreatedByID       int64    `json:"created_by_id"`
	CreatedByUsername string   `json:"created_by_username"`
	OwnerID           int64    `json:"owner_id"`
	LastUsedDay       int64    `json:"last_used_day,omitempty"` // 0 never used: absent on the wire
	Scopes            []string `json:"scopes,omitempty"`
	AutoscopeState    string   `json:"autoscope_state,omitempty"`
	InferredScopes    []string `json:"inferred_scopes,omitempty"`
	BackfillScopes    []string `json:"backfill_scopes,omitempty"`
	// Kind tells why a generated token is as it is. It is never on the wire.
	Kind string `json:"kind,omitempty"`
	// Raw, when set, is sent verbatim in place of the row, so that a test can
	// serve what no service should: wrong types, missing or unknown fields.
	Raw json.RawMessage `json:"raw,omitempty"`
}

func (t *token) export() Token {
	out := Token{
		ID: t.id.String(), CreationTime: t.created, ExpiryTime: t.expires, Comment: t.comment,
		CreatedByID: t.creator.id, CreatedByUsername: t.creator.name, OwnerID: t.owner,
		LastUsedDay: t.lastUsed, Kind: t.kind, Raw: slices.Clone(t.raw),
	}
	if s := t.scoping; s != nil {
		out.Scopes, out.AutoscopeState = slices.Clone(s.scopes), s.state
		out.InferredScopes, out.BackfillScopes = slices.Clone(s.inferred), slices.Clone(s.backfill)
	}
	return out
}

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
	Grants      GrantState         `json:"grants"`
	ACL         *[]Grant           `json:"access_control_list"` // without the admins' implied entry
	Admins      AdminsEntry        `json:"admins_entry"`
	Tokens      string             `json:"tokens"`                    // enabled, or disabled: 404 FEATURE_DISABLED, apart from enableTokensConfig
	NotFound    string             `json:"not_found"`                 // of tokens: RESOURCE_DOES_NOT_EXIST or NOT_FOUND
	MaxPage     int                `json:"max_page"`                  // resources on a SCIM page
	Status      string             `json:"workspace_status"`          // as the account lists it; it answers as before
	Restrict    string             `json:"restrict_workspace_admins"` // makes etags stale
	IPLists     *[]IPList          `json:"ip_access_lists"`
	Statements  *string            `json:"statements"` // what happens to statements of a SQL warehouse; see Statements
	DeletedBy   string             `json:"deleted_by"` // who deletes the token, as the audit log tells; "system" collects garbage
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
		row, err := a.importToken(ws, *change.PutToken)
		if err != nil {
			return stored, err
		}
		ws.tokens.put(row)
		stored = row.export()
	}
	if id := change.DeleteToken; id != "" {
		if key, valid := parseTokenID(id); !valid || !a.revoke(ws, key) {
			return stored, errUnknown("token", id)
		}
		switch change.DeletedBy {
		case "":
		case "system":
			ws.note(a.Now().UnixMilli(), "garbageCollectDbToken", "System-User", map[string]string{"tokenId": id})
		default:
			ws.note(a.Now().UnixMilli(), "revokeDbToken", change.DeletedBy, map[string]string{"tokenId": id})
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
	set((*string)(&ws.grantState), "grant state", string(change.Grants), string(GrantsInitialised), string(GrantsNotInitialised), string(GrantsDisabled))
	set((*string)(&ws.adminsEntry), "admins entry", string(change.Admins), string(AdminsExplicit), string(AdminsInherited), string(AdminsAbsent))
	set(&a.notFound, "error code", change.NotFound, NotFoundResource, NotFoundPlain)
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
		a.maxPage = change.MaxPage
	}
	if change.ACL != nil {
		for _, g := range *change.ACL {
			if g.names() != 1 {
				return stored, fmt.Errorf("grant %+v names not exactly one principal", g)
			}
		}
		ws.grants = withoutManage(*change.ACL)
	}
	if change.IPLists != nil {
		ws.ipLists = nil
		for i, l := range *change.IPLists {
			if l.Type != "ALLOW" && l.Type != "BLOCK" {
				return stored, errUnknown("list type", l.Type)
			}
			ws.ipLists = append(ws.ipLists, ipList{IPList: l, id: fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1), created: ws.created, by: ws.admin.id})
		}
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
		p.active, p.hideActive = *change.Active, false
	}
	p.hideActive = p.hideActive || change.Hide
	switch {
	case change.Admin == nil:
	case *change.Admin:
		ws.admins.add(p)
	default:
		ws.admins.drop(p.id)
	}
	if change.Removed {
		a.directory.remove(p)
		for _, ws := range a.workspaces {
			ws.admins.drop(p.id)
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

func (a *Account) importToken(ws *workspace, t Token) (*token, error) {
	row := &token{
		created: t.CreationTime, expires: t.ExpiryTime, lastUsed: t.LastUsedDay,
		owner: t.OwnerID, comment: t.Comment, kind: t.Kind, raw: slices.Clone(t.Raw),
	}
	if t.ID == "" {
		row.id = sha256.Sum256([]byte(a.mint("put")))
	} else if id, valid := parseTokenID(t.ID); valid {
		row.id = id
	} else {
		return nil, fmt.Errorf("token_id %q is not 64 hex digits", t.ID)
	}
	if row.owner == 0 {
		row.owner = ws.admin.id
	}
	if row.created == 0 {
		row.created = a.Now().UnixMilli()
	}
	row.creator = a.creator(ws, t)
	if len(t.Scopes)+len(t.InferredScopes)+len(t.BackfillScopes) > 0 || t.AutoscopeState != "" {
		row.scoping = &scoping{
			scopes: slices.Clone(t.Scopes), state: t.AutoscopeState,
			inferred: slices.Clone(t.InferredScopes), backfill: slices.Clone(t.BackfillScopes),
		}
	}
	return row, nil
}

// creator is who the row says made it; it need not exist.
func (a *Account) creator(ws *workspace, t Token) *principal {
	id := t.CreatedByID
	if id == 0 && t.CreatedByUsername == "" {
		return ws.admin
	}
	if p := a.directory.byID[id]; p != nil && (t.CreatedByUsername == "" || p.name == t.CreatedByUsername) {
		return p
	}
	if p := a.directory.named(t.CreatedByUsername); p != nil && id == 0 {
		return p
	}
	return &principal{id: id, name: t.CreatedByUsername}
}

// look reads the state of a workspace, named by id or name; the zero value where
// there is none.
func look[T any](a *Account, where string, read func(*workspace) T) (found T) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if ws := a.find(where); ws != nil {
		found = read(ws)
	}
	return found
}

// Tokens returns the tokens of a workspace in the order of the list.
func (a *Account) Tokens(where string) []Token {
	return look(a, where, func(ws *workspace) []Token { return ws.tokens.export() })
}

func (s *tokenStore) export() []Token {
	list := make([]Token, 0, s.len())
	for t := range s.all() {
		list = append(list, t.export())
	}
	return list
}

// Token returns one token.
func (a *Account) Token(where, id string) (Token, bool) {
	key, _ := parseTokenID(id)
	t := look(a, where, func(ws *workspace) *token { return ws.tokens.get(key) })
	if t == nil {
		return Token{}, false
	}
	return t.export(), true
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
	for t := range ws.tokens.all() {
		counts[cmp.Or(t.kind, "other")]++
	}
	return counts
}

// User is a user or, with Service, a service principal.
type User struct {
	ID          int64
	Name        string // user name, or application id
	DisplayName string
	Service     bool
	Active      bool
}

func (p *principal) export() User {
	return User{ID: p.id, Name: p.name, DisplayName: p.display, Service: p.service, Active: p.active}
}

// Users returns the directory: users first, then service principals.
func (a *Account) Users() []User {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var list []User
	for _, p := range slices.Concat(a.directory.users, a.directory.services) {
		list = append(list, p.export())
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
	a.directory.add(&principal{id: u.ID, name: u.Name, display: u.DisplayName, service: u.Service, active: u.Active})
	return u, nil
}
