package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// storedColumns are the fields that have a column of token_version, in this order.
var storedColumns = slices.DeleteFunc(slices.Clone(engine.StoredFields()), func(f engine.StoredField) bool { return f.Column == "" })

// tokenColumns are what a token's version row keeps of engine.Token, the id first.
var tokenColumns = columnList("") + ", defects, raw_shape, raw"

// columnList lists the columns of the stored fields, each behind a prefix.
func columnList(prefix string) string {
	names := make([]string, len(storedColumns))
	for i, f := range storedColumns {
		names[i] = prefix + f.Column
	}
	return strings.Join(names, ", ")
}

var tokenWidth = len(storedColumns) + 3

// encodeToken makes the row of a token, its id first, from its columns and what refers to
// its raw row: equal rows are shared between snapshots.
func encodeToken(t *engine.Token, shape, own any) []any {
	row := make([]any, 0, tokenWidth)
	for _, f := range storedColumns {
		switch {
		case f.Text != nil:
			row = append(row, *f.Text(t))
		case f.Time != nil:
			row = append(row, sqlite.OrNull(*f.Time(t)))
		default:
			row = append(row, encodeList(*f.Texts(t)))
		}
	}
	return append(row, encodeDefects(t.Defects), shape, own)
}

func encodeDefects(defects []engine.Defect) any {
	flat := make([]string, 0, 3*len(defects))
	for _, d := range defects {
		flat = append(flat, d.Field, d.Reason, d.Value)
	}
	return encodeList(flat)
}

func readDefects(c *sqlite.Row) (defects []engine.Defect) {
	flat, err := decodeList(c.TextOrNull())
	if err != nil || len(flat)%3 != 0 {
		c.Fail(errList)
		return nil
	}
	for ; len(flat) > 0; flat = flat[3:] {
		defects = append(defects, engine.Defect{Field: flat[0], Reason: flat[1], Value: flat[2]})
	}
	return defects
}

// tokenReader reads tokenColumns.
type tokenReader struct {
	lists  lists
	shapes *shapes      // nil: the raw row is left out
	token  engine.Token // the one in hand
}

// read reads a token without last use, and the shape of the raw row, which has it, too.
func (r *tokenReader) read(c *sqlite.Row) (_ engine.Token, shape string) {
	t := &r.token
	*t = engine.Token{}
	for _, f := range storedColumns {
		switch {
		case f.Text != nil:
			*f.Text(t) = c.Text()
		case f.Time != nil:
			*f.Time(t) = c.IntOrNull()
		default:
			*f.Texts(t) = r.lists.read(c)
		}
	}
	t.Defects = readDefects(c)
	key, own := c.IntOrNull(), c.TextOrNull()
	if r.shapes != nil {
		var err error
		shape, err = r.shapes.resolve(key, own)
		c.Fail(err)
	}
	if c.Err != nil {
		c.Err = fmt.Errorf("token %s: %w", t.ID, c.Err)
	}
	return *t, shape
}

// lastUse is how token_use keeps a time: as a day, and what is beyond it.
// Both parts have the sign of the time, so that their sum cannot overflow.
func lastUse(ms *int64) (day, rest any) {
	if ms == nil {
		return nil, nil
	}
	if r := *ms % engine.Day; r != 0 {
		rest = r
	}
	return *ms / engine.Day, rest
}

const principalColumns = `principal_id, kind, name, display_name, active, admin, groups, raw`

const principalWidth = 8

func encodePrincipal(p engine.Principal) []any {
	var active any
	if p.Active != nil {
		active = bit(*p.Active)
	}
	admin := adminUnknown
	if p.Admin != nil {
		admin = bit(*p.Admin)
	}
	return []any{
		p.ID, string(p.Kind), p.Name, p.DisplayName, active, admin, encodeList(p.Groups), sqlite.TextOrNil(string(p.Raw)),
	}
}

func readPrincipal(c *sqlite.Row, known *lists) engine.Principal {
	p := engine.Principal{ID: c.Text(), Kind: engine.Kind(c.Text()), Name: c.Text(), DisplayName: c.Text(), Active: c.BoolOrNull()}
	switch admin := c.Int(); admin {
	case adminUnknown:
	case 0, 1:
		p.Admin = new(admin == 1)
	default:
		c.Fail(fmt.Errorf("stored row is damaged: admin is %d", admin))
	}
	p.Groups = known.read(c)
	if raw := c.TextOrNull(); raw != "" {
		p.Raw = json.RawMessage(raw)
	}
	if c.Err != nil {
		c.Err = fmt.Errorf("principal %s: %w", p.ID, c.Err)
	}
	return p
}

// adminUnknown is what the column has, which is never NULL, where it is not
// known whether a principal is an admin.
const adminUnknown int64 = -1

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Lists of strings are stored as JSON arrays, so that SQL can look into them.
// Unlike encoding/json, this encoding keeps bytes that are not UTF-8.

const hexDigits = "0123456789abcdef"

// encodeList returns nil for an empty list.
func encodeList(list []string) any {
	if len(list) == 0 {
		return nil
	}
	return string(appendList(make([]byte, 0, 16*len(list)+2), list))
}

func appendList(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, s)
	}
	return append(b, ']')
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

var errList = errors.New("stored list is damaged")

// decodeList reads what appendList wrote.
func decodeList(text string) (list []string, err error) {
	if text == "" {
		return nil, nil
	}
	rest, opened := strings.CutPrefix(text, "[")
	for opened {
		item, after, err := unquote(rest)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
		if after == "]" {
			return list, nil
		}
		rest, opened = strings.CutPrefix(after, ",")
	}
	return nil, errList
}

// unquote reads one string and returns what follows it.
func unquote(text string) (item, after string, err error) {
	rest, opened := strings.CutPrefix(text, `"`)
	if end := strings.IndexAny(rest, `"\`); opened && end >= 0 && rest[end] == '"' {
		return rest[:end], rest[end+1:], nil
	}
	var b []byte
	for opened && rest != "" {
		switch rest[0] {
		case '"':
			return string(b), rest[1:], nil
		case '\\':
			char, _, tail, err := strconv.UnquoteChar(rest, '"')
			if err != nil || char >= utf8.RuneSelf {
				return "", "", errList
			}
			b, rest = append(b, byte(char)), tail
		default:
			b, rest = append(b, rest[0]), rest[1:]
		}
	}
	return "", "", errList
}

// lists reads stored lists and remembers them: few different ones occur.
// The slices are shared; who gets one must not change it.
type lists struct{ known map[string][]string }

const maxKnownLists = 4096

func (l *lists) read(c *sqlite.Row) []string {
	text := c.TextOrNull()
	if text == "" {
		return nil
	}
	if list, ok := l.known[text]; ok {
		return list
	}
	list, err := decodeList(text)
	c.Fail(err)
	if l.known == nil || len(l.known) >= maxKnownLists {
		l.known = map[string][]string{}
	}
	l.known[text] = slices.Clip(list)
	return l.known[text]
}
