package collectors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
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
	rest := bytes.TrimLeft(raw[1:], jsonSpace)
	folded := map[string]string(nil) // key in small letters → as it stands; made when a key has capitals
	for n := 0; len(rest) > 0 && rest[0] == '"'; n++ {
		if n == mostKeys {
			return object{}, false
		}
		var key, value []byte
		key, rest = cutString(rest)
		rest = bytes.TrimLeft(rest, jsonSpace+":")
		value, rest = cutValue(rest)
		name := unquote(key)
		small := strings.ToLower(name)
		if small != name && folded == nil {
			folded = make(map[string]string, len(o.members))
			for known := range o.members {
				folded[known] = known // none has capitals so far
			}
		}
		other, seen := folded[small]
		if folded == nil {
			_, seen = o.members[name]
			other = name
		} else {
			folded[small] = name
		}
		if seen {
			for _, key := range []string{other, name} {
				if !slices.Contains(o.twice, key) {
					o.twice = append(o.twice, key)
				}
			}
		}
		o.members[name] = value
		rest = bytes.TrimLeft(rest, jsonSpace+",")
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

// appendTexts appends the texts of a list, which is valid JSON; null is "". ok is
// false if it is no list, or holds anything else.
func appendTexts(texts []string, raw []byte) (list []string, ok bool) {
	if len(raw) == 0 || raw[0] != '[' {
		return texts, false
	}
	for rest := bytes.TrimLeft(raw[1:], jsonSpace); len(rest) > 0 && rest[0] != ']'; rest = bytes.TrimLeft(rest, jsonSpace+",") {
		var value []byte
		value, rest = cutValue(rest)
		text, ok := asText(value)
		if !ok {
			return texts, false
		}
		texts = append(texts, text)
	}
	return texts, true
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
	text := make([]byte, 0, len(inner))
	for at := bytes.IndexByte(inner, '\\'); at >= 0 && at+1 < len(inner); at = bytes.IndexByte(inner, '\\') {
		text = append(text, inner[:at]...)
		escaped := inner[at+1]
		inner = inner[at+2:]
		if at := strings.IndexByte("bfnrt", escaped); at >= 0 {
			escaped = "\b\f\n\r\t"[at]
		}
		if escaped != 'u' {
			text = append(text, escaped)
			continue
		}
		r := hexRune(inner)
		inner = inner[min(4, len(inner)):]
		if utf16.IsSurrogate(r) { // half of a pair, whose other half follows
			if r = utf16.DecodeRune(r, secondHalf(inner)); r != utf8.RuneError {
				inner = inner[6:]
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return string(append(text, inner...))
}

// hexRune reads the four digits of an escape; -1 where there are none.
func hexRune(digits []byte) rune {
	n, err := strconv.ParseUint(string(digits[:min(4, len(digits))]), 16, 32)
	if err != nil {
		return -1
	}
	return rune(n)
}

func secondHalf(text []byte) rune {
	digits, escaped := bytes.CutPrefix(text, []byte(`\u`))
	if !escaped {
		return -1
	}
	return hexRune(digits)
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

// asTexts reads a list of strings; absent and null are empty.
func asTexts(raw json.RawMessage) ([]string, bool) {
	if absent(raw) {
		return nil, true
	}
	var parts []json.RawMessage
	if json.Unmarshal(raw, &parts) != nil {
		return nil, false
	}
	texts := make([]string, 0, len(parts))
	for _, part := range parts {
		text, ok := asText(part)
		if !ok || absent(part) {
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, true
}

// asBool reads a boolean; absent and null are nil.
func asBool(raw json.RawMessage) (*bool, bool) {
	switch {
	case absent(raw):
		return nil, true
	case string(raw) == "true":
		return new(true), true
	case string(raw) == "false":
		return new(false), true
	}
	return nil, false
}

// asNumber reads a whole number; absent and null are nil.
func asNumber(raw json.RawMessage) (*int64, bool) {
	if absent(raw) {
		return nil, true
	}
	n, ok := asInt(raw)
	return &n, ok
}

// asInstant reads a time of RFC 3339 as ms.
func asInstant(raw json.RawMessage) (int64, bool) {
	text, ok := asText(raw)
	at, err := time.Parse(time.RFC3339Nano, text)
	return at.UnixMilli(), ok && err == nil
}

// fields reads the members of an object by their types. wrong hears of each that is of
// another type.
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
func (r fields) truth(key string) *bool    { return readAs(r, key, asBool) }
func (r fields) number(key string) *int64  { return readAs(r, key, asNumber) }

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
		r.reason = firstOf(r.reason, reason)
	}
}

// instant reads a time of RFC 3339 as ms.
func (r *listRow) instant(key string) int64 {
	ms, ok := asInstant(r.member(key))
	r.must(ok, reasonBadTimestamp)
	return ms
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
