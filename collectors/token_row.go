package collectors

import (
	"encoding/json"
	"slices"
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
	defect := func(key, reason string) {
		if !slices.ContainsFunc(t.Defects, func(known engine.Defect) bool { return known.Field == key }) {
			t.Defects = append(t.Defects, engine.Defect{Field: key, Reason: reason, Value: cut(o.members[key])})
		}
	}
	r := fields{o, defect}
	timestamp := func(key string, latest int64) *int64 {
		n, ok := asInt(r.member(key))
		switch {
		case !ok:
			defect(key, reasonBadType)
			return nil
		case n < w.from || n > latest:
			defect(key, reasonBadTimestamp)
			return nil
		}
		return &n
	}
	for _, key := range o.twice {
		defect(key, reasonDuplicateKey)
	}
	if t.ID = r.text("token_id"); t.ID == "" {
		return t, false
	}
	t.Raw = json.RawMessage(raw)
	t.Comment = r.text("comment")
	if absent(r.member("creation_time")) {
		defect("creation_time", reasonMissing)
	} else {
		t.Created = timestamp("creation_time", w.now)
	}
	// Never (-1) is not unknown: the platform does not say what an absent or zero
	// expiry means.
	expiry := r.member("expiry_time")
	switch n, ok := asInt(expiry); {
	case absent(expiry), ok && n == 0:
		defect("expiry_time", reasonMissing)
	case ok && n == engine.NeverExpires:
		t.Expires = new(engine.NeverExpires)
	default:
		t.Expires = timestamp("expiry_time", w.to)
	}
	if !absent(o.members["last_used_day"]) {
		t.LastUsed = timestamp("last_used_day", w.now)
	}
	t.CreatorID = r.id("created_by_id")
	t.CreatorName = r.text("created_by_username")
	t.OwnerID = r.id("owner_id")
	if t.OwnerID == "" && absent(o.members["owner_id"]) {
		t.OwnerID, t.CreatorID = namedOwner(r.text(ownerNameKey), t)
	}
	if t.OwnerID == "" { // most policies ask about it
		defect("owner_id", reasonMissing)
	}
	t.Scopes = r.texts("scopes")
	t.AutoscopeState = r.text("autoscope_state")
	t.InferredScopes = r.texts("inferred_scopes")
	t.BackfillScopes = r.texts("backfill_scopes")
	var known [][2]string
	if json.Unmarshal(o.members[ownDefectsKey], &known) == nil {
		for _, found := range known {
			defect(found[0], found[1])
		}
	}
	return t, true
}

// namedOwner is for a report that was exported, which names owners instead of
// numbering them: their names stand in for ids, and the creator's with them. A name
// is not compared with a number, nor an address with any other name.
func namedOwner(name string, t engine.Token) (owner, creator string) {
	switch {
	case name == "":
		return "", t.CreatorID
	case strings.EqualFold(t.CreatorName, name):
		return name, name
	case signInName(t.CreatorName) && signInName(name):
		return name, t.CreatorName
	}
	return name, ""
}

func cut(raw []byte) string {
	const most = 64
	if len(raw) > most {
		raw = raw[:most]
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD")
}

// signInName reports whether somebody signs in by a name: an address, or the
// application id of a service principal.
func signInName(name string) bool {
	return strings.Contains(name, "@") || uuid.MatchString(name)
}

// What a file says that no answer does is our own addition to the rows that come
// from it.
const (
	ownerNameKey     = "owner_username"
	workspaceIDKey   = "workspace_id"
	workspaceNameKey = "workspace_name"
	neverUsedKey     = "never_used"     // true: an absent last use means that there was none
	ownDefectsKey    = "defects_before" // what could not be read when patrol wrote the file: [field, reason] each
)

// unknownFields gathers what rows of tokens hold that this patrol does not know: the
// platform has learned something, or the answer comes from somewhere else. The
// rows keep it as it came.
type unknownFields map[string]bool

// mostUnknown bounds what is gathered: a row may have any number of fields.
const mostUnknown = 50

func (u unknownFields) note(o object, t engine.Token) {
	add := func(what string) {
		if len(u) < mostUnknown {
			u[engine.SafeText(cut([]byte(what)))] = true
		}
	}
	for key := range o.members {
		switch key {
		case "token_id", "comment", "creation_time", "expiry_time", "last_used_day", "owner_id", "created_by_id", "created_by_username",
			"scopes", "autoscope_state", "inferred_scopes", "backfill_scopes", workspaceIDKey, workspaceNameKey, ownerNameKey, neverUsedKey, ownDefectsKey:
		default:
			add("field " + key)
		}
	}
	if engine.AutoscopeState(t.AutoscopeState) == nil {
		add("autoscope_state " + t.AutoscopeState)
	}
}

// warnOfUnknown reports what was not reported in this run yet.
func (c *Client) warnOfUnknown(u unknownFields) {
	var fresh []string
	for _, what := range engine.SortedKeys(u) {
		if c.o.reported.first("unknown " + what) {
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
