package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"iter"
	"net/http"
	"slices"
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

// tokenID is the SHA-256 of a token's value.
type tokenID [sha256.Size]byte

func (id tokenID) String() string { return hex.EncodeToString(id[:]) }

func parseTokenID(s string) (id tokenID, ok bool) {
	if len(s) != 2*len(id) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}

// token is one row. It is never changed once it is in a store: an update puts
// a new one, so that a listing under way keeps seeing what it began with.
type token struct {
	id       tokenID
	created  int64
	expires  int64 // never, or milliseconds
	lastUsed int64 // 0 when never used
	owner    int64
	creator  *principal
	comment  string
	scoping  *scoping // nil when the token has none
	raw      []byte   // sent in place of the row, when set
	kind     string
}

// scoping holds what few tokens have; generated tokens share it.
type scoping struct {
	scopes   []string
	state    string
	inferred []string
	backfill []string
}

func (t *token) expiredAt(now int64) bool { return t.expires != never && t.expires <= now }

func midnight(ms int64) int64 { return ms - ms%dayMillis }

// tokenStore keeps rows in order of arrival.
type tokenStore struct {
	rows  []*token // nil where a row was removed
	index map[tokenID]int
}

func newTokenStore(capacity int) tokenStore {
	return tokenStore{rows: make([]*token, 0, capacity), index: make(map[tokenID]int, capacity)}
}

func (s *tokenStore) get(id tokenID) *token {
	if i, ok := s.index[id]; ok {
		return s.rows[i]
	}
	return nil
}

func (s *tokenStore) put(t *token) {
	if i, ok := s.index[t.id]; ok {
		s.rows[i] = t
		return
	}
	s.index[t.id] = len(s.rows)
	s.rows = append(s.rows, t)
}

func (s *tokenStore) remove(id tokenID) bool {
	i, ok := s.index[id]
	if !ok {
		return false
	}
	s.rows[i] = nil
	delete(s.index, id)
	return true
}

func (s *tokenStore) len() int { return len(s.index) }

func (s *tokenStore) all() iter.Seq[*token] {
	return func(yield func(*token) bool) {
		for _, t := range s.rows {
			if t != nil && !yield(t) {
				return
			}
		}
	}
}

// tokensEnabled tells whether PATs may authenticate and be created.
func tokensEnabled(ws *workspace) bool {
	return !strings.EqualFold(ws.conf["enableTokensConfig"], "false")
}

func (c *call) tokensOff() *answer {
	if !c.ws.tokensOff {
		return nil
	}
	return fail(http.StatusNotFound, "FEATURE_DISABLED", "Personal access tokens are not available in this workspace.")
}

func listTokens(c *call) *answer {
	if off := c.tokensOff(); off != nil {
		return off
	}
	keep, bad := creatorFilter(c)
	if bad != nil {
		return bad
	}
	rows := make([]*token, 0, c.ws.tokens.len())
	for t := range c.ws.tokens.all() {
		if keep(t) {
			rows = append(rows, t)
		}
	}
	rows = shown(c, rows, c.calledBy)
	if len(rows) == 0 {
		return ok(obj{}) // the field is left out, not empty
	}
	format := tokenFormat{workspace: c.ws.id, strings: c.opts.Int64Strings}
	return &answer{
		status: http.StatusOK,
		header: http.Header{"Content-Type": {"application/json"}},
		stream: func(w io.Writer) error { return format.writeList(w, rows) },
	}
}

// calledBy are the names by which a fault may hide a token.
func (c *call) calledBy(t *token) []string {
	names := []string{t.id.String()}
	if t.id == c.bearer {
		names = append(names, "token-in-use")
	}
	if t.owner == c.who.principal.id {
		names = append(names, "own")
	}
	return names
}

// creatorFilter understands the two filters of the list: by creator, not owner.
func creatorFilter(c *call) (keep func(*token) bool, bad *answer) {
	query := c.request.URL.Query()
	name, text := query.Get("created_by_username"), query.Get("created_by_id")
	if text == "" {
		return func(t *token) bool { return name == "" || strings.EqualFold(t.creator.name, name) }, nil
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, invalid("created_by_id is not a number: %s", text)
	}
	return func(t *token) bool {
		return t.creator.id == id && (name == "" || strings.EqualFold(t.creator.name, name))
	}, nil
}

// findToken is the token that the path names, or the 404.
func (c *call) findToken(name string) (*token, *answer) {
	if off := c.tokensOff(); off != nil {
		return nil, off
	}
	if id, ok := parseTokenID(name); ok {
		if t := c.ws.tokens.get(id); t != nil {
			return t, nil
		}
	}
	return nil, c.noToken(name)
}

// noToken is the 404 of a token, in the spelling that the account is set to.
func (c *call) noToken(name string) *answer {
	return fail(http.StatusNotFound, c.notFound, "Token with ID %s does not exist.", name)
}

func (c *call) tokenAnswer(t *token, wrapper string) *answer {
	format := tokenFormat{workspace: c.ws.id, strings: c.opts.Int64Strings}
	row := format.append(nil, t)
	if wrapper != "" {
		row = slices.Concat([]byte(`{"`+wrapper+`":`), row, []byte(`}`))
	}
	return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, body: row}
}

func getToken(c *call) *answer {
	t, missing := c.findToken(c.vars["id"])
	if missing != nil {
		return missing
	}
	return c.tokenAnswer(t, "token_info")
}

func deleteToken(c *call) *answer {
	t, missing := c.findToken(c.vars["id"])
	if missing != nil {
		return missing
	}
	c.revoke(c.ws, t.id)
	return ok(obj{})
}

// revoke removes a token and remembers that its value is no good any more.
func (a *Account) revoke(ws *workspace, id tokenID) bool {
	a.revoked[id] = true
	return ws.tokens.remove(id)
}

func patchToken(c *call) *answer {
	t, missing := c.findToken(c.vars["id"])
	if missing != nil {
		return missing
	}
	return c.update(t)
}

// update applies {"token":{...},"update_mask":"comment,scopes"}.
func (c *call) update(t *token) *answer {
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
	next.raw = nil
	for field := range strings.SplitSeq(strings.ReplaceAll(body.Mask, "*", "comment,scopes"), ",") {
		switch field {
		case "comment":
			next.comment = body.Token.Comment
		case "scopes":
			next.scoping = next.scoping.selecting(body.Token.Scopes)
		default:
			return invalid("update_mask: field %q cannot be updated", field)
		}
	}
	c.ws.tokens.put(&next)
	return c.tokenAnswer(&next, "")
}

// selecting is the scoping after somebody chose scopes by hand.
func (s *scoping) selecting(scopes []string) *scoping {
	next := &scoping{scopes: slices.Clone(scopes)}
	if s != nil {
		next.inferred, next.backfill, next.state = s.inferred, s.backfill, s.state
	}
	if next.state != "" {
		next.state = autoscopeUserSelected
	}
	return next
}

func listOwnTokens(c *call) *answer {
	if off := c.tokensOff(); off != nil {
		return off
	}
	var own []*token
	for t := range c.ws.tokens.all() {
		if t.owner == c.who.principal.id {
			own = append(own, t)
		}
	}
	var rows []obj
	for _, t := range shown(c, own, c.calledBy) {
		rows = append(rows, c.publicInfo(t))
	}
	if len(rows) == 0 {
		return ok(obj{})
	}
	return ok(obj{"token_infos": rows})
}

// publicInfo is what owners see of their tokens: no owner, creator or last use.
func (c *call) publicInfo(t *token) obj {
	row := obj{
		"token_id":      t.id.String(),
		"creation_time": c.int64(t.created),
		"expiry_time":   c.int64(t.expires),
		"comment":       t.comment,
	}
	if s := t.scoping; s != nil {
		for name, list := range map[string][]string{"scopes": s.scopes, "inferred_scopes": s.inferred, "backfill_scopes": s.backfill} {
			if len(list) > 0 {
				row[name] = list
			}
		}
		if s.state != "" {
			row["autoscope_state"] = s.state
		}
	}
	return row
}

// findOwn is the caller's token of that id; other people's do not exist.
func (c *call) findOwn(name string) (*token, *answer) {
	t, missing := c.findToken(name)
	if missing != nil {
		return nil, missing
	}
	if t.owner != c.who.principal.id {
		return nil, c.noToken(name)
	}
	return t, nil
}

func deleteOwnToken(c *call) *answer {
	var body struct {
		ID string `json:"token_id"`
	}
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	t, missing := c.findOwn(body.ID)
	if missing != nil {
		return missing
	}
	if t.expiredAt(c.Now().UnixMilli()) {
		return fail(http.StatusNotFound, c.notFound, "No valid token with ID %s found.", body.ID)
	}
	c.revoke(c.ws, t.id)
	return ok(obj{})
}

func patchOwnToken(c *call) *answer {
	t, missing := c.findOwn(c.vars["id"])
	if missing != nil {
		return missing
	}
	if reply := c.update(t); reply.status != http.StatusOK {
		return reply
	}
	return ok(obj{})
}
