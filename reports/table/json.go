package table

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"patrol/engine"
)

// JSONWriter writes a JSON document whose lists have one element a line: a
// difference between two reports is then a difference between lines.
type JSONWriter struct {
	out   io.Writer
	text  bytes.Buffer // not yet written
	empty bool         // nothing yet at this level
}

func NewJSONWriter(w io.Writer) *JSONWriter { return &JSONWriter{out: w, empty: true} }

// Open starts an object or list.
func (j *JSONWriter) Open(bracket string) {
	j.text.WriteString(bracket)
	j.empty = true
}

// Next starts a line for another member or element.
func (j *JSONWriter) Next(indent string) {
	if !j.empty {
		j.text.WriteByte(',')
	}
	j.text.WriteString("\n" + indent)
	j.empty = false
}

// Close ends an object or list; an empty one stays on its line.
func (j *JSONWriter) Close(indent, bracket string) {
	if !j.empty {
		j.text.WriteString("\n" + indent)
	}
	j.text.WriteString(bracket)
	j.empty = false
}

// Value writes a value on the line that was started.
func (j *JSONWriter) Value(value any) error {
	text, err := JSONText(value)
	if err != nil {
		return err
	}
	j.text.Write(text)
	if j.text.Len() < 64<<10 {
		return nil
	}
	return j.flush()
}

func (j *JSONWriter) flush() error {
	_, err := j.text.WriteTo(j.out)
	return err
}

// End writes the final newline and what is buffered.
func (j *JSONWriter) End() error {
	j.text.WriteByte('\n')
	return j.flush()
}

// Member starts a line with a member of an object and writes its value.
func (j *JSONWriter) Member(indent, key string, value any) error {
	j.Key(indent, key)
	return j.Value(value)
}

// Members writes the members of an object that was opened, one a line.
func (j *JSONWriter) Members(indent string, members Object) error {
	for i := 0; i+1 < len(members); i += 2 {
		if members[i+1] == (Absent{}) {
			continue
		}
		if err := j.Member(indent, members[i].(string), members[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// Key starts a line with the key of a member. All keys are ours.
func (j *JSONWriter) Key(indent, key string) {
	j.Next(indent)
	j.text.WriteString(`"` + key + `": `)
}

// List writes a member that is a list, one element a line.
func List[T any](ctx context.Context, j *JSONWriter, indent, key string, rows iter.Seq2[T, error], shape func(T) any) error {
	j.Key(indent, key)
	j.Open("[")
	err := Each(ctx, rows, func(row T) error {
		j.Next(indent + "  ")
		return j.Value(shape(row))
	})
	j.Close(indent, "]")
	return err
}

// Array writes a document that is a list, one element a line.
func Array[T any](ctx context.Context, w io.Writer, rows iter.Seq2[T, error], shape func(T) any) error {
	j := NewJSONWriter(w)
	j.Open("[")
	err := Each(ctx, rows, func(row T) error {
		j.Next("  ")
		return j.Value(shape(row))
	})
	if err != nil {
		return err
	}
	j.Close("", "]")
	return j.End()
}

// JSON writes rows as a list of objects, one a line, with the names of the
// columns as keys. What does not apply or is not known is null.
func JSON[T any](ctx context.Context, w io.Writer, columns []Column[T], rows iter.Seq2[T, error]) error {
	return Array(ctx, w, rows, func(row T) any {
		members := make(Object, 0, 2*len(columns))
		for _, c := range columns {
			members = append(members, c.Name, jsonCell(c.Value(row)))
		}
		return members
	})
}

// Object is a JSON object whose members keep their order: keys and values by
// turns. All keys are ours. A member whose value is Absent is left out.
type Object []any

// Absent is the value of a member that is not there.
type Absent struct{}

// NotEmpty is a value, and Absent where it is zero or has no elements.
func NotEmpty(value any) any {
	v := reflect.ValueOf(value)
	if !v.IsValid() || v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
		return Absent{}
	}
	return value
}

func (o Object) MarshalJSON() ([]byte, error) { return o.append(nil) }

func (o Object) append(b []byte) (_ []byte, err error) {
	b = append(b, '{')
	empty := true
	for i := 0; i+1 < len(o); i += 2 {
		if o[i+1] == (Absent{}) {
			continue
		}
		if !empty {
			b = append(b, ',')
		}
		empty = false
		b = append(append(append(b, '"'), o[i].(string)...), `":`...)
		if b, err = appendJSON(b, o[i+1]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendJSON(b []byte, value any) (_ []byte, err error) {
	switch v := value.(type) {
	case Object:
		return v.append(b)
	case []Object:
		b = append(b, '[')
		for i, o := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = o.append(b); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any: // evidence
		o := make(Object, 0, 2*len(v))
		for _, key := range engine.SortedKeys(v) {
			if _, ok := appendPlain(nil, key); !ok {
				o = nil
				break
			}
			o = append(o, key, v[key])
		}
		if len(o) == 2*len(v) && v != nil {
			return o.append(b)
		}
	case string:
		if quoted, ok := appendPlain(b, v); ok {
			return quoted, nil
		}
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	}
	text, err := encode(value)
	return append(b, text...), err
}

// appendPlain appends a text in which no JSON escapes anything, and markup means
// nothing. It reports whether it is one.
func appendPlain(b []byte, text string) ([]byte, bool) {
	for i := range len(text) {
		switch c := text[i]; c {
		case '"', '\\', '<', '>', '&':
			return b, false
		default:
			if c < ' ' || c > '~' {
				return b, false
			}
		}
	}
	return append(append(append(b, '"'), text...), '"'), true
}

// Quoted is harmless text as JSON that may stand in a script element.
func Quoted(text string) (string, error) {
	if b, ok := appendPlain(nil, text); ok {
		return string(b), nil
	}
	b, err := json.Marshal(text) // escapes < > and &
	return string(b), err
}

func jsonCell(value any) any {
	switch v := value.(type) {
	case Unknown, Never:
		return nil
	case Instant:
		return v.Text()
	case []string:
		if v == nil {
			return []string{}
		}
	case Lines:
		return jsonCell([]string(v))
	}
	return value
}

// JSONText encodes a value on one line. Unlike json.Marshal it leaves < > & as
// they are, shows bytes that are no UTF-8 as \xff instead of dropping them, and
// escapes every character that would act on a terminal. A reader gets the
// exact text back.
func JSONText(value any) ([]byte, error) {
	text, err := appendJSON(nil, value)
	if err == nil && bytes.Contains(text, []byte(`\ufffd`)) { // the encoder met bytes that are no UTF-8
		text, err = appendJSON(nil, legible(value))
	}
	if err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return engine.EscapeJSON(text), nil
}

func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// legible copies a value of any shape with bytes that are no UTF-8 made
// visible, in every string that it holds.
func legible(value any) any {
	if value == nil {
		return nil
	}
	return legibleValue(reflect.ValueOf(value)).Interface()
}

func legibleValue(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		if v.IsNil() {
			return v
		}
	}
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(LegibleText(v.String()))
	case reflect.Struct:
		out.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(legibleValue(v.Field(i)))
			}
		}
	case reflect.Map:
		out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for key, value := range v.Seq2() {
			out.SetMapIndex(legibleValue(key), legibleValue(value))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(legibleValue(v.Index(i)))
		}
	case reflect.Pointer:
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(legibleValue(v.Elem()))
	case reflect.Interface:
		out.Set(legibleValue(v.Elem()))
	default:
		return v
	}
	return out
}

// LegibleText makes bytes that are no UTF-8 visible.
func LegibleText(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size <= 1 {
			fmt.Fprintf(&b, `\x%02x`, text[i])
		} else {
			b.WriteString(text[i : i+size])
		}
		i += size
	}
	return b.String()
}
