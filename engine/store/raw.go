package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// A raw row repeats, for the most part, what the columns hold. Its shape is the
// canonical row with each value that a column gives exactly replaced by a mark:
// a control character, which JSON never holds unescaped, and a letter for the
// column. Tokens of a workspace share a handful of shapes, so that a raw row
// costs a small number; and it does not change when only last use moves. A
// value that a column does not give to the byte stays in the shape.

const mark = '\x01'

// maxShapes bounds the shared shapes, and so the memory for them. Shapes beyond
// that (rows with fields of their own that patrol does not know) stand in the
// token's row.
const maxShapes = 8192

// letterOf tells the column behind a field of a token's raw row; 0: none. A
// capital letter marks a number that came as a string.
func letterOf(field string) byte {
	switch field {
	case "comment":
		return 'c'
	case "created_by_id":
		return 'i'
	case "created_by_username":
		return 'u'
	case "creation_time":
		return 'n'
	case "expiry_time":
		return 'e'
	case "last_used_day":
		return 'l'
	case "owner_id":
		return 'o'
	case "token_id":
		return 't'
	case "scopes":
		return 's'
	case "inferred_scopes":
		return 'f'
	case "backfill_scopes":
		return 'b'
	}
	return 0
}

const toCapital = 'a' - 'A'

// appendColumn writes the JSON that a column gives; ok is false when it gives none.
func appendColumn(b []byte, letter byte, t *engine.Token) (_ []byte, ok bool) {
	switch letter {
	case 'c':
		return appendQuoted(b, t.Comment), true
	case 'u':
		return appendQuoted(b, t.CreatorName), true
	case 't':
		return appendQuoted(b, t.ID), true
	case 'i':
		return append(b, t.CreatorID...), true
	case 'o':
		return append(b, t.OwnerID...), true
	case 'n':
		return appendTime(b, t.Created)
	case 'e':
		return appendTime(b, t.Expires)
	case 'l':
		return appendTime(b, t.LastUsed)
	case 's':
		return appendList(b, t.Scopes), true
	case 'f':
		return appendList(b, t.InferredScopes), true
	case 'b':
		return appendList(b, t.BackfillScopes), true
	case 'I', 'O', 'N', 'E', 'L':
		b, ok = appendColumn(append(b, '"'), letter+toCapital, t)
		return append(b, '"'), ok
	}
	return b, false
}

func appendTime(b []byte, ms *int64) ([]byte, bool) {
	if ms == nil {
		return b, false
	}
	return strconv.AppendInt(b, *ms, 10), true
}

// shapeOf makes the shape of a token's canonical raw row.
func shapeOf(t *engine.Token) string {
	raw := string(t.Raw)
	if raw == "" || raw[0] != '{' {
		return raw
	}
	shape := make([]byte, 0, len(raw))
	var scratch []byte
	s := sorter{text: raw, at: 1}
	done := 0
	for raw[s.at] != '}' {
		name := s.memberName()
		start := s.at
		s.skip()
		if letter := letterOf(name); letter != 0 {
			if raw[start] == '"' && strings.IndexByte("ionel", letter) >= 0 {
				letter -= toCapital
			}
			var ok bool
			if scratch, ok = appendColumn(scratch[:0], letter, t); ok && string(scratch) == raw[start:s.at] {
				shape = append(append(shape, raw[done:start]...), mark, letter)
				done = s.at
			}
		}
		if raw[s.at] == ',' {
			s.at++
		}
	}
	return string(append(shape, raw[done:]...))
}

// appendFilled makes the raw row again, of a shape that is not empty, into
// memory used before.
func appendFilled(raw []byte, shape string, t *engine.Token) ([]byte, error) {
	for {
		at := strings.IndexByte(shape, mark)
		if at < 0 {
			return append(raw, shape...), nil
		}
		if at+1 >= len(shape) {
			return nil, errShape
		}
		var ok bool
		if raw, ok = appendColumn(append(raw, shape[:at]...), shape[at+1], t); !ok {
			return nil, errShape
		}
		shape = shape[at+2:]
	}
}

var errShape = errors.New("stored raw row is damaged")

// shapes are the shared shapes, by key and by text.
type shapes struct {
	texts map[int64]string
	keys  map[string]int64
}

func readShapes(ctx context.Context, q sqlite.Querier) (*shapes, error) {
	s := &shapes{texts: map[int64]string{}, keys: map[string]int64{}}
	for c, err := range sqlite.Scan(ctx, q, `SELECT key, text FROM raw_shape`) {
		if err != nil {
			return nil, err
		}
		key, text := c.Int(), c.Text()
		if c.Err != nil {
			return nil, c.Err
		}
		s.texts[key], s.keys[text] = text, key
	}
	return s, nil
}

// viewShapes are the shapes of a view, or of one verification, read when they are
// needed first.
type viewShapes struct {
	lock sync.Mutex
	read *shapes
}

func (db *DB) readShapes(ctx context.Context) (*shapes, error) {
	if db.shapes == nil {
		return readShapes(ctx, db.q)
	}
	db.shapes.lock.Lock()
	defer db.shapes.lock.Unlock()
	var err error
	if db.shapes.read == nil {
		db.shapes.read, err = readShapes(ctx, db.q)
	}
	return db.shapes.read, err
}

// refer gives what the columns raw_shape and raw hold of a shape. add stores a
// new shape.
func (s *shapes) refer(shape string, add func(text string) (key int64, err error)) (key, own any, err error) {
	if shape == "" {
		return nil, nil, nil
	}
	if key, ok := s.keys[shape]; ok {
		return key, nil, nil
	}
	if len(s.keys) >= maxShapes {
		return nil, shape, nil
	}
	added, err := add(shape)
	s.keys[shape], s.texts[added] = added, shape
	return added, nil, err
}

// resolve is the way back.
func (s *shapes) resolve(key *int64, own string) (string, error) {
	if key == nil {
		return own, nil
	}
	text, ok := s.texts[*key]
	if !ok || own != "" {
		return "", fmt.Errorf("%w: shape %d", errShape, *key)
	}
	return text, nil
}

// canonical gives JSON its one form: compact, members sorted by the bytes of
// their names as written (equal names keep their order), numbers and strings
// with the text they came with. Nothing is lost but white space and order.
func canonical(text json.RawMessage) (string, error) {
	var compact bytes.Buffer
	compact.Grow(len(text))
	if err := json.Compact(&compact, text); err != nil {
		return "", fmt.Errorf("is not JSON: %w", err)
	}
	s := sorter{text: compact.String()}
	s.value()
	return s.result(), nil
}

// sorter walks over compact, valid JSON and writes it out again from the first
// object on that is not sorted.
type sorter struct {
	text string
	at   int
	out  []byte // replaces text[:done]; nil while nothing was moved
	done int
}

func (s *sorter) result() string {
	if s.out == nil {
		return s.text
	}
	return string(append(s.out, s.text[s.done:]...))
}

func (s *sorter) value() {
	switch s.text[s.at] {
	case '{':
		s.object()
	case '[':
		s.array()
	case '"':
		s.str()
	default:
		for s.at < len(s.text) && !strings.ContainsRune(",]}", rune(s.text[s.at])) {
			s.at++
		}
	}
}

func (s *sorter) str() {
	for s.at++; s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

func (s *sorter) array() {
	s.at++
	for s.text[s.at] != ']' {
		s.value()
		if s.text[s.at] == ',' {
			s.at++
		}
	}
	s.at++
}

type member struct{ name, text string }

// object sorts the members of one object, each of them canonical already.
func (s *sorter) object() {
	start := s.at
	s.at++
	var members []member
	moved := false
	for s.text[s.at] != '}' {
		m, changed := s.member()
		moved = moved || changed || len(members) > 0 && members[len(members)-1].name > m.name
		members = append(members, m)
		if s.text[s.at] == ',' {
			s.at++
		}
	}
	s.at++
	if moved {
		s.replace(start, members)
	}
}

func (s *sorter) member() (m member, changed bool) {
	start := s.at
	name := s.memberName()
	valueAt := s.at
	inner := sorter{text: s.text, at: valueAt, done: valueAt}
	inner.value()
	s.at = inner.at
	if inner.out == nil {
		return member{name, s.text[start:s.at]}, false
	}
	return member{name, s.text[start:valueAt] + string(inner.out) + s.text[inner.done:s.at]}, true
}

func (s *sorter) replace(start int, members []member) {
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	s.out = append(s.out, s.text[s.done:start]...)
	s.out = append(s.out, '{')
	for i, m := range members {
		if i > 0 {
			s.out = append(s.out, ',')
		}
		s.out = append(s.out, m.text...)
	}
	s.out = append(s.out, '}')
	s.done = s.at
}

// memberName steps over the name of a member and its colon.
func (s *sorter) memberName() string {
	start := s.at
	s.str()
	name := s.text[start+1 : s.at-1]
	s.at++ // colon
	return name
}

// skip steps over a value without sorting it.
func (s *sorter) skip() {
	depth := 0
	for {
		switch s.text[s.at] {
		case '"':
			s.str()
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
			s.at++
		case ',':
			if depth == 0 {
				return
			}
			s.at++
		default:
			s.at++
		}
	}
}
