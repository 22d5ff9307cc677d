package policy

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"

	"patrol/engine"
)

// schema is the JSON schema of the input for one resource. To OPA an object
// with properties is closed and one without is open.
type schema map[string]any

func parseSchema(text []byte) (schema, error) {
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	if s.properties() == nil {
		return nil, errors.New("the schema has no properties")
	}
	return s, nil
}

// parts are the objects that may hold the properties: the schema itself, the members of
// its allOf or anyOf, or the definition of root that it refers to. policies/README.md says why they differ.
func (s schema) parts(root schema) []map[string]any {
	parts := []map[string]any{s}
	for _, key := range []string{"allOf", "anyOf"} {
		members, _ := s[key].([]any)
		for _, member := range members {
			if part, ok := member.(map[string]any); ok {
				parts = append(parts, part)
			}
		}
	}
	reference, _ := s["$ref"].(string)
	definitions, _ := root["definitions"].(map[string]any)
	if part, ok := definitions[strings.TrimPrefix(reference, "#/definitions/")].(map[string]any); ok {
		parts = append(parts, part)
	}
	return parts
}

func (s schema) properties() map[string]any {
	for _, part := range s.parts(s) {
		if properties, ok := part["properties"].(map[string]any); ok {
			return properties
		}
	}
	return nil
}

// fields lists what is below a property, such as workspace; nil when it is open.
func (s schema) fields(property string) map[string]any {
	below, _ := s.properties()[property].(map[string]any)
	fields, _ := below["properties"].(map[string]any)
	return fields
}

// withParams puts a policy's parameters in the place of params, each with the
// type of its default. Without parameters input.params does not exist.
func (s schema) withParams(params []engine.Param) schema {
	properties := maps.Clone(s.properties())
	delete(properties, "params")
	if len(params) > 0 {
		types := map[string]any{}
		for _, param := range params {
			types[param.Name] = schemaOf(param.Default)
		}
		properties["params"] = map[string]any{"type": "object", "properties": types}
	}
	whole := maps.Clone(s)
	delete(whole, "allOf")
	delete(whole, "anyOf")
	delete(whole, "$ref")
	whole["type"], whole["properties"] = "object", properties
	return whole
}

func schemaOf(value any) map[string]any {
	of := map[string]any{"type": typeOf(value)}
	if items, ok := value.([]any); ok {
		if element := elementType(items); element != "" {
			of["items"] = map[string]any{"type": element}
		}
	}
	return of
}
