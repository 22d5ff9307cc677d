package collectors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"patrol/engine"
)

// tokenList is a token list in a spool with an index of its rows. The index
// takes 40 bytes per row, so that a million tokens fit in little memory, and
// rows come out in the order of their ids however often they are asked for.
type tokenList struct {
	body   *spool
	window window
	rows   []rowRef
	tally  tally
	unsure map[int64]bool // rows (by place) that another row of the same id contradicts

	given     map[string]bool // optional fields of which some row tells something
	notListed []string        // those of which none does
	seen      *tokensSeen     // of a workspace's own list; nil for a file
	bare      bool            // a list without an object around it, as no workspace answers

	inUse string // id of the token that signs in; "" where that is not known
	today int64  // ms: the day on which it did
}

// rowRef is where a row lies, and the beginning of its id to sort by.
type rowRef struct {
	prefix [16]byte
	at     int64
	used   int64 // ms: last use; or one of these:
	size   uint32
}

const (
	neverUsed  = 0
	useUnknown = -1
)

func newTokenList(body *spool, w window) *tokenList {
	return &tokenList{body: body, window: w, unsure: map[int64]bool{}, given: map[string]bool{}}
}

// readTokenList indexes the list that an answer holds.
func readTokenList(ctx context.Context, what string, body *spool, w window, seen *tokensSeen) (*tokenList, *Problem) {
	l := newTokenList(body, w)
	l.seen = seen
	var problem *Problem
	l.bare, problem = readRows(what, cancellable(ctx, body.Reader()), []string{"token_infos"}, func(raw json.RawMessage, at int64) error {
		if !l.add(raw, at, 0) {
			l.tally.add(reasonMissingID, "row at byte %d has no usable token_id", at)
		}
		return nil
	})
	if problem != nil {
		return nil, problem
	}
	return l, l.finish(what)
}

// Why an answer is not the whole list, though it came with status 200.
var (
	errNoList = errors.New("it is neither a list")
	errTwice  = errors.New("a key occurs twice")
	errMore   = errors.New("it says that there is more than it holds")
	errTotal  = errors.New("its total is not that of its rows")
)

// readRows takes the rows of a token list, with where they begin: of a bare list, or
// of an object that has one of these.
func readRows(what string, from io.Reader, lists []string, take func(raw json.RawMessage, at int64) error) (bare bool, problem *Problem) {
	decoder := json.NewDecoder(from)
	n := int64(0)
	members, listed, err := streamRows(decoder, lists, func(raw json.RawMessage, end int64) error {
		n++
		return take(raw, end-int64(len(raw)))
	})
	for _, name := range engine.SortedKeys(members) {
		if err == nil && marksMore(name, members[name]) {
			err = fmt.Errorf("%w: %s", errMore, name)
		}
	}
	for _, key := range []string{"total_count", "totalCount", "total", "totalResults"} {
		switch total, ok := asInt(members[key]); {
		case !ok || err != nil:
		case total > n:
			err = fmt.Errorf("%w: a total of %d", errMore, total)
		case total < n:
			err = fmt.Errorf("%w: %d announced, %d read", errTotal, total, n)
		}
	}
	refused := !absent(members["error_code"]) || !absent(members["detail"])
	if err == nil && (refused || !listed && len(members) > 0) { // {} is an empty list; anything else is something else
		err = fmt.Errorf("%w nor an object with %s", errNoList, lists[0])
	}
	if err == nil {
		err = atEnd(decoder)
	}
	if err != nil {
		return false, badJSON(what, err)
	}
	return members == nil, nil
}

// streamRows reads a JSON value of any number of rows, and hands them over with
// where they end. It is a bare list, or an object that has one of the lists, named
// as token_infos or, in an object within, result.data_array; null is no row. The
// object's other members are returned; nil for a bare list.
func streamRows(decoder *json.Decoder, lists []string, take func(raw json.RawMessage, end int64) error) (members map[string]json.RawMessage, listed bool, err error) {
	var value func(path string) error
	value = func(path string) error {
		start, err := decoder.Token()
		isList := path == "" || slices.Contains(lists, path)
		switch {
		case err != nil:
			return err
		case isList && start == json.Delim('['):
			var raw json.RawMessage
			for decoder.More() {
				if err := decoder.Decode(&raw); err != nil {
					return err
				}
				if err := take(raw, decoder.InputOffset()); err != nil {
					return err
				}
			}
			_, err := decoder.Token()
			return err
		case path != "" && start == nil:
			return nil
		case path != "" && isList, start != json.Delim('{'):
			return fmt.Errorf("%w nor an object with %s", errNoList, lists[0])
		case path == "":
			members = map[string]json.RawMessage{}
		}
		seen := map[string]bool{}
		for decoder.More() {
			key, err := decoder.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			if seen[strings.ToLower(name)] {
				return fmt.Errorf("%w: %q", errTwice, name)
			}
			seen[strings.ToLower(name)] = true
			at := strings.TrimPrefix(path+"."+name, ".")
			if slices.ContainsFunc(lists, func(list string) bool { return list == at || strings.HasPrefix(list, at+".") }) {
				listed = listed || slices.Contains(lists, at)
				err = value(at)
			} else {
				var raw json.RawMessage
				err = decoder.Decode(&raw)
				members[at] = raw
			}
			if err != nil {
				return err
			}
		}
		_, err = decoder.Token()
		return err
	}
	if err = value(""); errors.Is(err, io.EOF) && (members != nil || decoder.InputOffset() > 0) {
		err = io.ErrUnexpectedEOF // a decoder calls an end within a value EOF
	}
	return members, listed, err
}

// add indexes a row; false if it cannot be told from others. line is where a file has
// it; 0 where there are no lines.
func (l *tokenList) add(raw json.RawMessage, at int64, line int) bool {
	token, o, ok := decodeToken(raw, l.window)
	if !ok {
		return false
	}
	if l.seen != nil {
		l.seen.note(o, token)
		if of := o.members[workspaceIDKey]; !absent(of) {
			l.seen.workspaces[strings.Trim(string(of), `"`)] = true
		}
	}
	ref := rowRef{at: at, size: uint32(len(raw)), used: useUnknown}
	if token.LastUsed != nil {
		ref.used = *token.LastUsed
	} else if !defective(token, "last_used_day") {
		ref.used = neverUsed
	}
	copy(ref.prefix[:], token.ID)
	for _, defect := range token.Defects {
		place := "token " + engine.SafeText(shorten(token.ID))
		if line > 0 {
			place = fmt.Sprintf("line %d, %s", line, place)
		}
		l.tally.add(defect.Reason, "%s: %s %s", place, defect.Field, engine.SafeText(defect.Value))
	}
	for _, field := range optionalFields {
		if !l.given[field] && (!absent(o.members[field]) || defective(token, field)) {
			l.given[field] = true
		}
	}
	if !absent(o.members[neverUsedKey]) {
		l.given["last_used_day"] = true
	}
	if token.CreatorID != "" {
		l.given["created_by_id"] = true
	}
	// Room is made for all rows once their usual length is known: growing a large index
	// step by step would hold two of it.
	const sample = 2048
	if len(l.rows) == sample && at > 0 {
		l.rows = slices.Grow(l.rows, int((l.body.size-at)*sample/at*11/10))
	}
	l.rows = append(l.rows, ref)
	return true
}

// A list from an older tool or API lacks fields in all rows. That is not the same
// as a field that is empty in each: what no row tells is unknown.
const (
	reasonNotListed = "not_listed"
	hintNotListed   = "What no row tells is unknown, and so is what policies make of it: read the list with a current Databricks CLI, or add the columns to the file."
)

// optionalFields are the fields that all rows of a list may be without.
var optionalFields = []string{"last_used_day", "comment", "scopes", "autoscope_state", "inferred_scopes", "backfill_scopes", "created_by_id"}

func defective(t engine.Token, field string) bool {
	return slices.ContainsFunc(t.Defects, func(d engine.Defect) bool { return d.Field == field })
}

func shorten(id string) string {
	if len(id) > 16 {
		return id[:16] + "…"
	}
	return id
}

// finish orders the index by id and removes repeated rows: equal rows are one row
// listed twice; rows that differ leave the id in and its dates unknown.
func (l *tokenList) finish(what string) *Problem {
	var failure error
	token := func(ref rowRef) engine.Token {
		token, err := l.token(ref)
		if failure == nil {
			failure = err
		}
		return token
	}
	byID := func(a, b rowRef) int {
		c := bytes.Compare(a.prefix[:], b.prefix[:])
		if c != 0 || failure != nil {
			return c
		}
		return cmp.Compare(token(a).ID, token(b).ID) // their ids begin alike
	}
	slices.SortFunc(l.rows, func(a, b rowRef) int { return cmp.Or(byID(a, b), cmp.Compare(a.at, b.at)) })
	kept := l.rows[:0]
	for _, row := range l.rows {
		if len(kept) == 0 || byID(kept[len(kept)-1], row) != 0 {
			kept = append(kept, row)
			continue
		}
		first := token(kept[len(kept)-1])
		id := engine.SafeText(shorten(first.ID))
		if sameJSON(first.Raw, token(row).Raw) {
			l.tally.note("token %s is listed twice, alike", id)
			continue
		}
		l.unsure[kept[len(kept)-1].at] = true
		kept[len(kept)-1].used = useUnknown
		l.tally.add(reasonDuplicateID, "token %s is listed twice, with differences", id)
	}
	if failure != nil {
		return problemOf(reasonSpool, "Run it again.", "%s: %v", what, failure)
	}
	l.rows = kept
	for _, field := range optionalFields {
		// Of automatic scoping, some fields are there only where something was observed:
		// who tells its state knows them.
		observed := (field == "inferred_scopes" || field == "backfill_scopes") && l.given["autoscope_state"]
		if len(kept) > 0 && !l.given[field] && !observed {
			l.notListed = append(l.notListed, field)
		}
	}
	if slices.Contains(l.notListed, "last_used_day") {
		for i := range l.rows {
			l.rows[i].used = useUnknown
		}
	}
	return nil
}

func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var values [2]any
	for i, raw := range [][]byte{a, b} {
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if decoder.Decode(&values[i]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// token reads one row again.
func (l *tokenList) token(ref rowRef) (engine.Token, error) {
	raw := make([]byte, ref.size)
	if _, err := l.body.ReadAt(raw, ref.at); err != nil {
		return engine.Token{}, fmt.Errorf("read spooled token: %w", err)
	}
	token, _, ok := decodeToken(raw, l.window)
	if !ok {
		return engine.Token{}, errors.New("read spooled token: the spool has changed")
	}
	if l.unsure[ref.at] {
		token.Created, token.Expires, token.LastUsed = nil, nil, nil
		for _, field := range []string{"creation_time", "expiry_time", "last_used_day"} {
			token.Defects = slices.DeleteFunc(token.Defects, func(d engine.Defect) bool { return d.Field == field })
			token.Defects = append(token.Defects, engine.Defect{Field: field, Reason: reasonDuplicateID})
		}
	}
	// The token that signs in has been used, whatever its row does not tell yet.
	inUse := l.inUse != "" && token.ID == l.inUse && token.LastUsed == nil && !defective(token, "last_used_day")
	if inUse {
		token.LastUsed = new(l.today)
	}
	for _, field := range l.notListed {
		if !inUse || field != "last_used_day" {
			token.Defects = append(token.Defects, engine.Defect{Field: field, Reason: reasonNotListed})
		}
	}
	return token, nil
}

// section is what the list makes of the tokens section: rows by ascending id, as
// often as they are ranged over.
func (l *tokenList) section() engine.Section {
	coverage := l.tally.coverage(len(l.rows))
	if len(l.notListed) > 0 {
		coverage.Detail = strings.TrimPrefix(coverage.Detail+"; no row tells "+strings.Join(l.notListed, ", "), "; ")
		coverage.Hint = cmp.Or(coverage.Hint, hintNotListed)
	}
	return engine.Section{Coverage: coverage, Tokens: func(yield func(engine.Token, error) bool) {
		for _, ref := range l.rows {
			token, err := l.token(ref)
			if !yield(token, err) || err != nil {
				return
			}
		}
	}}
}

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
func decodeToken(raw []byte, w window) (t engine.Token, o object, ok bool) {
	o, _ = parseObject(raw)
	defect := func(key, reason string) {
		if !defective(t, key) {
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
	if t.ID = r.text("token_id"); strings.TrimSpace(t.ID) == "" {
		return t, o, false
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
	for _, field := range impossibleDates(t) {
		defect(field, reasonContradictory)
		switch field {
		case "creation_time":
			t.Created = nil
		case "expiry_time":
			t.Expires = nil
		case "last_used_day":
			t.LastUsed = nil
		}
	}
	t.CreatorID = r.id("created_by_id")
	t.CreatorName = r.text("created_by_username")
	t.OwnerID = r.id("owner_id")
	if t.OwnerID == "" && absent(o.members["owner_id"]) {
		// A report that was exported names owners instead of numbering them: their names
		// stand in for ids, and the creator's with them. A name is not compared with a
		// number, nor an address with any other name.
		switch name := r.text(ownerNameKey); {
		case name == "":
		case strings.EqualFold(t.CreatorName, name):
			t.OwnerID, t.CreatorID = name, name
		case signInName(t.CreatorName) && signInName(name):
			t.OwnerID, t.CreatorID = name, t.CreatorName
		default:
			t.OwnerID, t.CreatorID = name, ""
		}
	}
	if t.OwnerID == "" { // most policies ask about it
		defect("owner_id", reasonMissing)
	}
	scopes := func(key string) []string {
		texts := r.texts(key)
		if slices.ContainsFunc(texts, func(text string) bool { return !scopeName(text) }) {
			defect(key, reasonBadType)
			return nil
		}
		return texts
	}
	t.Scopes, t.InferredScopes, t.BackfillScopes = scopes("scopes"), scopes("inferred_scopes"), scopes("backfill_scopes")
	t.AutoscopeState = r.text("autoscope_state")
	var known [][2]string
	if json.Unmarshal(o.members[ownDefectsKey], &known) == nil {
		for _, found := range known {
			defect(found[0], found[1])
		}
	}
	return t, o, true
}

// scopeName holds for what the platform may call a scope: sql, scim:read, all-apis. A
// policy would take another spelling, or a word for all or none, for a scope of its own.
func scopeName(text string) bool {
	if text == "" || text[0] < 'a' || text[0] > 'z' || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789_.:-") != "" {
		return false
	}
	switch text {
	case "all", "any", "apis", "false", "full", "na", "nan", "nil", "none", "null", "true", "undefined", "unknown", "unrestricted":
		return false
	}
	return true
}

// impossibleDates are the dates of a token that contradict each other: it ends before it
// was made, or was used before that or after its end. Which of two is wrong nobody can tell.
// The last use is known to about a day; a file may tell days only.
func impossibleDates(t engine.Token) []string {
	const grace = 2 * engine.Day
	ends := t.Expires != nil && *t.Expires != engine.NeverExpires
	var fields []string
	if ends && t.Created != nil && *t.Expires < *t.Created {
		fields = append(fields, "creation_time", "expiry_time")
	}
	if t.LastUsed != nil && ends && *t.LastUsed > *t.Expires+grace {
		fields = append(fields, "expiry_time", "last_used_day")
	}
	if t.LastUsed != nil && t.Created != nil && *t.LastUsed < *t.Created-grace {
		fields = append(fields, "creation_time", "last_used_day")
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

func cut(raw []byte) string {
	const most = 64
	return strings.ToValidUTF8(string(raw[:min(len(raw), most)]), "\uFFFD")
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
