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
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
)

// tokenList is a token list in a spool with an index of its rows. The index
// takes 32 bytes per row, so that a million tokens fit in little memory, and
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

	strange strange // what rows hold that is not known

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
	told      map[string]bool // fields of which some row tells something
	notListed []string        // those that may be lacking, of which none does
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

func workspaceOf(members map[string]json.RawMessage) (w workspaceRef) {
	w.id, _ = asID(members[workspaceIDKey])
	w.name, _ = asText(members[workspaceNameKey])
	return w
}

// rowRef is where a row lies, and the beginning of its id to sort by.
type rowRef struct {
	prefix [16]byte
	at     int64
	size   uint32
	part   uint32
}

// readTokenList indexes the list that an answer holds.
func readTokenList(ctx context.Context, what string, body *spool, w window, seen *tokensSeen) (*tokenList, *Problem) {
	list := newTokenList(body, w, false)
	list.seen = seen
	if problem := list.read(what, cancellable{ctx, body.Reader()}); problem != nil {
		return nil, problem
	}
	return list, list.finish(what)
}

// newTokenList is an empty list. With parting it keeps the rows of different
// workspaces apart.
func newTokenList(body *spool, w window, parting bool) *tokenList {
	list := &tokenList{body: body, window: w, unsure: map[int64]bool{}, partOf: map[string]uint32{}, parting: parting, strange: strange{}}
	list.partFor(workspaceRef{}) // also where there is no row
	list.take = list.add
	return list
}

// read takes the rows of a list: {"token_infos": […]} or […], and of a file
// {"rows": […]} as well.
func (l *tokenList) read(what string, from io.Reader) *Problem {
	decoder := json.NewDecoder(from)
	if err := l.scan(decoder); err != nil {
		return badJSON(what, err)
	}
	if err := atEnd(decoder); err != nil {
		return badJSON(what, err)
	}
	return nil
}

// finish puts the rows in order.
func (l *tokenList) finish(what string) *Problem {
	for i := range l.parts {
		l.parts[i].notListed = notListedBy(l.parts[i].told)
	}
	if err := l.sort(); err != nil {
		return problem(engine.Failed, reasonSpool, "Run it again.", "%s: %v", what, err)
	}
	return nil
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

// whole is the only part of a list that is not parted.
func (l *tokenList) whole() part { return l.parts[0] }

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

func (l *tokenList) scan(decoder *json.Decoder) error {
	start, err := decoder.Token()
	switch {
	case err != nil:
		return err
	case start == json.Delim('['):
		l.bare = true
		return l.scanRows(decoder)
	case start != json.Delim('{'):
		return errNoList
	}
	return l.scanObject(decoder)
}

func (l *tokenList) scanObject(decoder *json.Decoder) error {
	seen, listed := map[string]bool{}, false
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return unexpectedEnd(err)
		}
		name, _ := key.(string)
		if seen[strings.ToLower(name)] {
			return fmt.Errorf("%w: %q", errTwice, name)
		}
		seen[strings.ToLower(name)] = true
		listed = listed || l.isList(name)
		if err := l.scanMember(decoder, name); err != nil {
			return unexpectedEnd(err)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return unexpectedEnd(err)
	}
	if len(seen) > 0 && !listed { // {} is an empty list; anything else is something else
		return errNoList
	}
	if n, told := totalOf(l.totals); told && n > int64(len(l.rows)) {
		return fmt.Errorf("%w: a total of %d", errMore, n)
	}
	return nil
}

// isList: under this key stand the rows.
func (l *tokenList) isList(key string) bool {
	return key == "token_infos" || l.parting && key == "rows"
}

func (l *tokenList) scanMember(decoder *json.Decoder, name string) error {
	if l.isList(name) {
		return l.scanInfos(decoder)
	}
	var value json.RawMessage
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	if l.totals.members == nil {
		l.totals.members = map[string]json.RawMessage{}
	}
	l.totals.members[name] = value
	if marksMore(name, value) {
		return fmt.Errorf("%w: %s", errMore, name)
	}
	return nil
}

func (l *tokenList) scanInfos(decoder *json.Decoder) error {
	start, err := decoder.Token()
	switch {
	case err != nil:
		return err
	case start == nil: // null: none
		return nil
	case start != json.Delim('['):
		return errNoList
	}
	return l.scanRows(decoder)
}

func (l *tokenList) scanRows(decoder *json.Decoder) error {
	var raw json.RawMessage
	for decoder.More() {
		if err := decoder.Decode(&raw); err != nil {
			return unexpectedEnd(err)
		}
		if err := l.take(raw, decoder.InputOffset()-int64(len(raw))); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return unexpectedEnd(err)
}

// unexpectedEnd is for an end within a value, which a decoder calls EOF.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (l *tokenList) add(raw json.RawMessage, at int64) error {
	o, _ := parseObject(raw)
	token, ok := decodeRow(raw, o, l.window)
	if !ok {
		l.tally.add(reasonMissingID, "%s has no usable token_id", l.place("row at byte "+strconv.FormatInt(at, 10)))
		return nil
	}
	l.strange.note(o, token)
	if l.seen != nil {
		l.seen.note(token)
	}
	ref := rowRef{at: at, size: uint32(len(raw))}
	copy(ref.prefix[:], token.ID)
	if l.parting {
		ref.part = l.partFor(workspaceOf(o.members))
	}
	for _, defect := range token.Defects {
		l.parts[ref.part].tally.add(defect.Reason, "%s: %s %s", l.place("token "+engine.SafeText(shorten(token.ID))), defect.Field, engine.SafeText(defect.Value))
	}
	l.parts[ref.part].hear(o, token)
	l.reserve(at)
	l.rows = append(l.rows, ref)
	return nil
}

// place names a row by what it is, and by its line where there is one.
func (l *tokenList) place(what string) string {
	if l.line > 0 {
		return fmt.Sprintf("line %d, %s", l.line, what)
	}
	return what
}

// A list from an older tool or API lacks fields in all rows. That is not the same
// as a field that is empty in each: what no row tells is unknown.
const (
	reasonNotListed = "not_listed"
	hintNotListed   = "What no row tells is unknown, and so is what policies make of it: read the list with a current Databricks CLI, or add the columns to the file."
)

// mayLack are the fields that all rows of a list may lack.
var mayLack = []string{"last_used_day", "comment", "scopes", "autoscope_state", "inferred_scopes", "backfill_scopes", "created_by_id"}

// hear notes which fields a row tells something of.
func (p *part) hear(o object, t engine.Token) {
	if len(p.told) == len(mayLack) {
		return
	}
	for _, field := range mayLack {
		defect := slices.ContainsFunc(t.Defects, func(d engine.Defect) bool { return d.Field == field })
		if p.told == nil {
			p.told = map[string]bool{}
		}
		if !absent(o.members[field]) || defect {
			p.told[field] = true
		}
	}
	if !absent(o.members[neverUsedKey]) {
		p.told["last_used_day"] = true
	}
	if t.CreatorID != "" {
		p.told["created_by_id"] = true
	}
}

// notListedBy are the fields that no row tells. Automatic scoping has several that
// are there only where something was observed: who tells its state knows them.
func notListedBy(told map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(mayLack), func(field string) bool {
		return told == nil || told[field] || (field == "inferred_scopes" || field == "backfill_scopes") && told["autoscope_state"]
	})
}

func shorten(id string) string {
	if len(id) > 16 {
		return id[:16] + "…"
	}
	return id
}

// reserve makes room for all rows once their usual length is known: growing
// a large index step by step would hold two of it.
func (l *tokenList) reserve(at int64) {
	const sample = 2048
	if len(l.rows) == sample && at > 0 {
		l.rows = slices.Grow(l.rows, int((l.body.size-at)*sample/at*11/10))
	}
}

// sort orders the index by id and removes repeated rows.
func (l *tokenList) sort() error {
	var failed error
	slices.SortFunc(l.rows, func(a, b rowRef) int {
		c := cmp.Or(cmp.Compare(a.part, b.part), bytes.Compare(a.prefix[:], b.prefix[:]))
		if c != 0 || failed != nil {
			return c
		}
		c, err := l.compareIDs(a, b)
		if err != nil {
			failed = err
		}
		return cmp.Or(c, cmp.Compare(a.at, b.at))
	})
	if failed != nil {
		return failed
	}
	if err := l.dedupe(); err != nil {
		return err
	}
	for rest := l.rows; len(rest) > 0; {
		end := slices.IndexFunc(rest, func(r rowRef) bool { return r.part != rest[0].part })
		if end < 0 {
			end = len(rest)
		}
		l.parts[rest[0].part].rows = rest[:end]
		rest = rest[end:]
	}
	return nil
}

// compareIDs settles rows whose ids begin alike.
func (l *tokenList) compareIDs(a, b rowRef) (int, error) {
	first, err := l.token(a)
	if err != nil {
		return 0, err
	}
	second, err := l.token(b)
	return cmp.Compare(first.ID, second.ID), err
}

// dedupe keeps one row per id. Equal rows are one row told twice; rows that
// differ leave the id in and its dates unknown.
func (l *tokenList) dedupe() error {
	kept := l.rows[:0]
	for _, row := range l.rows {
		repeated, err := l.repeats(kept, row)
		if err != nil {
			return err
		}
		if !repeated {
			kept = append(kept, row)
		}
	}
	l.rows = kept
	return nil
}

// repeats reports whether a row has the id of the last one kept.
func (l *tokenList) repeats(kept []rowRef, row rowRef) (bool, error) {
	if len(kept) == 0 {
		return false, nil
	}
	last := kept[len(kept)-1]
	if last.part != row.part || last.prefix != row.prefix {
		return false, nil
	}
	if c, err := l.compareIDs(last, row); c != 0 || err != nil {
		return false, err
	}
	return true, l.merge(last, row)
}

func (l *tokenList) merge(kept, other rowRef) error {
	first, err := l.token(kept)
	if err != nil {
		return err
	}
	second, err := l.token(other)
	if err != nil {
		return err
	}
	id := engine.SafeText(shorten(first.ID))
	if sameJSON(first.Raw, second.Raw) {
		l.parts[kept.part].tally.note("token %s is listed twice, alike", id)
		return nil
	}
	l.unsure[kept.at] = true
	l.parts[kept.part].tally.add(reasonDuplicateID, "token %s is listed twice, with differences", id)
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
		doubt(&token)
	}
	for _, field := range l.parts[ref.part].notListed {
		token.Defects = append(token.Defects, engine.Defect{Field: field, Reason: reasonNotListed})
	}
	return token, nil
}

// doubt makes the dates of a token unknown whose rows contradict each other.
func doubt(t *engine.Token) {
	t.Created, t.Expires, t.LastUsed = nil, nil, nil
	for _, field := range []string{"creation_time", "expiry_time", "last_used_day"} {
		t.Defects = slices.DeleteFunc(t.Defects, func(d engine.Defect) bool { return d.Field == field })
		t.Defects = append(t.Defects, engine.Defect{Field: field, Reason: reasonDuplicateID})
	}
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

// tally counts what is wrong with rows and keeps the first examples.
type tally struct {
	counts   map[string]int
	examples []string
	notes    []string
}

const mostExamples = 3

func (t *tally) add(reason, format string, args ...any) {
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[reason]++
	if len(t.examples) < mostExamples {
		t.examples = append(t.examples, fmt.Sprintf(format, args...))
	}
}

// note records what is odd without being a defect.
func (t *tally) note(format string, args ...any) {
	if len(t.notes) < mostExamples {
		t.notes = append(t.notes, fmt.Sprintf(format, args...))
	}
}

// join is both tallies together.
func (t tally) join(other tally) tally {
	joined := tally{
		counts:   maps.Clone(t.counts),
		examples: slices.Concat(t.examples, other.examples),
		notes:    slices.Concat(t.notes, other.notes),
	}
	if joined.counts == nil {
		joined.counts = map[string]int{}
	}
	for reason, n := range other.counts {
		joined.counts[reason] += n
	}
	return joined
}

// gravest orders reasons: rows that are not there before values that are not.
var gravest = []string{reasonPermission, reasonUnknownLevel, reasonMissingID, reasonDuplicateID, reasonDuplicateKey, reasonBadType, reasonBadTimestamp, reasonMissing}

// coverage is complete when nothing was added.
func (t *tally) coverage(rows int) engine.Coverage {
	c := engine.Coverage{Status: engine.Complete, Count: rows, Detail: strings.Join(t.notes, "; ")}
	if len(t.counts) == 0 {
		return c
	}
	var counted []string
	for _, reason := range gravest {
		if n := t.counts[reason]; n > 0 {
			c.Reason = firstOf(c.Reason, reason)
			counted = append(counted, fmt.Sprintf("%s %d", reason, n))
		}
	}
	c.Status = engine.Partial
	c.Detail = fmt.Sprintf("among %d rows: %s; first: %s", rows, strings.Join(counted, ", "), strings.Join(slices.Concat(t.examples, t.notes), "; "))
	c.Hint = "What could not be read counts as unknown; compare the rows with the workspace's own list."
	return c
}
