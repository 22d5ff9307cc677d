package simulator

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
	// The two filters are by creator, not owner.
	query := c.request.URL.Query()
	name, text := query.Get("created_by_username"), query.Get("created_by_id")
	id, err := strconv.ParseInt(text, 10, 64)
	if text != "" && err != nil {
		return invalid("created_by_id is not a number: %s", text)
	}
	rows := make([]*token, 0, c.ws.tokens.len())
	for t := range c.ws.tokens.all() {
		if (text == "" || t.creator.id == id) && (name == "" || strings.EqualFold(t.creator.name, name)) {
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
			chosen := scoping{}
			if next.scoping != nil {
				chosen = *next.scoping
			}
			if chosen.scopes = slices.Clone(body.Token.Scopes); chosen.state != "" {
				chosen.state = autoscopeUserSelected
			}
			next.scoping = &chosen
		default:
			return invalid("update_mask: field %q cannot be updated", field)
		}
	}
	c.ws.tokens.put(&next)
	return c.tokenAnswer(&next, "")
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

// createRequest is the body of both ways to create a token.
type createRequest struct {
	ApplicationID    string   `json:"application_id"`
	Comment          string   `json:"comment"`
	LifetimeSeconds  *int64   `json:"lifetime_seconds"`
	Scopes           []string `json:"scopes"`
	AutoscopeEnabled bool     `json:"autoscope_enabled"`
}

func createOwnToken(c *call) *answer {
	var body createRequest
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	t, value, refused := c.create(body, c.who.principal, platformDays*dayMillis)
	if refused != nil {
		return refused
	}
	return ok(obj{"token_value": value, "token_info": c.publicInfo(t)})
}

func createOnBehalf(c *call) *answer {
	var body createRequest
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	p := c.directory.named(body.ApplicationID)
	if p == nil || !p.service || c.ws.outside[p.id] {
		return gone("Service principal with application ID %q does not exist.", body.ApplicationID)
	}
	t, value, refused := c.create(body, p, never)
	if refused != nil {
		return refused
	}
	info := c.tokenAnswer(t, "token_info").body
	secret := appendString([]byte(`{"token_value":`), value)
	return &answer{
		status: http.StatusOK,
		header: http.Header{"Content-Type": {"application/json"}},
		body:   slices.Concat(secret, []byte(`,`), info[1:]),
	}
}

// create stores a new token for p. unlimited is the lifetime, in milliseconds
// or never, of a request that names none.
func (c *call) create(body createRequest, p *principal, unlimited int64) (*token, string, *answer) {
	if off := c.tokensOff(); off != nil {
		return nil, "", off
	}
	now, live := c.Now().UnixMilli(), 0
	for t := range c.ws.tokens.all() {
		if t.owner == p.id && !t.expiredAt(now) {
			live++
		}
	}
	switch {
	case !tokensEnabled(c.ws):
		return nil, "", fail(http.StatusBadRequest, "FEATURE_DISABLED", "Personal access tokens are disabled in this workspace.")
	case !c.directory.canUse(c.ws, p):
		return nil, "", fail(http.StatusForbidden, "PERMISSION_DENIED", "'%s' has no permission to use tokens.", p.name)
	case body.LifetimeSeconds != nil && *body.LifetimeSeconds <= 0:
		return nil, "", invalid("Invalid timeout: %d", *body.LifetimeSeconds)
	case live >= tokenQuota:
		return nil, "", fail(http.StatusBadRequest, "QUOTA_EXCEEDED", "Token quota exceeded (%d tokens)", tokenQuota)
	}
	limit := int64(platformDays)
	days, err := strconv.ParseInt(c.ws.conf["maxTokenLifetimeDays"], 10, 64)
	limited := err == nil && days > 0
	if limited {
		limit = days
	}
	limit *= dayMillis
	lifetime := unlimited
	switch {
	case body.LifetimeSeconds == nil && limited:
		lifetime = limit
	case body.LifetimeSeconds == nil:
	case *body.LifetimeSeconds > limit/1000:
		return nil, "", invalid("Token lifetime exceeds the maximum of %d days.", limit/dayMillis)
	default:
		lifetime = *body.LifetimeSeconds * 1000
	}
	value := c.mint("dapi")
	t := &token{
		id: sha256.Sum256([]byte(value)), created: now, expires: never,
		owner: p.id, creator: c.who.principal, comment: body.Comment,
	}
	if lifetime != never {
		t.expires = now + lifetime
	}
	if len(body.Scopes) > 0 || body.AutoscopeEnabled {
		t.scoping = &scoping{scopes: body.Scopes}
		if body.AutoscopeEnabled {
			t.scoping.state = autoscopeRunning
		}
	}
	c.ws.tokens.put(t)
	if c.ws.grantState == GrantsNotInitialised {
		c.ws.grantState = GrantsInitialised // the first PAT creates the ACL
	}
	return t, value, nil
}

// mint makes the next credential; the sequence follows from the seed.
func (a *Account) mint(prefix string) string {
	a.issued++
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%d", a.opts.Seed, prefix, a.issued))
	return prefix + hex.EncodeToString(sum[:16])
}

// tokenFormat writes rows by hand: a list of a million is sent as it is made.
type tokenFormat struct {
	workspace int64
	strings   bool
}

func (f tokenFormat) writeList(w io.Writer, rows []*token) error {
	out := bufio.NewWriterSize(w, 64<<10)
	if _, err := out.WriteString(`{"token_infos":[`); err != nil {
		return err
	}
	var row []byte
	for i, t := range rows {
		row = row[:0]
		if i > 0 {
			row = append(row, ',')
		}
		row = f.append(row, t)
		if _, err := out.Write(row); err != nil {
			return err
		}
	}
	if _, err := out.WriteString(`]}`); err != nil {
		return err
	}
	return out.Flush()
}

func (f tokenFormat) append(b []byte, t *token) []byte {
	if t.raw != nil {
		return append(b, t.raw...)
	}
	b = append(b, `{"token_id":"`...)
	b = hex.AppendEncode(b, t.id[:])
	b = f.appendInt(append(b, `","creation_time":`...), t.created)
	b = f.appendInt(append(b, `,"expiry_time":`...), t.expires)
	b = appendString(append(b, `,"comment":`...), t.comment)
	b = f.appendInt(append(b, `,"created_by_id":`...), t.creator.id)
	b = appendString(append(b, `,"created_by_username":`...), t.creator.name)
	b = f.appendInt(append(b, `,"owner_id":`...), t.owner)
	b = f.appendInt(append(b, `,"workspace_id":`...), f.workspace)
	if t.lastUsed != 0 {
		b = f.appendInt(append(b, `,"last_used_day":`...), t.lastUsed)
	}
	s := t.scoping
	if s == nil {
		s = &scoping{}
	}
	// A current workspace tells the scopes of every token, also that there are none.
	b = appendStrings(append(b, `,"scopes":`...), s.scopes)
	b = appendString(append(b, `,"autoscope_state":`...), cmp.Or(s.state, "AUTOSCOPE_STATE_UNSPECIFIED"))
	if len(s.inferred) > 0 {
		b = appendStrings(append(b, `,"inferred_scopes":`...), s.inferred)
	}
	if len(s.backfill) > 0 {
		b = appendStrings(append(b, `,"backfill_scopes":`...), s.backfill)
	}
	return append(b, '}')
}

func (f tokenFormat) appendInt(b []byte, v int64) []byte {
	if !f.strings {
		return strconv.AppendInt(b, v, 10)
	}
	b = strconv.AppendInt(append(b, '"'), v, 10)
	return append(b, '"')
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendString quotes s as JSON. Bytes above ASCII go out as they are, invalid
// UTF-8 included: what was stored is what a client must cope with.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		ch := s[i]
		if ch >= ' ' && ch != '"' && ch != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch ch {
		case '"', '\\':
			b = append(b, '\\', ch)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', digits[ch>>4], digits[ch&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
