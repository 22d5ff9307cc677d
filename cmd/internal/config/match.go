package config

import (
	"strings"

	"patrol/engine"
)

// Matches reports whether all patterns that are given match a workspace.
func (m Match) Matches(w engine.Workspace) bool {
	if !engine.MatchGlob(m.Name, w.Name) || !engine.MatchGlob(m.Cloud, w.Cloud) {
		return false
	}
	for label, pattern := range m.Labels {
		if as, set := LabelIn(w.Labels, label); !set || !engine.MatchGlob(pattern, w.Labels[as]) {
			return false
		}
	}
	return true
}

func (m Match) String() string {
	var parts []string
	if m.Name != "" {
		parts = append(parts, "name is "+m.Name)
	}
	if m.Cloud != "" {
		parts = append(parts, "cloud is "+m.Cloud)
	}
	for _, label := range engine.SortedKeys(m.Labels) {
		parts = append(parts, "label "+label+" is "+m.Labels[label])
	}
	if len(parts) == 0 {
		return "any workspace"
	}
	return strings.Join(parts, " and ")
}

// LabelIn is how a label stands there: by its name, in any letter case where it
// does not stand as it is.
func LabelIn(labels map[string]string, name string) (as string, set bool) {
	if _, set = labels[name]; set {
		return name, true
	}
	for _, other := range engine.SortedKeys(labels) {
		if strings.EqualFold(other, name) {
			return other, true
		}
	}
	return "", false
}
