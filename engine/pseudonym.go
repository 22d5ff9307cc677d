package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Pseudonyms stand for the names of people: the same key gives the same person
// the same pseudonym in every output, and without the key nobody can compute
// them. Numeric ids and UUIDs stay, because they say nothing outside their
// workspace; service principals and groups keep their names, because they are
// no people.
type Pseudonyms struct {
	key   []byte
	known map[string]bool     // names of people, in lower case
	begin map[string][]string // the same by their first word, longest first; see Text
	parts map[string][]string // words of names that stand for a person in what people write
}

// PseudonymKeyMin is the least size of a key in bytes: that of the hash.
const PseudonymKeyMin = sha256.Size

// PseudonymPrefix is what every pseudonym begins with.
const PseudonymPrefix = "person-"

// NewPseudonyms takes the content of a key file.
func NewPseudonyms(key []byte) (*Pseudonyms, error) {
	if len(key) < PseudonymKeyMin {
		return nil, errors.New("the key is shorter than 32 bytes")
	}
	return &Pseudonyms{slices.Clone(key), map[string]bool{}, map[string][]string{}, map[string][]string{}}, nil
}

// Learn takes in names of people: addresses, full names, and what stands in
// place of an id in an imported list. Ids are skipped.
func (p *Pseudonyms) Learn(names ...string) {
	for _, name := range names {
		name = strings.TrimSpace(name)
		lower := strings.ToLower(name)
		if name == "" || isID(name) || p.known[lower] {
			continue
		}
		p.known[lower] = true
		if utf8.RuneCountInString(name) > 2 || strings.ContainsFunc(name, unspaced) { // initials would be found inside of words
			index(p.begin, name)
		}
		local, _, _ := strings.Cut(name, "@")
		local, _, _ = strings.Cut(local, "+")
		for _, part := range append(strings.FieldsFunc(local, func(r rune) bool { return !wordRune(r) }), local) {
			if utf8.RuneCountInString(part) > 2 && part != name {
				index(p.parts, part)
			}
		}
		if found := address.FindString(name); found != name { // as in: Ann Smith <ann@example.com>
			p.Learn(found)
		}
	}
}

// index files a name under its first word.
func index(names map[string][]string, name string) {
	name = strings.TrimFunc(name, func(r rune) bool { return !wordRune(r) })
	word := strings.ToLower(name[:wordEnd(name)])
	if name == "" || slices.Contains(names[word], name) {
		return
	}
	names[word] = append(names[word], name)
	slices.SortStableFunc(names[word], func(a, b string) int { return len(b) - len(a) })
}

// Name is the pseudonym of a name: HMAC-SHA256 over its lower case, for the
// platform tells names of users apart regardless of case. Ids stay.
func (p *Pseudonyms) Name(name string) string {
	if name == "" || isID(name) {
		return name
	}
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(strings.ToLower(name)))
	return PseudonymPrefix + hex.EncodeToString(mac.Sum(nil)[:10])
}

// address finds e-mail addresses, which is what the names of users are.
var address = regexp.MustCompile(`[\p{L}\p{N}._%+'~#&*/=?^{|}$!-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*`)

// Text replaces the known names and every e-mail address in a text.
func (p *Pseudonyms) Text(text string) string {
	if p.known[strings.ToLower(strings.TrimSpace(text))] {
		return p.Name(strings.TrimSpace(text))
	}
	text = p.replace(text, p.begin)
	if strings.Contains(text, "@") {
		text = address.ReplaceAllStringFunc(text, p.Name)
	}
	return text
}

// Written is Text for what people write of themselves and others, where a
// first name or the beginning of an address is a name as well.
func (p *Pseudonyms) Written(text string) string { return p.replace(p.Text(text), p.parts) }

// replace puts pseudonyms in place of whole words that are names.
func (p *Pseudonyms) replace(text string, names map[string][]string) string {
	if len(names) == 0 {
		return text
	}
	var b strings.Builder
	kept := 0
	for at := 0; at < len(text); {
		end := at + wordEnd(text[at:])
		if end == at {
			_, size := utf8.DecodeRuneInString(text[at:])
			at += size
			continue
		}
		for _, name := range names[strings.ToLower(text[at:end])] {
			if after := prefixFold(text[at:], name); after > 0 && (at+after <= end || !splitsWord(text, at+after)) {
				b.WriteString(text[kept:at] + p.Name(text[at:at+after]))
				end, kept = at+after, at+after
				break
			}
		}
		at = end
	}
	return b.String() + text[kept:]
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) }

// unspaced holds for letters of a script that puts no blanks between words.
func unspaced(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai)
}

// wordEnd is where the word ends with which a text begins; 0 where it begins
// with none. Each character of a script without blanks is a word.
func wordEnd(text string) int {
	for i, r := range text {
		switch {
		case !wordRune(r):
			return i
		case unspaced(r) && i == 0:
			return utf8.RuneLen(r)
		case unspaced(r):
			return i
		}
	}
	return len(text)
}

// splitsWord reports whether a place in a text is inside of a word.
func splitsWord(text string, at int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:at])
	after, size := utf8.DecodeRuneInString(text[at:])
	return size > 0 && wordRune(before) && wordRune(after) && !unspaced(before) && !unspaced(after)
}

// prefixFold is the length of the beginning of a text that is prefix in some
// letter case; 0 where it begins otherwise.
func prefixFold(text, prefix string) int {
	at := 0
	for _, want := range prefix {
		got, size := utf8.DecodeRuneInString(text[at:])
		if size == 0 || unicode.ToLower(got) != unicode.ToLower(want) {
			return 0
		}
		at += size
	}
	return at
}

var uuid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// isID reports whether a name is a numeric id or the UUID of an application.
func isID(name string) bool {
	return strings.Trim(name, "0123456789") == "" || uuid.MatchString(name)
}

// Pseudonymised is a copy of any value with pseudonyms in all its texts: every
// output is made of such copies, so that no field of theirs can be forgotten.
// Without pseudonyms it is the value itself. A tag says of a field what its
// type does not:
//
//	names:"person"   a person, or the id of one: replaced whole
//	names:"written"  free text by people
//	names:"drop"     raw answers, which outputs do not show
func Pseudonymised[T any](p *Pseudonyms, value T) T {
	if p == nil {
		return value
	}
	return p.value(reflect.ValueOf(&value).Elem(), "").Interface().(T)
}

func (p *Pseudonyms) value(v reflect.Value, tag string) reflect.Value {
	changed := reflect.New(v.Type()).Elem()
	changed.Set(v)
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() { // other types are words of our own: a status, a severity
			text := p.Text
			switch tag {
			case "person":
				text = p.Name
			case "written":
				text = p.Written
			}
			changed.SetString(text(v.String()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			changed.Set(reflect.New(v.Type().Elem()))
			changed.Elem().Set(p.value(v.Elem(), tag))
		}
	case reflect.Interface:
		if !v.IsNil() {
			changed.Set(p.value(v.Elem(), tag))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return v
		}
		p.fields(changed)
	case reflect.Slice, reflect.Array:
		if raw, ok := v.Interface().(json.RawMessage); ok {
			return reflect.ValueOf(p.document(raw))
		}
		if v.Kind() == reflect.Slice && !v.IsNil() {
			changed.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		for i := range v.Len() {
			changed.Index(i).Set(p.value(v.Index(i), tag))
		}
	case reflect.Map:
		if !v.IsNil() {
			changed.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		}
		for entries := v.MapRange(); entries.Next(); {
			changed.SetMapIndex(p.value(entries.Key(), tag), p.value(entries.Value(), tag))
		}
	}
	return changed
}

// fields changes the fields of a struct in place. Whether some names are those
// of people depends on what they are the names of.
func (p *Pseudonyms) fields(v reflect.Value) {
	var person []string
	switch of := v.Interface().(type) {
	case Party:
		if of.Kind != ServicePrincipal {
			person = []string{"Name", "DisplayName"}
		}
	case AccountParty:
		if of.Kind != ServicePrincipal {
			person = []string{"Name"}
		}
	case Principal:
		if of.Kind != ServicePrincipal {
			person = []string{"Name", "DisplayName"}
		}
	case Grant:
		if of.Kind == string(User) {
			person = []string{"Principal"}
		}
	case Policy: // text of its author; parameters may list whom it approves of
		v.FieldByName("Params").Set(p.value(v.FieldByName("Params"), ""))
		return
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		tag := field.Tag.Get("names")
		switch {
		case !field.IsExported():
		case tag == "drop":
			v.Field(i).SetZero()
		case slices.Contains(person, field.Name):
			v.Field(i).Set(p.value(v.Field(i), "person"))
		default:
			v.Field(i).Set(p.value(v.Field(i), tag))
		}
	}
}

// document changes the texts of JSON. What is none is left out.
func (p *Pseudonyms) document(raw json.RawMessage) json.RawMessage {
	var value any
	if len(raw) == 0 || json.Unmarshal(raw, &value) != nil {
		return nil
	}
	return CompactJSON(mapTexts(value, p.Text, func(key string) string { return key }))
}

// Pseudonymised is the report with pseudonyms, its findings and tokens
// included. Of the documents of its snapshots it keeps the list of the
// account's workspaces, which names nobody.
func (r Report) Pseudonymised(p *Pseudonyms) Report {
	if p == nil {
		return r
	}
	findings, tokens := r.Findings, r.Tokens
	r = Pseudonymised(p, r)
	for i, w := range r.Workspaces {
		if list := w.Snapshot.Documents[SectionAccount]; list != nil {
			r.Workspaces[i].Snapshot.Documents = map[SectionName]json.RawMessage{SectionAccount: list}
			continue
		}
		r.Workspaces[i].Snapshot.Documents = nil
	}
	r.Findings = mapEach(findings, func(f Finding) Finding { return Pseudonymised(p, f) })
	r.Tokens = mapEach(tokens, func(t TokenRow) TokenRow { return Pseudonymised(p, t) })
	return r
}

// Redacted is the report as people may see it: without the secrets that others
// wrote into comments. The store keeps comments as they are, because policies
// judge them again.
func (r Report) Redacted() Report {
	if r.redacted {
		return r
	}
	r.redacted = true
	r.WhatIf = RedactSecrets(r.WhatIf)
	r.Findings = mapEach(r.Findings, Finding.Redacted)
	r.Workspaces = slices.Clone(r.Workspaces)
	for i, w := range r.Workspaces {
		r.Workspaces[i].Settings = w.Settings.redacted()
	}
	r.Tokens = mapEach(r.Tokens, TokenRow.Redacted)
	if r.Trend != nil {
		t := *r.Trend
		t.New = slices.Clone(t.New)
		for i, f := range t.New {
			t.New[i] = f.Redacted()
		}
		r.Trend = &t
	}
	return r
}

// Redacted is the finding without secrets: a policy may quote a comment.
func (f Finding) Redacted() Finding {
	f.Message = RedactSecrets(f.Message)
	f.Evidence, _ = mapTexts(f.Evidence, RedactSecrets, RedactSecrets).(map[string]any)
	if f.Token != nil {
		token := *f.Token
		token.Comment = RedactSecrets(token.Comment)
		f.Token = &token
	}
	return f
}

// Redacted is the row without secrets.
func (t TokenRow) Redacted() TokenRow {
	t.Token.Comment = RedactSecrets(t.Token.Comment)
	t.Token.Defects = slices.Clone(t.Token.Defects)
	for i, d := range t.Token.Defects {
		t.Token.Defects[i].Value = RedactSecrets(d.Value)
	}
	return t
}

// redacted are the settings without secrets in their values.
func (s Settings) redacted() Settings {
	if s == nil {
		return nil
	}
	shown := make(Settings, len(s))
	for key, setting := range s {
		if setting.Value != nil {
			value := RedactSecrets(*setting.Value)
			setting.Value = &value
		}
		setting.Detail = RedactSecrets(setting.Detail)
		shown[key] = setting
	}
	return shown
}

func mapEach[T any](rows iter.Seq2[T, error], change func(T) T) iter.Seq2[T, error] {
	if rows == nil {
		return nil
	}
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			if !yield(change(row), err) {
				return
			}
		}
	}
}

// mapTexts changes the texts of a JSON value, and the keys of its objects: a policy may
// build an object whose keys come from a comment. Keys that become alike are numbered,
// so that nothing goes missing. The original stays as it is.
func mapTexts(value any, text, key func(string) string) any {
	switch v := value.(type) {
	case string:
		return text(v)
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = mapTexts(element, text, key)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for _, name := range SortedKeys(v) {
			changed := key(name)
			free := changed
			for n := 2; has(object, free); n++ {
				free = fmt.Sprintf("%s (%d)", changed, n)
			}
			object[free] = mapTexts(v[name], text, key)
		}
		return object
	}
	return value
}

func has(object map[string]any, key string) bool {
	_, there := object[key]
	return there
}
