package table

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

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
