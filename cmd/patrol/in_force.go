package main

import (
	"fmt"
	"slices"

	"patrol/engine"
)

// inForce are policies as the configuration has them judge these workspaces,
// with the place that each value comes from.
func (s *policySet) inForce(list []engine.Policy, snapshots ...engine.Snapshot) []engine.Policy {
	list = slices.Clone(list)
	for i := range list {
		p := &list[i]
		tuning, as := tuningOf(*p, s.config.Policies)
		key := "policies." + as
		if tuning.Severity != "" {
			p.SetSeverity, p.OwnSeverity, p.Severity = s.config.Place(key+".severity"), p.Severity, tuning.Severity
		}
		if tuning.Enabled != nil && !*tuning.Enabled {
			p.Off = s.config.Place(key + ".enabled")
		}
		p.Params = slices.Clone(p.Params)
		for n := range p.Params {
			param := &p.Params[n]
			param.Value, param.Origin = param.Default, "default"
			if value, set := tuning.Params[param.Name]; set {
				param.Value, param.Origin = value, s.config.Place(key+".params."+param.Name)
			}
		}
		p.Overrides = s.overridesOf(*p, snapshots)
	}
	return list
}

// overridesOf are the overrides of a policy, each with those of the workspaces
// that it matches.
func (s *policySet) overridesOf(p engine.Policy, snapshots []engine.Snapshot) (list []engine.Override) {
	for n, override := range s.config.Overrides {
		change, as := tuningOf(p, override.Policies)
		matching := []string{}
		for _, snapshot := range snapshots {
			if override.Match.Matches(snapshot.Workspace) {
				matching = append(matching, snapshot.Workspace.ID)
			}
		}
		add := func(key string, value any) {
			place := s.config.Place(fmt.Sprintf("overrides[%d].policies.%s.%s", n, as, key))
			list = append(list, engine.Override{Match: override.Match.String(), Place: s.config.Place(fmt.Sprintf("overrides[%d]", n)), Workspaces: matching, Key: key, Value: value, Origin: place})
		}
		if change.Enabled != nil {
			add("enabled", *change.Enabled)
		}
		if change.Severity != "" {
			add("severity", string(change.Severity))
		}
		for _, name := range engine.SortedKeys(change.Params) {
			add("params."+name, change.Params[name])
		}
	}
	return list
}
