package strictyaml

import (
	"bytes"
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"patrol/engine"

	"go.yaml.in/yaml/v3"
)

// Bounds on what a file may ask for: far above what anybody writes, and far
// below what would take long.
const (
	maxBytes  = 4 << 20
	maxDepth  = 64
	maxValues = 500_000 // aliases counted each time they are used
)

// File is a file that was read.
type File struct {
	Path string
	// Values are the scalars and lists of scalars, in the order of the file.
	Values   []Value
	Problems Problems

	lines   map[string]int
	plain   bool // aliases and the like are refused
	visited int
}

// Value is one value as it stands in the file.
type Value struct {
	Key  string // with those above it: workspaces[0].labels.env
	Text string // of a list, its values with commas between
	Line int
}

// Read reads text into the struct that into points to; plain refuses anchors,
// aliases, tags and merge keys. What is wrong is in Problems; more may be added
// with Wrong.
func Read(path string, text []byte, into any, plain bool) *File {
	f := &File{Path: path, lines: map[string]int{}, plain: plain}
	body := f.parse(text)
	if body != nil && len(f.Problems) == 0 {
		f.mapping(body, reflect.ValueOf(into).Elem(), "", "keys and values", 0)
	}
	return f
}

// Line is the line of a key; where that was not given, of the nearest key above.
func (f *File) Line(key string) int {
	for key != "" {
		if line, given := f.lines[key]; given {
			return line
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 0
}

// Given reports whether the file has a key.
func (f *File) Given(key string) bool {
	_, given := f.lines[key]
	return given
}

// Place is the file and the line of a key.
func (f *File) Place(key string) string { return place(f.Path, f.Line(key)) }

// Wrong notes a problem of a key.
func (f *File) Wrong(key, format string, args ...any) {
	f.Add(f.Line(key), f.label(key), format, args...)
}

// Blamed reports whether the line of a key has a problem already.
func (f *File) Blamed(key string) bool {
	return slices.ContainsFunc(f.Problems, func(p Problem) bool { return p.Line == f.Line(key) })
}

// Err is nil without problems.
func (f *File) Err() error {
	if len(f.Problems) == 0 {
		return nil
	}
	slices.SortStableFunc(f.Problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return f.Problems
}

// Add notes a problem of a line.
func (f *File) Add(line int, key, format string, args ...any) {
	if len(f.Problems) < 100 { // nobody reads on
		f.Problems = append(f.Problems, Problem{File: f.Path, Line: line, Key: key, Message: fmt.Sprintf(format, args...)})
	}
}

var yamlLine = regexp.MustCompile(`(?s)^(?:yaml: )?(?:line (\d+): )?(.*)$`)

// parse finds the one document of a file; nil: there is none, or a problem.
func (f *File) parse(text []byte) *yaml.Node {
	if len(text) > maxBytes {
		f.Add(0, "", "has %d bytes, more than %d", len(text), maxBytes)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text)) // which takes a byte order mark, of UTF-16 too
	var body *yaml.Node
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return body
		}
		if err != nil {
			parts := yamlLine.FindStringSubmatch(err.Error())
			line, _ := strconv.Atoi(parts[1])
			if line > 0 && strings.HasPrefix(parts[2], "did not find expected") {
				line++ // the library counts these lines from 0
			}
			f.Add(cmp.Or(line, guess(text, parts[2])), "", "%s", parts[2])
			return nil
		}
		if len(document.Content) == 0 || document.Content[0].Tag == "!!null" {
			continue
		}
		if body != nil {
			f.Add(document.Content[0].Line, "", "a second document: put everything into one, without ---")
			return nil
		}
		body = document.Content[0]
	}
}

// guess is the line to blame where the parser names none.
func guess(text []byte, message string) int {
	lines := bytes.Split(text, []byte("\n"))
	switch {
	case strings.Contains(message, "depth"): // the line that nests most
		most := 0
		for i, line := range lines {
			if countAny(line, "[{-?") > countAny(lines[most], "[{-?") {
				most = i
			}
		}
		return most + 1
	case strings.Contains(message, "control characters"), strings.Contains(message, "UTF-8"):
		return 1 + slices.IndexFunc(lines, func(line []byte) bool {
			return !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\r' })
		})
	}
	return 1
}

func countAny(line []byte, chars string) (n int) {
	for _, c := range line {
		if strings.IndexByte(chars, c) >= 0 {
			n++
		}
	}
	return n
}

// value reads a node into a Go value. key is its path, tag that of its field.
func (f *File) value(node *yaml.Node, into reflect.Value, key string, tag reflect.StructTag, depth int) {
	if node = f.resolved(node, key, depth); node == nil {
		return
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	_, readsText := into.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case readsText:
		f.scalar(node, into, key, tag)
	case into.Kind() == reflect.Struct, into.Kind() == reflect.Map:
		if node.Tag == "!!null" { // an empty value counts as an empty mapping
			f.remember(key, "", node.Line)
			return
		}
		f.mapping(node, into, key, cmp.Or(tag.Get("want"), "keys and values"), depth+1)
	case into.Kind() == reflect.Slice:
		f.sequence(node, into, key, tag, depth+1)
	case into.Kind() == reflect.Interface:
		if decoded := f.any(node, key, depth); decoded != nil {
			into.Set(reflect.ValueOf(decoded))
		}
		f.remember(key, f.text(node), 0)
	default:
		f.scalar(node, into, key, tag)
	}
}

// resolved is what stands for a node: itself, or what its alias names; nil, and
// a problem, where that cannot be.
func (f *File) resolved(node *yaml.Node, key string, depth int) *yaml.Node {
	f.visited++
	switch {
	case f.visited > maxValues:
		if f.visited == maxValues+1 {
			f.Add(node.Line, f.label(key), "grows to more than %d values by its aliases", maxValues)
		}
		return nil
	case depth > maxDepth:
		f.Add(node.Line, f.label(key), "is nested more than %d deep", maxDepth)
		return nil
	case f.plain && (node.Kind == yaml.AliasNode || node.Anchor != "" || node.Style&yaml.TaggedStyle != 0):
		f.Add(node.Line, f.label(key), "anchors, aliases, tags and merge keys are not read here; write the value out")
		return nil
	case node.Kind == yaml.AliasNode:
		return f.resolved(node.Alias, key, depth+1)
	}
	return node
}

// entry is a key of a mapping and its value.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

// entries are the keys of a mapping in the order of the file, those of merged
// mappings last. A key may stand once, whatever its letter case.
func (f *File) entries(node *yaml.Node, path string, depth int) []entry {
	var found, merged []entry
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch {
		case key.Tag == "!!merge" && f.plain:
			f.Add(key.Line, f.label(path), "anchors, aliases, tags and merge keys are not read here; write the value out")
			continue
		case key.Tag == "!!merge":
			if from := f.resolved(value, path, depth); from != nil && from.Kind == yaml.MappingNode {
				merged = append(merged, f.entries(from, path, depth+1)...)
			} else if from != nil {
				f.Add(key.Line, "<<", "want an alias of keys and values")
			}
			continue
		case key.Kind != yaml.ScalarNode || key.Tag == "!!null":
			f.Add(key.Line, f.label(path), "has a key that is no plain text")
			continue
		}
		same := strings.ToLower(key.Value)
		if first, twice := lines[same]; twice {
			f.Add(key.Line, "", "key %q stands in line %d already", key.Value, first)
			continue
		}
		lines[same] = key.Line
		found = append(found, entry{key.Value, key.Line, value})
	}
	for _, e := range merged {
		if _, own := lines[strings.ToLower(e.key)]; !own {
			found = append(found, e)
		}
	}
	return found
}

func (f *File) mapping(node *yaml.Node, into reflect.Value, path, want string, depth int) {
	if node = f.resolved(node, path, depth); node == nil {
		return
	}
	if node.Kind != yaml.MappingNode {
		f.Add(node.Line, f.label(path), "want %s", want)
		return
	}
	entries := f.entries(node, path, depth)
	if len(entries) == 0 {
		f.remember(path, "", node.Line)
	}
	if into.Kind() == reflect.Map {
		if into.IsNil() {
			into.Set(reflect.MakeMap(into.Type()))
		}
		for _, e := range entries {
			f.intoMap(e, into, join(path, e.key), "", depth)
		}
		return
	}
	known, rest := fieldsOf(into.Type())
	for _, e := range entries {
		key := join(path, e.key)
		i := slices.IndexFunc(known, func(field reflect.StructField) bool { return name(field) == e.key })
		if i < 0 {
			if rest != nil {
				f.intoMap(e, into.FieldByIndex(rest.Index), key, rest.Tag, depth)
				continue
			}
			f.Add(e.line, "", "unknown key %q: %s", e.key, engine.DidYouMean(e.key, names(known)))
			continue
		}
		if known[i].Tag.Get("text") == "rest" && e.value.Kind == yaml.ScalarNode && e.value.Tag == "!!str" {
			f.intoMap(e, into.FieldByIndex(rest.Index), key, rest.Tag, depth)
			continue
		}
		f.lines[key] = e.line
		f.value(e.value, into.FieldByIndex(known[i].Index), key, known[i].Tag, depth)
	}
}

func (f *File) intoMap(e entry, into reflect.Value, key string, tag reflect.StructTag, depth int) {
	f.lines[key] = e.line
	value := reflect.New(into.Type().Elem()).Elem()
	f.value(e.value, value, key, tag, depth)
	if into.IsNil() {
		into.Set(reflect.MakeMap(into.Type()))
	}
	into.SetMapIndex(reflect.ValueOf(e.key), value)
}

func (f *File) sequence(node *yaml.Node, into reflect.Value, key string, tag reflect.StructTag, depth int) {
	items := node.Content
	if node.Tag == "!!null" && !strings.HasSuffix(tag.Get("yaml"), ",single") { // an empty value counts as an empty list
		return
	}
	if node.Kind != yaml.SequenceNode {
		if !strings.HasSuffix(tag.Get("yaml"), ",single") || node.Kind != yaml.ScalarNode {
			f.Add(node.Line, f.label(key), "want %s", cmp.Or(tag.Get("want"), "a list"))
			return
		}
		items = []*yaml.Node{node}
	}
	list := reflect.MakeSlice(into.Type(), len(items), len(items))
	before := len(f.Values)
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", key, i)
		f.lines[at] = max(item.Line, f.Line(key))
		f.value(item, list.Index(i), at, tag, depth)
	}
	into.Set(list)
	if kind := into.Type().Elem().Kind(); kind != reflect.Struct && kind != reflect.Map {
		texts := []string{}
		for _, v := range f.Values[before:] {
			texts = append(texts, v.Text)
		}
		f.Values = f.Values[:before] // one value, not one for each item
		f.remember(key, strings.Join(texts, ","), node.Line)
	}
}

// scalar reads text, true or false, or a number. Text is what stands in the
// file, so that an id of digits keeps each of them.
func (f *File) scalar(node *yaml.Node, into reflect.Value, key string, tag reflect.StructTag) {
	at := node.Line
	if node.Kind != yaml.ScalarNode {
		f.Add(at, f.label(key), "want %s", cmp.Or(tag.Get("want"), "one value"))
		return
	}
	text := strings.TrimSpace(node.Value)
	if node.Tag == "!!null" || text == "" && tag.Get("empty") != "yes" {
		f.Add(at, f.label(key), "is empty: give a value or leave the key out")
		return
	}
	if f.plain && node.Tag == "!!bool" && into.Kind() != reflect.Bool {
		f.Add(at, f.label(key), "want text; quote it")
		return
	}
	f.remember(key, text, at)
	if reads, is := into.Addr().Interface().(encoding.TextUnmarshaler); is {
		if err := reads.UnmarshalText([]byte(text)); err != nil {
			f.Add(at, f.label(key), "%v", err)
		}
		return
	}
	switch into.Kind() {
	case reflect.String:
		words := wordsOf(into.Type(), tag)
		if i := slices.IndexFunc(words, func(word string) bool { return strings.EqualFold(word, text) }); i >= 0 {
			text = words[i]
		} else if words != nil {
			f.Add(at, f.label(key), "%q is unknown: %s", text, engine.DidYouMean(text, words))
		}
		into.SetString(text)
	case reflect.Bool:
		var b bool
		if node.Tag != "!!bool" || node.Decode(&b) != nil {
			f.Add(at, f.label(key), "%q: want true or false", text)
			return
		}
		into.SetBool(b)
	default: // a number
		if f.octal(node, key) {
			return
		}
		var n float64
		if node.Tag != "!!int" && (node.Tag != "!!float" || into.Kind() != reflect.Float64) || node.Decode(into.Addr().Interface()) != nil || node.Decode(&n) != nil {
			f.Add(at, f.label(key), "%q: want a %s", text, map[bool]string{true: "number", false: "whole number"}[into.Kind() == reflect.Float64])
			return
		}
		least, most := tag.Get("min"), tag.Get("max")
		below, _ := strconv.ParseFloat(cmp.Or(least, "-inf"), 64)
		above, _ := strconv.ParseFloat(cmp.Or(most, "inf"), 64)
		want := least + " to " + most
		switch {
		case most == "":
			want = least + " or more"
		case least == "":
			want = most + " or less"
		}
		if !(n >= below && n <= above) {
			f.Add(at, f.label(key), "is %s: want %s", text, want)
		}
	}
}

// LeadingZero reports whether digits begin with a zero, which one reader takes for
// octal and another not.
func LeadingZero(text string) bool { return leadingZero.MatchString(text) }

var leadingZero = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

// octal refuses a number that begins with a zero.
func (f *File) octal(node *yaml.Node, key string) bool {
	is := (node.Tag == "!!int" || node.Tag == "!!float") && LeadingZero(node.Value)
	if is {
		f.Add(node.Line, f.label(key), "%q: begins with 0, which YAML reads as octal: leave the 0 out, or quote what is text", node.Value)
	}
	return is
}

// any is a value of any shape, such as a parameter of a policy. A date stays text.
func (f *File) any(node *yaml.Node, key string, depth int) any {
	if node = f.resolved(node, key, depth); node == nil {
		return nil
	}
	switch node.Kind {
	case yaml.MappingNode:
		values := map[string]any{}
		for _, e := range f.entries(node, key, depth) {
			f.lines[join(key, e.key)] = e.line
			values[e.key] = f.any(e.value, join(key, e.key), depth+1)
		}
		return values
	case yaml.SequenceNode:
		values := []any{}
		for _, item := range node.Content {
			values = append(values, f.any(item, key, depth+1))
		}
		return values
	}
	var decoded any
	if node.Tag == "!!timestamp" {
		return node.Value
	}
	if f.octal(node, key) {
		return nil
	}
	if err := node.Decode(&decoded); err != nil {
		f.Add(node.Line, f.label(key), "%q: cannot be read", node.Value)
	}
	return decoded
}

// text is a value on one line.
func (f *File) text(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.ScalarNode:
		return node.Value
	case node.Kind == yaml.SequenceNode && !slices.ContainsFunc(node.Content, func(n *yaml.Node) bool { return n.Kind != yaml.ScalarNode }):
		texts := make([]string, len(node.Content))
		for i, item := range node.Content {
			texts[i] = item.Value
		}
		return strings.Join(texts, ",")
	}
	return fmt.Sprintf("(%d values)", len(node.Content))
}

// remember notes a value; line is where its key stands, where that is known.
func (f *File) remember(key, text string, line int) {
	if known, given := f.lines[key]; given {
		line = known
	}
	f.Values = append(f.Values, Value{Key: key, Text: text, Line: line})
}

// fieldsOf are the fields of a struct that have a key, and the one for all others.
func fieldsOf(t reflect.Type) (known []reflect.StructField, rest *reflect.StructField) {
	for _, field := range reflect.VisibleFields(t) {
		switch tag := field.Tag.Get("yaml"); {
		case name(field) == "" && tag == "", tag == "-":
		case strings.HasPrefix(tag, ",rest"):
			rest = &field
		default:
			known = append(known, field)
		}
	}
	return known, rest
}

func name(field reflect.StructField) string {
	key, _, _ := strings.Cut(cmp.Or(field.Tag.Get("yaml"), field.Tag.Get("json")), ",")
	return key
}

func names(fields []reflect.StructField) []string {
	list := make([]string, len(fields))
	for i, field := range fields {
		list[i] = name(field)
	}
	return list
}

// wordsOf is the closed set of values of a text; nil: any.
func wordsOf(t reflect.Type, tag reflect.StructTag) []string {
	if closed, is := reflect.Zero(t).Interface().(interface{ Words() []string }); is {
		return closed.Words()
	}
	if words := tag.Get("one_of"); words != "" {
		return strings.Split(words, ",")
	}
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// label is what a problem calls a key: its path, or in a plain file, which is a
// list of alike things, the last key of it alone.
func (f *File) label(path string) string {
	if !f.plain {
		return path
	}
	if strings.HasSuffix(path, "]") {
		return ""
	}
	return path[strings.LastIndex(path, ".")+1:]
}

// Problem is one mistake in a file.
type Problem struct {
	File    string
	Line    int    // 0 where no line is to blame
	Key     string // "" where no key is to blame
	Message string
}

// Place is the file and the line.
func (p Problem) Place() string { return place(p.File, p.Line) }

func (p Problem) String() string {
	if p.Key == "" {
		return p.Place() + ": " + p.Message
	}
	return p.Place() + ": " + p.Key + ": " + p.Message
}

func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// Problems is everything wrong with a file, in the order of its lines.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
