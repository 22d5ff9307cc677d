package simulator

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

const (
	dayMillis = 24 * 60 * 60 * 1000
	// platformDays is the longest lifetime when the workspace sets none.
	platformDays = 730
	// tokenQuota is how many unexpired tokens one owner may hold.
	tokenQuota = 600
	never      = -1
)

// Token is a token, in the words of the API. One that is stored is never changed:
// an update stores another, so that a listing under way keeps seeing what it
// began with.
type Token struct {
	ID                string   `json:"token_id"` // SHA-256 of its value in 64 hex digits; PutToken makes one up when empty
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
	// Kind says why a generated token is as it is. It is never on the wire.
	Kind string `json:"kind,omitempty"`
	// Raw, when set, is sent in place of the row, so that a test can serve what no
	// service should: wrong types, missing or unknown fields.
	Raw json.RawMessage `json:"raw,omitempty"`
}

func (t *Token) expiredAt(now int64) bool { return t.ExpiryTime != never && t.ExpiryTime <= now }

func midnight(ms int64) int64 { return ms - ms%dayMillis }

// tokenIDOf is the id of the token of that value.
func tokenIDOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// tokenStore keeps tokens in order of arrival.
type tokenStore struct {
	rows  []*Token // nil where one was removed
	index map[string]int
}

func (s *tokenStore) get(id string) *Token {
	if i, ok := s.index[id]; ok {
		return s.rows[i]
	}
	return nil
}

func (s *tokenStore) put(t *Token) {
	if i, ok := s.index[t.ID]; ok {
		s.rows[i] = t
		return
	}
	s.index[t.ID] = len(s.rows)
	s.rows = append(s.rows, t)
}

// list are those that meet a condition.
func (s *tokenStore) list(meets func(*Token) bool) []*Token {
	list := make([]*Token, 0, len(s.index))
	for _, t := range s.rows {
		if t != nil && meets(t) {
			list = append(list, t)
		}
	}
	return list
}

func (s *tokenStore) all() []*Token { return s.list(func(*Token) bool { return true }) }

// revoke removes a token and remembers that its value is no good any more.
func (a *Account) revoke(ws *workspace, id string) bool {
	a.revoked[id] = true
	i, ok := ws.tokens.index[id]
	if ok {
		ws.tokens.rows[i] = nil
		delete(ws.tokens.index, id)
	}
	return ok
}

// mint makes the next credential; the sequence follows from the seed.
func (a *Account) mint(prefix string) string {
	a.issued++
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%d", a.opts.Seed, prefix, a.issued))
	return prefix + hex.EncodeToString(sum[:16])
}

// tokensEnabled reports whether PATs may authenticate and be created.
func tokensEnabled(ws *workspace) bool {
	return !strings.EqualFold(ws.conf["enableTokensConfig"], "false")
}

func listTokens(c *call) *answer {
	// The two filters are by creator, not owner.
	query := c.request.URL.Query()
	name, text := query.Get("created_by_username"), query.Get("created_by_id")
	id, err := strconv.ParseInt(text, 10, 64)
	if text != "" && err != nil {
		return invalid("created_by_id is not a number: %s", text)
	}
	rows := c.ws.tokens.list(func(t *Token) bool {
		return (text == "" || t.CreatedByID == id) && (name == "" || strings.EqualFold(t.CreatedByUsername, name))
	})
	rows = visible(c, rows, c.calledBy)
	if len(rows) == 0 {
		return ok(obj{}) // the field is left out, not empty
	}
	return &answer{
		status: http.StatusOK,
		header: http.Header{"Content-Type": {"application/json"}},
		stream: func(w io.Writer) error { // a list of a million is sent as it is made
			out := bufio.NewWriterSize(w, 64<<10)
			separator := `{"token_infos":[`
			for _, t := range rows {
				_, _ = out.WriteString(separator)        // an error stays
				_, _ = out.Write(encode(c.tokenInfo(t))) // until Flush returns it
				separator = ","
			}
			_, _ = out.WriteString(`]}`)
			return out.Flush()
		},
	}
}

// calledBy are the names by which a fault may hide a token.
func (c *call) calledBy(t *Token) []string {
	names := []string{t.ID}
	if t.ID == c.bearer {
		names = append(names, "token-in-use")
	}
	if t.OwnerID == c.who.principal.ID {
		names = append(names, "own")
	}
	return names
}

// tokenInfo is what admins see of a token: a current workspace names the scopes of
// every token, also that there are none. Owners see of theirs neither owner,
// creator nor last use.
func (c *call) tokenInfo(t *Token) any {
	own := c.route.access == caller
	if t.Raw != nil && !own {
		return t.Raw
	}
	row := struct {
		ID          string   `json:"token_id"`
		Created     any      `json:"creation_time"`
		Expires     any      `json:"expiry_time"`
		Comment     string   `json:"comment"`
		CreatorID   any      `json:"created_by_id,omitempty"`
		CreatorName any      `json:"created_by_username,omitempty"`
		Owner       any      `json:"owner_id,omitempty"`
		Workspace   any      `json:"workspace_id,omitempty"`
		LastUsed    any      `json:"last_used_day,omitempty"`
		Scopes      []string `json:"scopes,omitzero"`
		State       string   `json:"autoscope_state,omitempty"`
		Inferred    []string `json:"inferred_scopes,omitempty"`
		Backfill    []string `json:"backfill_scopes,omitempty"`
	}{
		ID: t.ID, Created: c.int64(t.CreationTime), Expires: c.int64(t.ExpiryTime), Comment: t.Comment,
		State: t.AutoscopeState, Inferred: t.InferredScopes, Backfill: t.BackfillScopes,
	}
	if len(t.Scopes) > 0 {
		row.Scopes = t.Scopes
	}
	if own {
		return row
	}
	row.CreatorID, row.CreatorName, row.Owner, row.Workspace = c.int64(t.CreatedByID), t.CreatedByUsername, c.int64(t.OwnerID), c.int64(c.ws.ID)
	if t.LastUsedDay != 0 {
		row.LastUsed = c.int64(t.LastUsedDay)
	}
	if row.Scopes == nil {
		row.Scopes = []string{}
	}
	row.State = cmp.Or(row.State, "AUTOSCOPE_STATE_UNSPECIFIED")
	return row
}

// findToken is the token of that id, or the 404, in the spelling that the account
// is set to. To owners other people's tokens do not exist.
func (c *call) findToken(id string) (*Token, *answer) {
	t := c.ws.tokens.get(id)
	if t == nil || c.route.access == caller && t.OwnerID != c.who.principal.ID {
		return nil, fail(http.StatusNotFound, c.opts.NotFound, "Token with ID %s does not exist.", id)
	}
	return t, nil
}

func getToken(c *call) *answer {
	t, missing := c.findToken(c.request.PathValue("id"))
	if missing != nil {
		return missing
	}
	return ok(obj{"token_info": c.tokenInfo(t)})
}

func deleteToken(c *call) *answer {
	t, missing := c.findToken(c.request.PathValue("id"))
	if missing != nil {
		return missing
	}
	c.revoke(c.ws, t.ID)
	c.note("revokeDbToken", map[string]string{"tokenId": t.ID})
	return ok(obj{})
}

// patchToken applies {"token":{...},"update_mask":"comment,scopes"}.
func patchToken(c *call) *answer {
	t, missing := c.findToken(c.request.PathValue("id"))
	if missing != nil {
		return missing
	}
	var body struct {
		Token struct {
			Comment string   `json:"comment"`
			Scopes  []string `json:"scopes"`
		} `json:"token"`
		Mask string `json:"update_mask"`
	}
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	next := *t
	next.Raw = nil
	for field := range strings.SplitSeq(strings.ReplaceAll(body.Mask, "*", "comment,scopes"), ",") {
		switch field {
		case "comment":
			next.Comment = body.Token.Comment
		case "scopes":
			if next.Scopes = body.Token.Scopes; next.AutoscopeState != "" {
				next.AutoscopeState = autoscopeUserSelected
			}
		default:
			return invalid("update_mask: field %q cannot be updated", field)
		}
	}
	c.ws.tokens.put(&next)
	if c.route.access == caller {
		return ok(obj{})
	}
	return ok(c.tokenInfo(&next))
}

func listOwnTokens(c *call) *answer {
	own := c.ws.tokens.list(func(t *Token) bool { return t.OwnerID == c.who.principal.ID })
	var rows []any
	for _, t := range visible(c, own, c.calledBy) {
		rows = append(rows, c.tokenInfo(t))
	}
	if rows == nil {
		return ok(obj{})
	}
	return ok(obj{"token_infos": rows})
}

func deleteOwnToken(c *call) *answer {
	var body struct {
		ID string `json:"token_id"`
	}
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	t, missing := c.findToken(body.ID)
	if missing != nil {
		return missing
	}
	if t.expiredAt(c.Now().UnixMilli()) {
		return fail(http.StatusNotFound, c.opts.NotFound, "No valid token with ID %s found.", body.ID)
	}
	c.revoke(c.ws, t.ID)
	c.note("revokeDbToken", map[string]string{"tokenId": t.ID})
	return ok(obj{})
}

// createToken makes a token for the caller, or for a service principal on behalf
// of which an admin asks.
func createToken(c *call) *answer {
	var body struct {
		ApplicationID    string   `json:"application_id"`
		Comment          string   `json:"comment"`
		LifetimeSeconds  *int64   `json:"lifetime_seconds"`
		Scopes           []string `json:"scopes"`
		AutoscopeEnabled bool     `json:"autoscope_enabled"`
	}
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	owner, onBehalf := c.who.principal, c.route.access == admin
	if onBehalf {
		owner = c.directory.named(body.ApplicationID)
		if owner == nil || !owner.Service || c.ws.outside == owner.ID {
			return gone("Service principal with application ID %q does not exist.", body.ApplicationID)
		}
	}
	now := c.Now().UnixMilli()
	live := c.ws.tokens.list(func(t *Token) bool { return t.OwnerID == owner.ID && !t.expiredAt(now) })
	limit, limited := int64(platformDays*dayMillis), false
	if days, err := strconv.ParseInt(c.ws.conf["maxTokenLifetimeDays"], 10, 64); err == nil && days > 0 {
		limit, limited = days*dayMillis, true
	}
	switch {
	case !tokensEnabled(c.ws):
		return fail(http.StatusBadRequest, "FEATURE_DISABLED", "Personal access tokens are disabled in this workspace.")
	case !c.directory.canUse(c.ws, owner):
		return c.forbid("'%s' has no permission to use tokens.", owner.Name)
	case body.LifetimeSeconds != nil && *body.LifetimeSeconds <= 0:
		return invalid("Invalid timeout: %d", *body.LifetimeSeconds)
	case len(live) >= tokenQuota:
		return fail(http.StatusBadRequest, "QUOTA_EXCEEDED", "Token quota exceeded (%d tokens)", tokenQuota)
	case body.LifetimeSeconds != nil && *body.LifetimeSeconds > limit/1000:
		return invalid("Token lifetime exceeds the maximum of %d days.", limit/dayMillis)
	}
	value := c.mint("dapi")
	t := &Token{
		ID: tokenIDOf(value), CreationTime: now, ExpiryTime: now + limit, OwnerID: owner.ID, Comment: body.Comment, Scopes: body.Scopes,
		CreatedByID: c.who.principal.ID, CreatedByUsername: c.who.principal.Name,
	}
	switch {
	case body.LifetimeSeconds != nil:
		t.ExpiryTime = now + *body.LifetimeSeconds*1000
	case onBehalf && !limited:
		t.ExpiryTime = never
	}
	if body.AutoscopeEnabled {
		t.AutoscopeState = autoscopeRunning
	}
	c.ws.tokens.put(t)
	if c.ws.grantState == GrantsNotInitialised {
		c.ws.grantState = GrantsInitialised // the first PAT creates the ACL
	}
	return ok(obj{"token_value": value, "token_info": c.tokenInfo(t)})
}
