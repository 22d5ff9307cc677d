package collectors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// object is a JSON object with exact keys and values as they were written.
type object struct {
	members map[string]json.RawMessage
	twice   []string // keys that occur more than once, in whatever letter case
}

// parseObject splits valid JSON into members without copying values. ok is
// false if it is no object, or one with more keys than any answer has.
// encoding/json would match keys in any letter case and silently take the last
// of two.
func parseObject(raw []byte) (o object, ok bool) {
	raw = bytes.TrimLeft(raw, jsonSpace)
	if len(raw) == 0 || raw[0] != '{' {
		return o, false
	}
	o.members = make(map[string]json.RawMessage, 16)
	addTwice := func(key string) {
		if !slices.Contains(o.twice, key) {
			o.twice = append(o.twice, key)
		}
	}
	capitals := false
	rest := bytes.TrimLeft(raw[1:], jsonSpace)
	for n := 0; len(rest) > 0 && rest[0] == '"'; n++ {
		if n == mostKeys {
			return object{}, false
		}
		var key, value []byte
		key, rest = cutString(rest)
		value, rest = cutValue(bytes.TrimLeft(rest, jsonSpace+":"))
		name := unquote(key)
		if _, seen := o.members[name]; seen {
			addTwice(name)
		}
		capitals = capitals || strings.ToLower(name) != name
		o.members[name] = value
		rest = bytes.TrimLeft(rest, jsonSpace+",")
	}
	if capitals {
		names := make(map[string]string, len(o.members)) // by their small letters
		for name := range o.members {
			small := strings.ToLower(name)
			if other, seen := names[small]; seen {
				addTwice(other)
				addTwice(name)
			}
			names[small] = name
		}
		slices.Sort(o.twice)
	}
	return o, true
}

const jsonSpace = " \t\r\n"

// cutString cuts a string with its quotes off the front.
func cutString(text []byte) (value, rest []byte) {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return text[:i+1], text[i+1:]
		}
	}
	return text, nil
}

// cutValue cuts any value off the front.
func cutValue(text []byte) (value, rest []byte) {
	if len(text) == 0 {
		return nil, nil
	}
	switch text[0] {
	case '"':
		return cutString(text)
	case '{', '[':
		depth := 0
		for i := 0; i < len(text); i++ {
			switch text[i] {
			case '"':
				inner, _ := cutString(text[i:])
				i += len(inner) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return text[:i+1], text[i+1:]
				}
			}
		}
		return text, nil
	}
	end := bytes.IndexAny(text, jsonSpace+",]}")
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// elements splits a list; ok is false if it is none.
func elements(raw []byte) (list []json.RawMessage, ok bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	for rest := bytes.TrimLeft(raw[1:], jsonSpace); len(rest) > 0 && rest[0] != ']'; rest = bytes.TrimLeft(rest, jsonSpace+",") {
		var value []byte
		if value, rest = cutValue(rest); len(value) == 0 {
			return nil, false // no JSON
		}
		list = append(list, value)
	}
	return list, true
}

// unquote decodes a JSON string. Bytes that are not UTF-8 stay as they are:
// encoding/json would merge them all into U+FFFD.
func unquote(quoted []byte) string {
	if len(quoted) < 2 {
		return ""
	}
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var text []byte
	for {
		bad := invalidAt(inner)
		var sound string
		_ = json.Unmarshal(slices.Concat([]byte{'"'}, inner[:bad], []byte{'"'}), &sound) // the string was valid, and so is a part between its letters
		text = append(text, sound...)
		if bad == len(inner) {
			return string(text)
		}
		text = append(text, inner[bad])
		inner = inner[bad+1:]
	}
}

// quote writes a JSON string and keeps bytes that are not UTF-8, as unquote does.
func quote(text string) string {
	quoted := []byte{'"'}
	for rest := []byte(text); len(rest) > 0; {
		bad := invalidAt(rest)
		sound, _ := json.Marshal(string(rest[:bad])) // text always encodes
		quoted = append(quoted, sound[1:len(sound)-1]...)
		if rest = rest[bad:]; len(rest) > 0 {
			quoted = append(quoted, rest[0])
			rest = rest[1:]
		}
	}
	return string(append(quoted, '"'))
}

// invalidAt is where the first byte that is not UTF-8 stands, or the length.
func invalidAt(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(text)
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// asText reads a string; absent and null are "".
func asText(raw json.RawMessage) (text string, ok bool) {
	if absent(raw) {
		return "", true
	}
	if raw[0] != '"' {
		return "", false
	}
	return unquote(raw), true
}

// asInt reads a whole number, written as a number or as a decimal string:
// the platform does both, and its ids pass 2^53.
func asInt(raw json.RawMessage) (int64, bool) {
	digits := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		digits = unquote(raw)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == digits // neither +1 nor 01
}

// asID reads an identifier: a whole number above zero, or "" when absent.
func asID(raw json.RawMessage) (string, bool) {
	if absent(raw) {
		return "", true
	}
	n, ok := asInt(raw)
	if !ok || n < 0 {
		return "", false
	}
	if n == 0 {
		return "", true
	}
	return strconv.FormatInt(n, 10), true
}

// asTexts reads a list of strings; absent and null are nil.
func asTexts(raw json.RawMessage) ([]string, bool) {
	if absent(raw) {
		return nil, true
	}
	parts, ok := elements(raw)
	if !ok {
		return nil, false
	}
	texts := make([]string, 0, len(parts))
	for _, part := range parts {
		if part[0] != '"' {
			return nil, false
		}
		texts = append(texts, unquote(part))
	}
	return texts, true
}

// fields reads the members of an object by their types. wrong hears of each that is of
// another type. What is absent or null is the zero value.
type fields struct {
	object
	wrong func(key, reason string)
}

// member is a value; a key that occurs twice has none.
func (r fields) member(key string) json.RawMessage {
	if slices.Contains(r.twice, key) {
		return nil
	}
	return r.members[key]
}

func readAs[T any](r fields, key string, as func(json.RawMessage) (T, bool)) T {
	value, ok := as(r.member(key))
	if !ok {
		r.wrong(key, reasonBadType)
	}
	return value
}

func (r fields) text(key string) string    { return readAs(r, key, asText) }
func (r fields) texts(key string) []string { return readAs(r, key, asTexts) }
func (r fields) id(key string) string      { return readAs(r, key, asID) }

func (r fields) truth(key string) *bool {
	raw := r.member(key)
	is := string(raw) == "true"
	if !is && string(raw) != "false" {
		if !absent(raw) {
			r.wrong(key, reasonBadType)
		}
		return nil
	}
	return &is
}

func (r fields) isTrue(key string) bool {
	value := r.truth(key)
	return value != nil && *value
}

func (r fields) number(key string) *int64 {
	if absent(r.member(key)) {
		return nil
	}
	return new(readAs(r, key, asInt))
}

// within is the object that a member holds; without members where there is none.
func (r fields) within(key string) fields {
	raw := r.member(key)
	o, isObject := parseObject(raw)
	if !isObject && !absent(raw) {
		r.wrong(key, reasonBadType)
	}
	return fields{o, r.wrong}
}

// listRow is a row of a section's list. reason says why it cannot be used; "" while
// it can.
type listRow struct {
	fields

	reason string
}

func newListRow(raw json.RawMessage) *listRow {
	o, isObject := parseObject(raw)
	r := &listRow{}
	r.fields = fields{o, func(_, reason string) { r.must(false, reason) }}
	r.must(isObject, reasonBadType)
	return r
}

// must notes a reason unless something holds. The first one counts.
func (r *listRow) must(holds bool, reason string) {
	if !holds {
		r.reason = cmp.Or(r.reason, reason)
	}
}

// instant reads a time of RFC 3339 as ms.
func (r *listRow) instant(key string) int64 {
	text, ok := asText(r.member(key))
	at, err := time.Parse(time.RFC3339Nano, text)
	r.must(ok && err == nil, reasonBadTimestamp)
	return at.UnixMilli()
}

// document encodes a section's document: keys sorted, no HTML escapes.
func document(value any) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("collectors: encode document: %v", err)) // our own types always encode
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// discard frees what was read; a temporary file that cannot be removed does
// not spoil what came of it.
func discard(c io.Closer) { _ = c.Close() }
