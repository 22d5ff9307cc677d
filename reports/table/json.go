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

// WriteJSON writes a document: a Tall object or a List has each member and element on a
// line of its own, and everything in it on that line. A difference between two reports is
// then a difference between lines.
func WriteJSON(w io.Writer, value any) error {
	out := &jsonWriter{out: w}
	if err := out.value("", value); err != nil {
		return err
	}
	out.text.WriteByte('\n')
	return out.flush()
}

// Tall is an Object whose members stand on lines of their own.
type Tall Object

// List makes the elements of a list, each on a line of its own: it calls element with one
// after the other, so that they need not be in memory together.
type List func(element func(any) error) error

// Elements is the list of what shape makes of rows.
func Elements[T any](ctx context.Context, rows iter.Seq2[T, error], shape func(T) any) List {
	return func(element func(any) error) error {
		return Each(ctx, rows, func(row T) error { return element(shape(row)) })
	}
}

type jsonWriter struct {
	out  io.Writer
	text bytes.Buffer // not yet written
}

func (j *jsonWriter) value(indent string, value any) error {
	empty := true
	begin := func() { // the line of a member or element
		if !empty {
			j.text.WriteByte(',')
		}
		empty = false
		j.text.WriteString("\n" + indent + "  ")
	}
	end := func(bracket byte) {
		if !empty {
			j.text.WriteString("\n" + indent)
		}
		j.text.WriteByte(bracket)
	}
	switch v := value.(type) {
	case Tall:
		j.text.WriteByte('{')
		for i := 0; i+1 < len(v); i += 2 {
			if v[i+1] == (Absent{}) {
				continue
			}
			begin()
			j.text.WriteString(`"` + v[i].(string) + `": `)
			if err := j.value(indent+"  ", v[i+1]); err != nil {
				return err
			}
		}
		end('}')
	case List:
		j.text.WriteByte('[')
		err := v(func(element any) error {
			begin()
			return j.value(indent+"  ", element)
		})
		if err != nil {
			return err
		}
		end(']')
	default:
		text, err := JSONText(value)
		if err != nil {
			return err
		}
		j.text.Write(text)
	}
	if j.text.Len() < 64<<10 {
		return nil
	}
	return j.flush()
}

func (j *jsonWriter) flush() error {
	_, err := j.text.WriteTo(j.out)
	return err
}

// JSON writes rows as a list of objects, one a line, with the names of the
// columns as keys. What does not apply or is not known is null.
func JSON[T any](ctx context.Context, w io.Writer, columns []Column[T], rows iter.Seq2[T, error]) error {
	return WriteJSON(w, Elements(ctx, rows, func(row T) any {
		members := make(Object, 0, 2*len(columns))
		for _, c := range columns {
			members = append(members, c.Name, jsonCell(c.Value(row)))
		}
		return members
	}))
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
		text, err = appendJSON(nil, legible(reflect.ValueOf(value)).Interface())
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

// legible copies a value of any shape with bytes that are no UTF-8 made visible, in
// every string that it holds.
func legible(v reflect.Value) reflect.Value {
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
				out.Field(i).Set(legible(v.Field(i)))
			}
		}
	case reflect.Map:
		out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for key, value := range v.Seq2() {
			out.SetMapIndex(legible(key), legible(value))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(legible(v.Index(i)))
		}
	case reflect.Pointer:
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(legible(v.Elem()))
	case reflect.Interface:
		out.Set(legible(v.Elem()))
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
