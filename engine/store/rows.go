package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

func decodeDefects(text string) ([]engine.Defect, error) {
	if text == "" {
		return nil, nil
	}
	flat, err := decodeList(text)
	if err != nil || len(flat)%3 != 0 {
		return nil, errors.Join(err, errList)
	}
	var defects []engine.Defect
	for ; len(flat) > 0; flat = flat[3:] {
		defects = append(defects, engine.Defect{Field: flat[0], Reason: flat[1], Value: flat[2]})
	}
	return defects, nil
}

// tokenReader reads tokenColumns.
type tokenReader struct {
	lists  lists
	shapes *shapes
	token  engine.Token // the one in hand
}

// read reads a token without last use, and the shape of the raw row, which has it, too.
func (r *tokenReader) read(c *sqlite.Row) (_ engine.Token, shape string, err error) {
	t := &r.token
	*t = engine.Token{}
	for _, f := range storedColumns {
		switch {
		case f.Text != nil:
			*f.Text(t) = c.Text()
		case f.Time != nil:
			*f.Time(t) = c.IntOrNull()
		default:
			list, wrong := r.lists.decode(c.TextOrNull())
			*f.Texts(t), err = list, cmp.Or(err, wrong)
		}
	}
	defects, key, own := c.TextOrNull(), c.IntOrNull(), c.TextOrNull()
	if c.Err != nil {
		return *t, "", c.Err
	}
	var errs [2]error
	t.Defects, errs[0] = decodeDefects(defects)
	shape, errs[1] = r.shapes.resolve(key, own)
	if err = cmp.Or(err, errs[0], errs[1]); err != nil {
		return *t, "", fmt.Errorf("token %s: %w", t.ID, err)
	}
	return *t, shape, nil
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

func readPrincipal(c *sqlite.Row, known *lists) (engine.Principal, error) {
	p := engine.Principal{ID: c.Text(), Kind: engine.Kind(c.Text()), Name: c.Text(), DisplayName: c.Text()}
	p.Active, p.Admin = c.BoolOrNull(), readAdmin(c)
	groups, raw := c.TextOrNull(), c.TextOrNull()
	if c.Err != nil {
		return p, c.Err
	}
	if raw != "" {
		p.Raw = json.RawMessage(raw)
	}
	var err error
	if p.Groups, err = known.decode(groups); err != nil {
		return p, fmt.Errorf("principal %s: %w", p.ID, err)
	}
	return p, nil
}

// adminUnknown is what the column has, which is never NULL, where it is not
// known whether a principal is an admin.
const adminUnknown int64 = -1

func readAdmin(c *sqlite.Row) *bool {
	switch n := c.Int(); n {
	case adminUnknown:
		return nil
	case 0, 1:
		return new(n == 1)
	default:
		c.Err = cmp.Or(c.Err, fmt.Errorf("stored row is damaged: admin is %d", n))
		return nil
	}
}

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

func decodeList(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) < 2 || text[0] != '[' || text[len(text)-1] != ']' {
		return nil, errList
	}
	var list []string
	for rest := text[1:]; ; {
		item, tail, err := unquote(rest)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
		if tail == "]" {
			return list, nil
		}
		if tail == "" || tail[0] != ',' {
			return nil, errList
		}
		rest = tail[1:]
	}
}

// unquote reads one string and returns what follows it.
func unquote(text string) (item, tail string, err error) {
	if text == "" || text[0] != '"' {
		return "", "", errList
	}
	text = text[1:]
	end := strings.IndexAny(text, `"\`)
	if end >= 0 && text[end] == '"' {
		return text[:end], text[end+1:], nil
	}
	return unescape(text)
}

func unescape(text string) (item, tail string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:], nil
		case text[i] != '\\':
			b.WriteByte(text[i])
		case strings.HasPrefix(text[i:], `\"`), strings.HasPrefix(text[i:], `\\`):
			b.WriteByte(text[i+1])
			i++
		case strings.HasPrefix(text[i:], `\u00`) && len(text) >= i+6:
			c := strings.IndexByte(hexDigits, text[i+4])<<4 | strings.IndexByte(hexDigits, text[i+5])
			if c < 0 || c >= utf8.RuneSelf {
				return "", "", errList
			}
			b.WriteByte(byte(c))
			i += 5
		default:
			return "", "", errList
		}
	}
	return "", "", errList
}

// lists decodes stored lists and remembers them: few different ones occur.
// The slices are shared; who gets one must not change it.
type lists struct{ known map[string][]string }

const maxKnownLists = 4096

func (l *lists) decode(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if list, ok := l.known[text]; ok {
		return list, nil
	}
	list, err := decodeList(text)
	if err != nil {
		return nil, err
	}
	if l.known == nil || len(l.known) >= maxKnownLists {
		l.known = map[string][]string{}
	}
	list = list[:len(list):len(list)]
	l.known[text] = list
	return list, nil
}
