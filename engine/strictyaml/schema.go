package strictyaml

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Schema is the JSON Schema of a file that Read reads into a value: its keys,
// what they are for, and their values. more are further keys of the top.
func Schema(title string, of any, more map[string]any) ([]byte, error) {
	schema := schemaOf(reflect.TypeOf(of), "")
	schema["$schema"], schema["title"] = "https://json-schema.org/draft/2020-12/schema", title
	properties := schema["properties"].(map[string]any)
	for key, value := range more {
		if _, own := properties[key]; own { // a text or what the struct says
			value = map[string]any{"anyOf": []any{properties[key], value}}
		}
		properties[key] = value
	}
	text, err := json.MarshalIndent(schema, "", "  ")
	return append(text, '\n'), err
}

func schemaOf(t reflect.Type, tag reflect.StructTag) map[string]any {
	schema := map[string]any{}
	if doc := tag.Get("doc"); doc != "" {
		schema["description"] = doc
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if _, reads := reflect.New(t).Interface().(encoding.TextUnmarshaler); reads {
		schema["type"] = "string"
		return schema
	}
	switch t.Kind() {
	case reflect.Struct:
		schema["type"], schema["additionalProperties"] = []string{"object", "null"}, false
		properties, required := map[string]any{}, []string{}
		known, _ := fieldsOf(t)
		for _, field := range known {
			properties[name(field)] = schemaOf(field.Type, field.Tag)
			if field.Tag.Get("required") != "" {
				required = append(required, name(field))
			}
		}
		schema["properties"] = properties
		if len(required) > 0 {
			schema["required"] = required
		}
	case reflect.Map:
		schema["type"] = []string{"object", "null"}
		schema["additionalProperties"] = schemaOf(t.Elem(), "")
	case reflect.Slice:
		items := schemaOf(t.Elem(), "")
		schema["type"], schema["items"] = "array", items
		if strings.HasSuffix(tag.Get("yaml"), ",single") {
			schema["type"] = []any{"array", items["type"]}
		}
	case reflect.Interface:
	case reflect.Bool:
		schema["type"] = "boolean"
	case reflect.String:
		schema["type"] = []string{"string", "number", "boolean"}
		if words := wordsOf(t, tag); words != nil {
			schema["type"], schema["enum"] = "string", words
		}
	case reflect.Float64, reflect.Float32:
		bounded(schema, "number", tag)
	default:
		bounded(schema, "integer", tag)
	}
	return schema
}

func bounded(schema map[string]any, kind string, tag reflect.StructTag) {
	schema["type"] = kind
	for tagName, key := range map[string]string{"min": "minimum", "max": "maximum"} {
		if n, err := strconv.ParseFloat(tag.Get(tagName), 64); err == nil {
			schema[key] = n
		}
	}
}

// Settings are the values that a struct holds below a key, in the order of its
// fields: those that stand for themselves, not the members of maps.
func Settings(key string, of any) (values []Value) {
	v := reflect.Indirect(reflect.ValueOf(of))
	known, _ := fieldsOf(v.Type())
	for _, field := range known {
		at, value := join(key, name(field)), v.FieldByIndex(field.Index)
		_, reads := reflect.New(field.Type).Interface().(encoding.TextUnmarshaler)
		switch kind := field.Type.Kind(); {
		case kind == reflect.Struct && !reads:
			values = append(values, Settings(at, value.Interface())...)
		case kind == reflect.Map, kind == reflect.Pointer:
		case kind == reflect.Slice:
			values = append(values, Value{Key: at, Text: strings.Trim(fmt.Sprint(value.Interface()), "[]")})
		default:
			values = append(values, Value{Key: at, Text: fmt.Sprint(value.Interface())})
		}
	}
	return values
}

// Keys are the keys that the struct of a value, or of a pointer to one, has
// fields for.
func Keys(of any) []string {
	known, _ := fieldsOf(reflect.Indirect(reflect.ValueOf(of)).Type())
	return names(known)
}
