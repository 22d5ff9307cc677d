package simulator

import (
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

// within runs a change on a workspace, named by id or name.
func (a *Account) within(ref string, change func(*workspace) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	ws := a.find(ref)
	if ws == nil {
		return errUnknown("workspace", ref)
	}
	return change(ws)
}

// Tokens returns the tokens of a workspace in the order of the list; nil if
// there is no such workspace.
func (a *Account) Tokens(where string) []Token {
	a.mu.RLock()
	defer a.mu.RUnlock()
	ws := a.find(where)
	if ws == nil {
		return nil
	}
	list := make([]Token, 0, ws.tokens.len())
	for t := range ws.tokens.all() {
		list = append(list, t.export())
	}
	return list
}

// Token returns one token.
func (a *Account) Token(where, id string) (Token, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	ws := a.find(where)
	key, valid := parseTokenID(id)
	if ws == nil || !valid {
		return Token{}, false
	}
	t := ws.tokens.get(key)
	if t == nil {
		return Token{}, false
	}
	return t.export(), true
}

// PutToken adds a token, or replaces the one of that id, and returns it as
// stored. An empty id is made up, a missing owner or creator is the workspace's
// admin, and a creation time of 0 is now.
func (a *Account) PutToken(where string, t Token) (Token, error) {
	var stored Token
	err := a.within(where, func(ws *workspace) error {
		row, err := a.importToken(ws, t)
		if err != nil {
			return err
		}
		ws.tokens.put(row)
		stored = row.export()
		return nil
	})
	return stored, err
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

// DeleteToken removes a token, as a person or the service itself would.
func (a *Account) DeleteToken(where, id string) error {
	return a.within(where, func(ws *workspace) error {
		key, valid := parseTokenID(id)
		if !valid || !a.revoke(ws, key) {
			return errUnknown("token", id)
		}
		return nil
	})
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

// principalOf finds a user or service principal by name or id.
func (a *Account) principalOf(ref string) (*principal, error) {
	if p := a.directory.named(ref); p != nil {
		return p, nil
	}
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil && a.directory.byID[id] != nil {
		return a.directory.byID[id], nil
	}
	return nil, errUnknown("user", ref)
}

// SetActive activates or deactivates a user or service principal, named by user
// name, application id or id, in the whole account.
func (a *Account) SetActive(user string, active bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := a.principalOf(user)
	if err != nil {
		return err
	}
	p.active, p.hideActive = active, false
	return nil
}

// HideActive leaves the field "active" of a user or service principal out of
// all answers, as the platform does at times.
func (a *Account) HideActive(user string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := a.principalOf(user)
	if err != nil {
		return err
	}
	p.hideActive = true
	return nil
}

// RemoveUser deletes a user or service principal from the account. The tokens
// stay, owned by nobody.
func (a *Account) RemoveUser(user string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, err := a.principalOf(user)
	if err != nil {
		return err
	}
	a.directory.remove(p)
	for _, ws := range a.workspaces {
		ws.admins.drop(p.id)
	}
	return nil
}

// SetAdmin makes a user or service principal a direct member of the workspace's
// admins, or not.
func (a *Account) SetAdmin(where, user string, admin bool) error {
	return a.within(where, func(ws *workspace) error {
		p, err := a.principalOf(user)
		if err != nil {
			return err
		}
		if admin {
			ws.admins.add(p)
		} else {
			ws.admins.drop(p.id)
		}
		return nil
	})
}

// Conf returns the workspace-conf values that are set.
func (a *Account) Conf(where string) map[string]string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if ws := a.find(where); ws != nil {
		return maps.Clone(ws.conf)
	}
	return nil
}

// SetConf sets a workspace-conf value, unchecked; nil unsets it.
func (a *Account) SetConf(where, key string, value *string) error {
	return a.within(where, func(ws *workspace) error {
		if !slices.Contains(confKeys(), key) {
			return errUnknown("key", key)
		}
		if value == nil {
			delete(ws.conf, key)
		} else {
			ws.conf[key] = *value
		}
		return nil
	})
}

// Grants returns the ACL of tokens without the admins' implied entry.
func (a *Account) Grants(where string) []Grant {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if ws := a.find(where); ws != nil {
		return slices.Clone(ws.grants)
	}
	return nil
}

// SetGrants replaces the ACL of tokens.
func (a *Account) SetGrants(where string, grants []Grant) error {
	return a.within(where, func(ws *workspace) error {
		for _, g := range grants {
			if g.names() != 1 {
				return fmt.Errorf("grant %+v names not exactly one principal", g)
			}
		}
		ws.grants = withoutManage(grants)
		return nil
	})
}

// SetGrantState chooses what the ACL endpoints answer.
func (a *Account) SetGrantState(where string, state GrantState) error {
	return a.within(where, func(ws *workspace) error {
		if !state.valid() {
			return errUnknown("grant state", string(state))
		}
		ws.grantState = state
		return nil
	})
}

// SetAdminsEntry chooses how the ACL lists the admins.
func (a *Account) SetAdminsEntry(where string, entry AdminsEntry) error {
	return a.within(where, func(ws *workspace) error {
		if entry != AdminsExplicit && entry != AdminsInherited && entry != AdminsAbsent {
			return errUnknown("admins entry", string(entry))
		}
		ws.adminsEntry = entry
		return nil
	})
}

// SetNotFound chooses the error code of a token that does not exist.
func (a *Account) SetNotFound(code string) error {
	if code != NotFoundResource && code != NotFoundPlain {
		return errUnknown("error code", code)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notFound = code
	return nil
}

// SetMaxPage bounds the resources on one SCIM page.
func (a *Account) SetMaxPage(size int) error {
	if size < 1 {
		return fmt.Errorf("max_page: %d is less than 1", size)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.maxPage = size
	return nil
}

// SetTokensFeature switches the token APIs off (404 FEATURE_DISABLED) or on. It
// is apart from enableTokensConfig: see docs/simulator.md.
func (a *Account) SetTokensFeature(where string, enabled bool) error {
	return a.within(where, func(ws *workspace) error {
		ws.tokensOff = !enabled
		return nil
	})
}

// SetRestrictAdmins sets restrict_workspace_admins, which makes etags stale.
func (a *Account) SetRestrictAdmins(where, status string) error {
	return a.within(where, func(ws *workspace) error {
		if status != AllowAll && status != RestrictTokensAndJobRuns {
			return errUnknown("status", status)
		}
		ws.restrict.status = status
		ws.restrict.version++
		return nil
	})
}

// IPList is an IP access list.
type IPList struct {
	Label     string   `json:"label"`
	Type      string   `json:"list_type"` // ALLOW, BLOCK
	Addresses []string `json:"ip_addresses"`
	Enabled   bool     `json:"enabled"`
}

// SetIPLists replaces the IP access lists of a workspace.
func (a *Account) SetIPLists(where string, lists []IPList) error {
	return a.within(where, func(ws *workspace) error {
		ws.ipLists = nil
		for i, l := range lists {
			if l.Type != "ALLOW" && l.Type != "BLOCK" {
				return errUnknown("list type", l.Type)
			}
			ws.ipLists = append(ws.ipLists, ipList{
				id: fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1), label: l.Label, kind: l.Type, enabled: l.Enabled,
				addresses: l.Addresses, created: ws.created, by: ws.admin.id,
			})
		}
		return nil
	})
}

// RestrictAdmins returns the status of restrict_workspace_admins.
func (a *Account) RestrictAdmins(where string) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if ws := a.find(where); ws != nil {
		return ws.restrict.status
	}
	return ""
}

// Kinds counts the tokens of a workspace by kind. Tokens that were put there
// later count as "other".
func (a *Account) Kinds(where string) map[string]int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	ws := a.find(where)
	if ws == nil {
		return nil
	}
	return ws.kinds()
}

func (ws *workspace) kinds() map[string]int {
	counts := map[string]int{}
	for t := range ws.tokens.all() {
		kind := t.kind
		if kind == "" {
			kind = "other"
		}
		counts[kind]++
	}
	return counts
}

// SetStatus changes how the account lists a workspace; it answers as before.
func (a *Account) SetStatus(where, status string) error {
	return a.within(where, func(ws *workspace) error {
		ws.status = status
		return nil
	})
}
