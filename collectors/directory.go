package collectors

import (
	"maps"
	"slices"
	"strings"
)

// adminsGroup is the platform's own group of workspace admins.
const adminsGroup = "admins"

// membership is who belongs to which groups, directly; ids of groups and of
// principals share one space.
type membership struct {
	parents map[string][]string // member → groups; few each
	ids     map[string]string   // of groups: one text for all that name it
	names   map[string]string   // group → display name, as the group tells it
	hints   map[string]string   // group → display name, as members tell it
	closure map[string][]string // memo of all groups above a group
	lists   map[string][]string // memo of the names of all groups above some
}

func newMembership() *membership {
	return &membership{
		parents: map[string][]string{}, ids: map[string]string{}, names: map[string]string{}, hints: map[string]string{},
		closure: map[string][]string{}, lists: map[string][]string{},
	}
}

func (m *membership) add(member, group string) {
	if member == "" || group == "" || slices.Contains(m.parents[member], group) {
		return
	}
	if _, known := m.ids[group]; !known {
		m.ids[group] = group
	}
	m.parents[member] = append(m.parents[member], m.ids[group])
}

func (m *membership) name(group, name string) {
	if name != "" {
		m.names[group] = name
	}
}

// hint is a group's name as a member tells it. Of names that differ the first
// in order counts: members come in any order.
func (m *membership) hint(group, name string) {
	if known := m.hints[group]; name != "" && (known == "" || name < known) {
		m.hints[group] = name
	}
}

// groupsOf names all groups of a principal, nested ones included, sorted.
// Principals of the same groups share the list.
func (m *membership) groupsOf(principal string) []string {
	direct := slices.Sorted(slices.Values(m.parents[principal]))
	key := strings.Join(direct, "\x00")
	if known, ok := m.lists[key]; ok {
		return known
	}
	names := map[string]bool{}
	for _, group := range direct {
		for _, above := range m.above(group) {
			names[firstOf(m.names[above], m.hints[above], above)] = true
		}
	}
	list := slices.Clip(slices.Sorted(maps.Keys(names)))
	m.lists[key] = list
	return list
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
		for _, parent := range m.parents[next] {
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
