package policy

import (
	"errors"
	"fmt"
	"slices"

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
		value, err := checked(param, t.Params[name])
		if err != nil {
			wrong = append(wrong, fmt.Errorf("policy %s: parameter %s: %w", p.ID, name, err))
			continue
		}
		params[name] = value
	}
	return params, errors.Join(wrong...)
}

func checked(param engine.Param, given any) (any, error) {
	value, err := normal(given)
	if err != nil {
		return nil, err
	}
	if problem := wrongValue(param, value); problem != "" {
		return nil, errors.New(problem)
	}
	return value, nil
}
