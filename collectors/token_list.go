package collectors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"slices"
	"strconv"
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
	unsure map[int64]bool // rows (by place) that another row of the same id contradicts
	tally  tally          // of the list, and of rows that belong to no part

	// An import may hold several workspaces, in each of which ids are unique.
	// Otherwise there is one part, whatever workspace rows name.
	parts   []part
	partOf  map[string]uint32
	parting bool

	unknown unknownFields // what rows hold that is not known

	seen   *tokensSeen // of a workspace's own list
	totals object      // the members beside the rows
	bare   bool        // a list without an object around it, as no workspace answers

	line int                                       // of the file that is read; 0 where there are no lines
	take func(raw json.RawMessage, at int64) error // what is done with each row that is read
}

// part is the rows of one workspace.
type part struct {
	workspace workspaceRef
	rows      []rowRef
	tally     tally
	given     map[string]bool // fields of which some row tells something
	notListed []string        // those that may be missing, of which none does
}

// workspaceRef is how rows name their workspace; "" where they do not.
type workspaceRef struct{ id, name string }

// key tells workspaces apart: by their ids, by name only without one.
func (w workspaceRef) key() string {
	if w.id == "" && w.name != "" {
		return "name " + w.name
	}
	return w.id
}

// rowRef is where a row lies, and the beginning of its id to sort by.
type rowRef struct {
	prefix [16]byte
	at     int64
	used   int64 // ms: last use; or one of these:
	size   uint32
	part   uint32
}

const (
	neverUsed  = 0
	useUnknown = -1
)

// readTokenList indexes the list that an answer holds.
func readTokenList(ctx context.Context, what string, body *spool, w window, seen *tokensSeen) (*tokenList, *Problem) {
	list := newTokenList(body, w, false)
	list.seen = seen
	if problem := list.read(what, cancellable(ctx, body.Reader())); problem != nil {
		return nil, problem
	}
	return list, list.finish(what)
}

// newTokenList is an empty list. With parting it keeps the rows of different
// workspaces apart.
func newTokenList(body *spool, w window, parting bool) *tokenList {
	list := &tokenList{body: body, window: w, unsure: map[int64]bool{}, partOf: map[string]uint32{}, parting: parting, unknown: unknownFields{}}
	list.partFor(workspaceRef{}) // also where there is no row
	list.take = list.add
	return list
}

// keep takes a row that is not in the spool yet.
func (l *tokenList) keep(raw []byte) error {
	at := l.body.size
	if _, err := l.body.Write(raw); err != nil {
		return err
	}
	return l.add(raw, at)
}

// Why an answer is not the whole list, though it came with status 200.
var (
	errNoList = errors.New("it is neither a list of tokens nor an object with token_infos")
	errTwice  = errors.New("a key occurs twice")
	errMore   = errors.New("it says that there is more than it holds")
)

// section is what a part of the list makes of the tokens section.
func (l *tokenList) section(p part) engine.Section {
	all := l.tally.join(p.tally)
	coverage := all.coverage(len(p.rows))
	if len(p.notListed) > 0 {
		coverage.Detail = strings.TrimPrefix(coverage.Detail+"; no row tells "+strings.Join(p.notListed, ", "), "; ")
		coverage.Hint = firstOf(coverage.Hint, hintNotListed)
	}
	return engine.Section{Coverage: coverage, Tokens: l.tokens(p.rows)}
}

// partFor is the number of a workspace's part.
func (l *tokenList) partFor(workspace workspaceRef) uint32 {
	n, known := l.partOf[workspace.key()]
	if !known {
		n = uint32(len(l.parts))
		l.partOf[workspace.key()] = n
		l.parts = append(l.parts, part{workspace: workspace})
	}
	return n
}

// read takes the rows of a list: {"token_infos": […]} or […], and of a file
// {"rows": […]} as well.
func (l *tokenList) read(what string, from io.Reader) *Problem {
	decoder := json.NewDecoder(from)
	err := l.scan(decoder)
	if err == nil {
		err = atEnd(decoder)
	}
	if err != nil {
		return badJSON(what, err)
	}
	return nil
}

func (l *tokenList) scan(decoder *json.Decoder) error {
	within := func(err error) error { // a decoder calls an end within a value EOF
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	rows := func() error {
		var raw json.RawMessage
		for decoder.More() {
			if err := decoder.Decode(&raw); err != nil {
				return within(err)
			}
			if err := l.take(raw, decoder.InputOffset()-int64(len(raw))); err != nil {
				return err
			}
		}
		_, err := decoder.Token()
		return within(err)
	}
	start, err := decoder.Token()
	switch {
	case err != nil:
		return err
	case start == json.Delim('['):
		l.bare = true
		return rows()
	case start != json.Delim('{'):
		return errNoList
	}
	l.totals.members = map[string]json.RawMessage{}
	seen, listed := map[string]bool{}, false
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return within(err)
		}
		name, _ := key.(string)
		if seen[strings.ToLower(name)] {
			return fmt.Errorf("%w: %q", errTwice, name)
		}
		seen[strings.ToLower(name)] = true
		if name == "token_infos" || l.parting && name == "rows" {
			listed = true
			switch start, err := decoder.Token(); {
			case err != nil:
				return within(err)
			case start == nil: // null: none
			case start != json.Delim('['):
				return errNoList
			default:
				if err := rows(); err != nil {
					return err
				}
			}
			continue
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return within(err)
		}
		l.totals.members[name] = value
		if marksMore(name, value) {
			return fmt.Errorf("%w: %s", errMore, name)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return within(err)
	}
	if len(seen) > 0 && !listed { // {} is an empty list; anything else is something else
		return errNoList
	}
	if n, known := totalOf(l.totals); known && n > int64(len(l.rows)) {
		return fmt.Errorf("%w: a total of %d", errMore, n)
	}
	return nil
}

func (l *tokenList) add(raw json.RawMessage, at int64) error {
	place := func(what string) string { // a row is named by its line where there is one
		if l.line > 0 {
			return fmt.Sprintf("line %d, %s", l.line, what)
		}
		return what
	}
	o, _ := parseObject(raw)
	token, ok := decodeRow(raw, o, l.window)
	if !ok {
		l.tally.add(reasonMissingID, "%s has no usable token_id", place("row at byte "+strconv.FormatInt(at, 10)))
		return nil
	}
	l.unknown.note(o, token)
	if l.seen != nil {
		l.seen.note(token)
	}
	ref := rowRef{at: at, size: uint32(len(raw)), used: useUnknown}
	if token.LastUsed != nil {
		ref.used = *token.LastUsed
	} else if !slices.ContainsFunc(token.Defects, func(d engine.Defect) bool { return d.Field == "last_used_day" }) {
		ref.used = neverUsed
	}
	copy(ref.prefix[:], token.ID)
	if l.parting {
		var workspace workspaceRef
		workspace.id, _ = asID(o.members[workspaceIDKey])
		workspace.name, _ = asText(o.members[workspaceNameKey])
		ref.part = l.partFor(workspace)
	}
	p := &l.parts[ref.part]
	for _, defect := range token.Defects {
		p.tally.add(defect.Reason, "%s: %s %s", place("token "+engine.SafeText(shorten(token.ID))), defect.Field, engine.SafeText(defect.Value))
	}
	p.noteFields(o, token)
	// Room is made for all rows once their usual length is known: growing a large index
	// step by step would hold two of it.
	const sample = 2048
	if len(l.rows) == sample && at > 0 {
		l.rows = slices.Grow(l.rows, int((l.body.size-at)*sample/at*11/10))
	}
	l.rows = append(l.rows, ref)
	return nil
}

// A list from an older tool or API lacks fields in all rows. That is not the same
// as a field that is empty in each: what no row tells is unknown.
const (
	reasonNotListed = "not_listed"
	hintNotListed   = "What no row tells is unknown, and so is what policies make of it: read the list with a current Databricks CLI, or add the columns to the file."
)

// optionalFields are the fields that all rows of a list may be without.
var optionalFields = []string{"last_used_day", "comment", "scopes", "autoscope_state", "inferred_scopes", "backfill_scopes", "created_by_id"}

// noteFields notes which fields a row tells something of.
func (p *part) noteFields(o object, t engine.Token) {
	if len(p.given) == len(optionalFields) {
		return
	}
	if p.given == nil {
		p.given = map[string]bool{}
	}
	for _, field := range optionalFields {
		if !absent(o.members[field]) || slices.ContainsFunc(t.Defects, func(d engine.Defect) bool { return d.Field == field }) {
			p.given[field] = true
		}
	}
	if !absent(o.members[neverUsedKey]) {
		p.given["last_used_day"] = true
	}
	if t.CreatorID != "" {
		p.given["created_by_id"] = true
	}
}

// notListedBy are the fields that no row tells. Automatic scoping has several that
// are there only where something was observed: who tells its state knows them.
func notListedBy(given map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(optionalFields), func(field string) bool {
		return given == nil || given[field] || (field == "inferred_scopes" || field == "backfill_scopes") && given["autoscope_state"]
	})
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
	for i := range l.parts {
		l.parts[i].notListed = notListedBy(l.parts[i].given)
	}
	var failure error
	token := func(ref rowRef) engine.Token {
		token, err := l.token(ref)
		if failure == nil {
			failure = err
		}
		return token
	}
	byID := func(a, b rowRef) int {
		c := cmp.Or(cmp.Compare(a.part, b.part), bytes.Compare(a.prefix[:], b.prefix[:]))
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
		id, tally := engine.SafeText(shorten(first.ID)), &l.parts[row.part].tally
		if sameJSON(first.Raw, token(row).Raw) {
			tally.note("token %s is listed twice, alike", id)
			continue
		}
		l.unsure[kept[len(kept)-1].at] = true
		kept[len(kept)-1].used = useUnknown
		tally.add(reasonDuplicateID, "token %s is listed twice, with differences", id)
	}
	if failure != nil {
		return problemOf(reasonSpool, "Run it again.", "%s: %v", what, failure)
	}
	l.rows = kept
	for rest := l.rows; len(rest) > 0; {
		end := slices.IndexFunc(rest, func(r rowRef) bool { return r.part != rest[0].part })
		if end < 0 {
			end = len(rest)
		}
		p := &l.parts[rest[0].part]
		p.rows = rest[:end]
		for i := range p.rows {
			if slices.Contains(p.notListed, "last_used_day") {
				p.rows[i].used = useUnknown
			}
		}
		rest = rest[end:]
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
	token, ok := decodeToken(raw, l.window)
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
	for _, field := range l.parts[ref.part].notListed {
		token.Defects = append(token.Defects, engine.Defect{Field: field, Reason: reasonNotListed})
	}
	return token, nil
}

// tokens yields the rows by ascending id, as often as it is ranged over.
func (l *tokenList) tokens(rows []rowRef) iter.Seq2[engine.Token, error] {
	return func(yield func(engine.Token, error) bool) {
		for _, ref := range rows {
			token, err := l.token(ref)
			if !yield(token, err) || err != nil {
				return
			}
		}
	}
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
