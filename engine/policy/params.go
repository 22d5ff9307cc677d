package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"patrol/engine"
)

// Tuning is what a configuration changes about a policy.
type Tuning struct {
	Disabled bool
	Severity engine.Severity // "" keeps the policy's own
	Params   map[string]any  // values of JSON
}

// CheckTuning tells what in a tuning names no policy or no parameter, or has
// the wrong type.
func (s *Set) CheckTuning(tuning map[string]Tuning) error {
	var wrong []error
	for _, id := range engine.SortedKeys(tuning) {
		if !s.ids[id] {
			wrong = append(wrong, fmt.Errorf("policy %s: no such policy", id))
		}
	}
	for _, p := range slices.Concat(s.Resources, s.Waivers) {
		if _, err := p.Tuned(tuning[p.ID]); err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &engine.Error{
		Class: engine.ClassUsage, Reason: "config", Op: "tune policies",
		Hint: "Run patrol policies show ID for a policy's parameters and their types.",
		Err:  errors.Join(wrong...),
	}
}

// Tuned is the policy's parameters under a tuning.
func (p *Compiled) Tuned(t Tuning) (map[string]any, error) {
	params := make(map[string]any, len(p.Params))
	known := make(map[string]engine.Param, len(p.Params))
	for _, param := range p.Params {
		params[param.Name], known[param.Name] = param.Value, param
	}
	var wrong []error
	if t.Severity != "" && t.Severity.Rank() == len(engine.Severities()) {
		wrong = append(wrong, fmt.Errorf("policy %s: no such severity %q", p.ID, t.Severity))
	}
	for _, name := range engine.SortedKeys(t.Params) {
		param, is := known[name]
		if !is {
			wrong = append(wrong, fmt.Errorf("policy %s: no parameter %s; it has %v", p.ID, name, engine.SortedKeys(known)))
			continue
		}
		value, err := normal(t.Params[name])
		if err == nil {
			err = fits(param, value)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("policy %s: parameter %s: %w", p.ID, name, err))
			continue
		}
		params[name] = value
	}
	return params, errors.Join(wrong...)
}

// normal brings a value of YAML, JSON or Go into one shape: nil, bool, string,
// int64, float64, []any, map[string]any.
func normal(value any) (any, error) {
	switch v := value.(type) {
	case nil, bool, string, int64:
		return v, nil
	case int:
		return int64(v), nil
	case uint64:
		if v > math.MaxInt64 {
			return nil, fmt.Errorf("number %d is too large", v)
		}
		return int64(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%v is no number of JSON", v)
		}
		return v, nil
	case json.Number:
		return ExactNumber(v)
	case []string:
		list := make([]any, len(v))
		for i, text := range v {
			list[i] = text
		}
		return list, nil
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = normal(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		object := make(map[string]any, len(v))
		for key := range v {
			var err error
			if object[key], err = normal(v[key]); err != nil {
				return nil, err
			}
		}
		return object, nil
	}
	return nil, fmt.Errorf("%v (%T) is no JSON value; quote it", value, value)
}

// ExactNumber is a whole number as int64, any other as float64.
func ExactNumber(n json.Number) (any, error) {
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("number %s is too large", n)
	}
	return f, nil
}

// typeOf names the JSON type of a normal value.
func typeOf(value any) string {
	switch value.(type) {
	case bool:
		return "boolean"
	case string:
		return "string"
	case int64, float64:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "null"
}

// elementType is the type that all elements share; "" when they differ or there are none.
func elementType(items []any) string {
	if len(items) == 0 {
		return ""
	}
	first := typeOf(items[0])
	if slices.ContainsFunc(items, func(item any) bool { return typeOf(item) != first }) {
		return ""
	}
	return first
}

// fits tells what is wrong with a normal value for a parameter.
func fits(p engine.Param, value any) error {
	if typeOf(p.Default) != typeOf(value) {
		return fmt.Errorf("want %s, got %s", typeOf(p.Default), typeOf(value))
	}
	number := func(value any) (n float64, is bool) {
		switch n := value.(type) {
		case int64:
			return float64(n), true
		case float64:
			return n, true
		}
		return 0, false
	}
	if n, isNumber := number(value); isNumber && n < 0 {
		if standard, _ := number(p.Default); standard >= 0 {
			return fmt.Errorf("%v is negative", value)
		}
	}
	items, isList := value.([]any)
	if !isList {
		items = []any{value}
	}
	standard, _ := p.Default.([]any)
	for i, item := range items {
		if want := elementType(standard); want != "" && typeOf(item) != want {
			return fmt.Errorf("element %d: want %s, got %s", i+1, want, typeOf(item))
		}
	}
	for _, item := range items {
		text, isText := item.(string)
		switch {
		case !isText:
		case p.Enum != nil && !slices.Contains(p.Enum, text):
			return fmt.Errorf("%q: want one of %s", text, strings.Join(p.Enum, ", "))
		case p.Pattern != "" && !regexp.MustCompile("^(?:"+p.Pattern+")$").MatchString(text):
			return fmt.Errorf("%q does not match %s", text, p.Pattern)
		}
	}
	return nil
}
