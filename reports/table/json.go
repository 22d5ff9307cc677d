package table

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"reflect"
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
		members := make(object, len(columns))
		for i, c := range columns {
			members[i] = member{c.Name, jsonCell(c.Value(row))}
		}
		return members
	})
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	key   string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		text, err := JSONText(m.value)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `"`+m.key+`":`...), text...)
	}
	return append(b, '}'), nil
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
	text, err := encode(value)
	if err == nil && bytes.Contains(text, []byte(`\ufffd`)) { // the encoder met bytes that are no UTF-8
		text, err = encode(legible(value))
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
	case reflect.String:
		return reflect.ValueOf(LegibleText(v.String())).Convert(v.Type())
	case reflect.Struct:
		return legibleStruct(v)
	case reflect.Map:
		return legibleMap(v)
	case reflect.Slice:
		return legibleSlice(v)
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v
		}
		return legiblePointee(v)
	}
	return v
}

func legiblePointee(v reflect.Value) reflect.Value {
	inner := legibleValue(v.Elem())
	if v.Kind() == reflect.Interface {
		return inner
	}
	pointer := reflect.New(inner.Type())
	pointer.Elem().Set(inner)
	return pointer
}

func legibleStruct(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			out.Field(i).Set(legibleValue(v.Field(i)))
		}
	}
	return out
}

func legibleMap(v reflect.Value) reflect.Value {
	if v.IsNil() {
		return v
	}
	out := reflect.MakeMapWithSize(v.Type(), v.Len())
	for key, value := range v.Seq2() {
		out.SetMapIndex(legibleValue(key), legibleValue(value))
	}
	return out
}

func legibleSlice(v reflect.Value) reflect.Value {
	if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
		return v
	}
	out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	for i := range v.Len() {
		out.Index(i).Set(legibleValue(v.Index(i)))
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
