package collectors

import (
	"maps"
	"slices"
)

// adminsGroup is the platform's own group of workspace admins.
const adminsGroup = "admins"

// membership is who belongs to which groups, directly; ids of groups and of
// principals share one space.
type membership struct {
	parents map[string]map[string]bool // member → groups
	names   map[string]string          // group → display name
	closure map[string][]string        // memo of all groups above a group
}

func newMembership() *membership {
	return &membership{parents: map[string]map[string]bool{}, names: map[string]string{}, closure: map[string][]string{}}
}

func (m *membership) add(member, group string) {
	if member == "" || group == "" {
		return
	}
	if m.parents[member] == nil {
		m.parents[member] = map[string]bool{}
	}
	m.parents[member][group] = true
}

func (m *membership) name(group, name string) {
	if name != "" {
		m.names[group] = name
	}
}

// groupsOf names all groups of a principal, nested ones included, sorted.
func (m *membership) groupsOf(principal string) []string {
	names := map[string]bool{}
	for group := range m.parents[principal] {
		for _, above := range m.above(group) {
			names[firstOf(m.names[above], above)] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// above is a group and all groups that it is in, however deep. Groups may
// contain each other in a circle.
func (m *membership) above(group string) []string {
	if known, ok := m.closure[group]; ok {
		return known
	}
	seen := map[string]bool{group: true}
	for queue := []string{group}; len(queue) > 0; {
		next := queue[0]
		queue = queue[1:]
		for parent := range m.parents[next] {
			if !seen[parent] {
				seen[parent] = true
				queue = append(queue, parent)
			}
		}
	}
	all := slices.Sorted(maps.Keys(seen))
	m.closure[group] = all
	return all
}
