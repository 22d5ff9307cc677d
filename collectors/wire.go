package collectors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"patrol/engine"
)

// getBody asks for a small answer: one JSON value, in which no object has a key
// twice and which does not say that there is more. The marks of pages that the
// caller follows are named.
func (c *Client) getBody(ctx context.Context, path string, query url.Values, followed ...string) (json.RawMessage, http.Header, *Problem) {
	answer, p := c.Get(ctx, path, query, answerLimit)
	if p != nil {
		return nil, nil, p
	}
	defer discard(answer)
	var body json.RawMessage
	decoder := json.NewDecoder(answer.Reader())
	if err := decoder.Decode(&body); err != nil {
		return nil, nil, badJSON("GET "+path, err)
	}
	if err := atEnd(decoder); err != nil {
		return nil, nil, badJSON("GET "+path, err)
	}
	if key, nested := repeatedKey(body, 0); nested != nil {
		return nil, nil, badBody("GET %s: %v", path, nested)
	} else if key != "" {
		return nil, nil, implausible(reasonDuplicateKey, "GET %s: the key %q stands twice in one object", path, engine.SafeText(cut([]byte(key))))
	}
	o, _ := parseObject(body)
	for _, key := range engine.SortedKeys(o.members) {
		if !slices.Contains(followed, key) && marksMore(key, o.members[key]) {
			return nil, nil, implausible(reasonPaged, "GET %s: %s says that there is more than the answer holds", path, key)
		}
	}
	return body, answer.Header, nil
}

// getJSON asks for a small answer and decodes it.
func (c *Client) getJSON(ctx context.Context, path string, query url.Values, into any, followed ...string) (http.Header, *Problem) {
	body, header, problem := c.getBody(ctx, path, query, followed...)
	if problem != nil {
		return nil, problem
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, badJSON("GET "+path, err)
	}
	return header, nil
}

// getList asks for a list: an object with a list under a key. Whatever else
// comes with status 200, as {}, null or the object of an error, is not believed:
// it would look like a list without rows.
func (c *Client) getList(ctx context.Context, path string, query url.Values, key string, followed ...string) ([]json.RawMessage, object, *Problem) {
	body, _, problem := c.getBody(ctx, path, query, followed...)
	if problem != nil {
		return nil, object{}, problem
	}
	return listUnder(path, body, key)
}

// listUnder is the list under a key of an answer.
func listUnder(path string, body json.RawMessage, key string) ([]json.RawMessage, object, *Problem) {
	var rows []json.RawMessage
	o, isObject := parseObject(body)
	list, listed := o.members[key]
	switch {
	case !isObject:
		return nil, o, implausible(reasonNotAList, "GET %s: the answer is no object with %s", path, key)
	case !absent(o.members["error_code"]), !absent(o.members["detail"]):
		return nil, o, implausible(reasonNotAList, "GET %s: the answer is an error with status 200", path)
	case !listed && key == "Resources" && !absent(o.members["totalResults"]): // an empty page; totals tell whether it may be
		return nil, o, nil
	case !listed, json.Unmarshal(list, &rows) != nil, rows == nil:
		return nil, o, implausible(reasonNotAList, "GET %s: the answer has no list %s", path, key)
	}
	return rows, o, nil
}

// marksMore reports whether a member of an answer says that the answer is not all.
func marksMore(key string, value json.RawMessage) bool {
	switch strings.ToLower(strings.ReplaceAll(key, "_", "")) {
	case "nextpagetoken", "nextcursor", "nextlink":
		return !absent(value) && string(value) != `""`
	case "hasmore", "truncated":
		return !absent(value) && !slices.Contains([]string{"false", `"false"`, "0"}, string(value))
	}
	return false
}

// totalOf is what an answer says of how many rows there are; false where it does not.
func totalOf(o object) (int64, bool) {
	for _, key := range []string{"totalResults", "total_count", "totalCount", "total"} {
		if n, ok := asInt(o.members[key]); ok {
			return n, true
		}
	}
	return 0, false
}

// Bounds of what an answer may hold; no workspace comes near them.
const (
	mostNested = 64
	mostKeys   = 1000
)

var errNested = fmt.Errorf("values are nested deeper than %d", mostNested)

// repeatedKey finds a key that stands twice in one object, in whatever letter
// case, anywhere in valid JSON. Names of tags are free: those may differ in case alone.
func repeatedKey(raw []byte, depth int) (string, error) {
	raw = bytes.TrimLeft(raw, jsonSpace)
	if depth > mostNested {
		return "", errNested
	}
	switch {
	case len(raw) > 0 && raw[0] == '{':
		o, small := parseObject(raw)
		if !small {
			return "", fmt.Errorf("an object has more than %d keys", mostKeys)
		}
		if len(o.twice) > 0 {
			return o.twice[0], nil
		}
		for _, key := range engine.SortedKeys(o.members) {
			if key == "custom_tags" {
				continue
			}
			if found, err := repeatedKey(o.members[key], depth+1); found != "" || err != nil {
				return found, err
			}
		}
	case len(raw) > 0 && raw[0] == '[':
		for rest := bytes.TrimLeft(raw[1:], jsonSpace); len(rest) > 0 && rest[0] != ']'; rest = bytes.TrimLeft(rest, jsonSpace+",") {
			var value []byte
			value, rest = cutValue(rest)
			if found, err := repeatedKey(value, depth+1); found != "" || err != nil {
				return found, err
			}
		}
	}
	return "", nil
}

var errTrailing = errors.New("something follows the JSON value")

func atEnd(decoder *json.Decoder) error {
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}

// badJSON tells a value that breaks off from one that is no JSON, or not of
// the expected shape.
func badJSON(what string, err error) *Problem {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return badBody("%s: the answer is empty", what)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return truncatedBody("%s: the answer breaks off", what)
	case errors.As(err, &syntax):
		return badBody("%s: the answer is no JSON at byte %d", what, syntax.Offset)
	case errors.Is(err, errNoList):
		return implausible(reasonNotAList, "%s: %v", what, err)
	case errors.Is(err, errMore):
		return implausible(reasonPaged, "%s: %v", what, err)
	case errors.Is(err, errTwice):
		return implausible(reasonDuplicateKey, "%s: %v", what, err)
	}
	return badBody("%s: %s", what, engine.SafeText(err.Error()))
}

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
		return cutNested(text)
	}
	end := bytes.IndexAny(text, jsonSpace+",]}")
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

func cutNested(text []byte) (value, rest []byte) {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			inner, _ := cutString(text[i:])
			i += len(inner) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return text[:i+1], text[i+1:]
			}
		}
	}
	return text, nil
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
	var b strings.Builder
	for len(inner) > 0 {
		bad := invalidAt(inner)
		var chunk string
		_ = json.Unmarshal([]byte(`"`+string(inner[:bad])+`"`), &chunk) // valid: the whole was
		b.WriteString(chunk)
		inner = inner[bad:]
		if len(inner) > 0 {
			b.WriteByte(inner[0])
			inner = inner[1:]
		}
	}
	return b.String()
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

func newDecoder(a *Answer) *json.Decoder { return json.NewDecoder(a.Reader()) }

// discard frees what was read; a temporary file that cannot be removed does
// not spoil what came of it.
func discard(c io.Closer) { _ = c.Close() }
