package collectors

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"patrol/engine"
)

// window is the time in which timestamps of tokens can lie, in ms. A value
// outside is not scaled or guessed at: it is unknown. Tokens from before the
// platform had a longest lifetime may end decades ahead.
type window struct{ from, now, to int64 }

func windowAt(now time.Time) window {
	return window{
		from: time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(),
		now:  now.AddDate(0, 0, 2).UnixMilli(), // clocks differ
		to:   now.AddDate(100, 0, 0).UnixMilli(),
	}
}

// rowDecoder reads the members of a token's row and notes what it cannot read.
type rowDecoder struct {
	object
	window
	token *engine.Token
}

// decodeToken reads a row of a token list, which is valid JSON. ok is false
// if it tells no id, so that it cannot be told from others.
func decodeToken(raw []byte, w window) (t engine.Token, ok bool) {
	o, isObject := parseObject(raw)
	if !isObject {
		return t, false
	}
	return decodeRow(raw, o, w)
}

func decodeRow(raw []byte, o object, w window) (t engine.Token, ok bool) {
	d := rowDecoder{o, w, &t}
	for _, key := range d.twice {
		d.defect(key, reasonDuplicateKey)
	}
	t.ID = d.text("token_id")
	if t.ID == "" {
		return t, false
	}
	t.Raw = json.RawMessage(raw)
	t.Comment = d.text("comment")
	t.Created = d.created()
	t.Expires = d.expires()
	t.LastUsed = d.lastUsed()
	t.CreatorID = d.id("created_by_id")
	t.CreatorName = d.text("created_by_username")
	t.OwnerID = d.owner()
	t.Scopes = d.texts("scopes")
	t.AutoscopeState = d.text("autoscope_state")
	t.InferredScopes = d.texts("inferred_scopes")
	t.BackfillScopes = d.texts("backfill_scopes")
	var known [][2]string
	if json.Unmarshal(d.members[ownDefectsKey], &known) == nil {
		for _, defect := range known {
			d.defect(defect[0], defect[1])
		}
	}
	return t, true
}

// member is a value; a key that occurs twice has none.
func (d rowDecoder) member(key string) json.RawMessage {
	for _, twice := range d.twice {
		if twice == key {
			return nil
		}
	}
	return d.members[key]
}

func (d rowDecoder) defect(key, reason string) {
	for _, known := range d.token.Defects {
		if known.Field == key {
			return
		}
	}
	d.token.Defects = append(d.token.Defects, engine.Defect{Field: key, Reason: reason, Value: cut(d.members[key])})
}

func cut(raw []byte) string {
	const most = 64
	if len(raw) > most {
		raw = raw[:most]
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD")
}

func (d rowDecoder) text(key string) string {
	text, ok := asText(d.member(key))
	if !ok {
		d.defect(key, reasonBadType)
	}
	return text
}

func (d rowDecoder) texts(key string) []string {
	texts, ok := asTexts(d.member(key))
	if !ok {
		d.defect(key, reasonBadType)
	}
	return texts
}

func (d rowDecoder) id(key string) string {
	id, ok := asID(d.member(key))
	if !ok {
		d.defect(key, reasonBadType)
	}
	return id
}

// owner is what most policies ask about, so that its absence is a defect. A
// report that was exported names owners instead of numbering them; then their
// names stand in for ids, and the creator's with them: a name is not compared
// with a number, nor an address with any other name.
func (d rowDecoder) owner() string {
	const key = "owner_id"
	if id := d.id(key); id != "" || !absent(d.members[key]) {
		if id == "" {
			d.defect(key, reasonMissing)
		}
		return id
	}
	name := d.text(ownerNameKey)
	if name == "" {
		d.defect(key, reasonMissing)
		return ""
	}
	d.token.CreatorID = ""
	switch creator := d.token.CreatorName; {
	case strings.EqualFold(creator, name):
		d.token.CreatorID = name
	case signInName(creator) && signInName(name):
		d.token.CreatorID = creator
	}
	return name
}

// signInName reports whether somebody signs in by a name: an address, or the
// application id of a service principal.
func signInName(name string) bool {
	return strings.Contains(name, "@") || applicationID.MatchString(name)
}

var applicationID = regexp.MustCompile(`^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// What a file says that no answer does is our own addition to the rows that come
// from it.
const (
	ownerNameKey     = "owner_username"
	workspaceIDKey   = "workspace_id"
	workspaceNameKey = "workspace_name"
	neverUsedKey     = "never_used"     // true: an absent last use means that there was none
	ownDefectsKey    = "defects_before" // what could not be read when patrol wrote the file: [field, reason] each
)

func (d rowDecoder) created() *int64 {
	const key = "creation_time"
	if absent(d.member(key)) {
		d.defect(key, reasonMissing)
		return nil
	}
	return d.timestamp(key, d.now)
}

// expires tells never (-1) from unknown: the platform does not say what an
// absent or zero expiry means.
func (d rowDecoder) expires() *int64 {
	const key = "expiry_time"
	raw := d.member(key)
	if absent(raw) {
		d.defect(key, reasonMissing)
		return nil
	}
	switch n, ok := asInt(raw); {
	case ok && n == engine.NeverExpires:
		return new(engine.NeverExpires)
	case ok && n == 0:
		d.defect(key, reasonMissing)
		return nil
	}
	return d.timestamp(key, d.to)
}

func (d rowDecoder) lastUsed() *int64 {
	const key = "last_used_day"
	if raw, given := d.members[key]; given && !absent(raw) {
		return d.timestamp(key, d.now)
	}
	return nil
}

func (d rowDecoder) timestamp(key string, latest int64) *int64 {
	n, ok := asInt(d.member(key))
	switch {
	case !ok:
		d.defect(key, reasonBadType)
		return nil
	case n < d.from || n > latest:
		d.defect(key, reasonBadTimestamp)
		return nil
	}
	return &n
}

// strange gathers what rows of tokens hold that this patrol does not know: the
// platform has learned something, or the answer comes from somewhere else. The
// rows keep it as it came.
type strange map[string]bool

// mostStrange bounds what is gathered: a row may have any number of fields.
const mostStrange = 50

func (s strange) note(o object, t engine.Token) {
	for key := range o.members {
		if !knownField(key) {
			s.add("field " + key)
		}
	}
	if engine.AutoscopeState(t.AutoscopeState) == nil {
		s.add("autoscope_state " + t.AutoscopeState)
	}
}

func (s strange) add(what string) {
	if len(s) < mostStrange {
		s[engine.SafeText(string(cut([]byte(what))))] = true
	}
}

func knownField(key string) bool {
	switch key {
	case "token_id", "comment", "creation_time", "expiry_time", "last_used_day", "owner_id", "created_by_id", "created_by_username",
		"scopes", "autoscope_state", "inferred_scopes", "backfill_scopes", workspaceIDKey, workspaceNameKey, ownerNameKey, neverUsedKey, ownDefectsKey:
		return true
	}
	return false
}

// tellStrange tells of what nobody was told of in this run.
func (c *Client) tellStrange(s strange) {
	var fresh []string
	for _, what := range engine.SortedKeys(s) {
		if c.o.told.first("strange " + what) {
			fresh = append(fresh, what)
		}
	}
	if len(fresh) == 0 {
		return
	}
	const most = 5
	shown := strings.Join(fresh[:min(len(fresh), most)], ", ")
	if len(fresh) > most {
		shown += ", …"
	}
	c.event(Event{Kind: EventWarning, Reason: "unknown_field",
		Detail: "tokens have what this patrol does not know, and no policy sees: " + shown + "; it is kept as it came. A newer patrol may know it"})
}
