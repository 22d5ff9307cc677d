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
// a control character, which JSON never holds unescaped, and the letter of the
// field; the capital letter for a number that came as a string. So
//
//	{"comment":"etl","owner_id":"17","x":1}
//
// has the shape {"comment":␁c,"owner_id":␁O,"x":1}. Tokens of a workspace share
// a handful of shapes, so that a raw row costs a small number; and it does not
// change when only last use moves. A value that a column does not give to the
// byte stays in the shape.

const mark = '\x01'

// maxShapes bounds the shared shapes, and so the memory for them. Shapes beyond
// that (rows with fields of their own that patrol does not know) stand in the
// token's row.
const maxShapes = 8192

const toCapital = 'a' - 'A'

// lettered are the stored fields that have a letter, by it and by the name of the answer.
var lettered = sync.OnceValues(func() (*[256]*engine.StoredField, map[string]*engine.StoredField) {
	var byLetter [256]*engine.StoredField
	byAnswer := map[string]*engine.StoredField{}
	for _, f := range engine.StoredFields() {
		if f.Letter != 0 {
			byLetter[f.Letter], byAnswer[f.Answer] = &f, &f
		}
	}
	return &byLetter, byAnswer
})

// appendField writes the JSON that a field gives; ok is false when it gives none.
func appendField(b []byte, f *engine.StoredField, t *engine.Token) (_ []byte, ok bool) {
	switch {
	case f.Texts != nil:
		return appendList(b, *f.Texts(t)), true
	case f.Text != nil && f.Digits:
		return append(b, *f.Text(t)...), true
	case f.Text != nil:
		return appendQuoted(b, *f.Text(t)), true
	}
	ms := *f.Time(t)
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
	_, byAnswer := lettered()
	shape := make([]byte, 0, len(raw))
	var given []byte
	done := 0
	for at := 1; raw[at] != '}'; {
		end := at + stringEnd(raw[at:])
		name, start := raw[at+1:end-1], end+1 // behind the colon
		at = start + valueEnd(raw[start:])
		if f := byAnswer[name]; f != nil {
			letter, value := f.Letter, raw[start:at]
			if value[0] == '"' && f.Number() {
				letter, value = letter-toCapital, value[1:len(value)-1]
			}
			var ok bool
			if given, ok = appendField(given[:0], f, t); ok && string(given) == value {
				shape = append(append(shape, raw[done:start]...), mark, letter)
				done = at
			}
		}
		if raw[at] == ',' {
			at++
		}
	}
	return string(append(shape, raw[done:]...))
}

// appendFilled makes the raw row again, of a shape that is not empty, into
// memory used before.
func appendFilled(raw []byte, shape string, t *engine.Token) ([]byte, error) {
	byLetter, _ := lettered()
	for {
		at := strings.IndexByte(shape, mark)
		if at < 0 {
			return append(raw, shape...), nil
		}
		if at+1 >= len(shape) {
			return nil, errShape
		}
		letter := shape[at+1]
		f, quoted := byLetter[letter], false
		if f == nil {
			f = byLetter[letter|toCapital]
			quoted = true
		}
		if f == nil || quoted && !f.Number() {
			return nil, errShape
		}
		raw = append(raw, shape[:at]...)
		if quoted {
			raw = append(raw, '"')
		}
		var ok bool
		if raw, ok = appendField(raw, f, t); !ok {
			return nil, errShape
		}
		if quoted {
			raw = append(raw, '"')
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
		s.texts[key], s.keys[text] = text, key
	}
	return s, nil
}

// readShapes reads the shapes of a view when they are needed first.
func (db *DB) readShapes(ctx context.Context) (_ *shapes, err error) {
	v := db.view
	if v == nil {
		return readShapes(ctx, db.q)
	}
	v.lock.Lock()
	defer v.lock.Unlock()
	if v.shapes == nil {
		v.shapes, err = readShapes(ctx, db.q)
	}
	return v.shapes, err
}

// refer gives what the columns raw_shape and raw hold of a shape, and stores a new one.
func (s *shapes) refer(ctx context.Context, tx *sqlite.Tx, shape string) (key, own any, err error) {
	if shape == "" {
		return nil, nil, nil
	}
	if key, ok := s.keys[shape]; ok {
		return key, nil, nil
	}
	if len(s.keys) >= maxShapes {
		return nil, shape, nil
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO raw_shape (text) VALUES (?)`, shape)
	if err != nil {
		return nil, nil, err
	}
	added, err := result.LastInsertId()
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
	sorted, _ := sortMembers(compact.String())
	return sorted, nil
}

// sortMembers sorts the members of all objects in the value with which compact, valid
// JSON begins, and returns what follows it.
func sortMembers(text string) (value, rest string) {
	if text[0] != '{' && text[0] != '[' {
		end := valueEnd(text)
		return text[:end], text[end:]
	}
	type member struct{ name, text string } // elements have no name and stay in their order
	var members []member
	inOrder := true
	for rest = text[1:]; rest[0] != '}' && rest[0] != ']'; rest = strings.TrimPrefix(rest, ",") {
		var m member
		head := 0
		if text[0] == '{' {
			head = stringEnd(rest) + 1 // with the colon
			m.name = rest[1 : head-2]
		}
		sorted, after := sortMembers(rest[head:])
		m.text = rest[:len(rest)-len(after)]
		if sorted != m.text[head:] {
			m.text, inOrder = m.text[:head]+sorted, false
		}
		if n := len(members); n > 0 && members[n-1].name > m.name {
			inOrder = false
		}
		members, rest = append(members, m), after
	}
	end := len(text) - len(rest)
	if inOrder {
		return text[:end+1], rest[1:]
	}
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.Grow(end + 1)
	b.WriteByte(text[0])
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(m.text)
	}
	b.WriteByte(text[end])
	return b.String(), rest[1:]
}

// valueEnd is where the value ends with which compact, valid JSON begins.
func valueEnd(text string) int {
	depth := 0
	for i := 0; ; {
		switch text[i] {
		case '"':
			i += stringEnd(text[i:])
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		default:
			i++
		}
		if depth == 0 && (i == len(text) || text[i] == ',' || text[i] == ']' || text[i] == '}') {
			return i
		}
	}
}

// stringEnd is where the string ends with which compact, valid JSON begins.
func stringEnd(text string) int {
	for i := 1; ; i++ {
		switch text[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}
