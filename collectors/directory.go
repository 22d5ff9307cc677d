package collectors

import (
	"cmp"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unique"

	"patrol/engine"
)

// Principals reads the users and service principals that own tokens.
func (set) Principals() Collector {
	return Collector{
		Section: engine.SectionPrincipals,
		Doc:     "users and service principals",
		Calls:   []string{"GET " + scimPath + "Users", "GET " + scimPath + "ServicePrincipals"},
		Rights:  "workspace admin",
		Scopes:  []string{"scim:read"},
		Order:   30,
		Read:    readPrincipals,
	}
}

func readPrincipals(ctx context.Context, c *Client) engine.Section {
	people, problem := readPeople(ctx, c, ",active,groups")
	if problem != nil {
		return failed(problem) // half a directory would call owners missing who are not
	}
	c.session.people = people
	principals := people.principals()
	return engine.Section{
		Coverage: people.coverage(len(principals)), Principals: principals,
		Document: document(map[string]int{"users": people.counts[engine.User], "service_principals": people.counts[engine.ServicePrincipal]}),
	}
}

// people are the users and service principals of a directory, by id.
type people struct {
	tally
	rows   []person
	counts map[engine.Kind]int
}

func (p *people) principals() []engine.Principal {
	principals := make([]engine.Principal, len(p.rows))
	for i, one := range p.rows {
		principals[i] = one.Principal
	}
	return principals
}

// person is a principal with the groups that its own row names.
type person struct {
	engine.Principal
	groups []reference
	unsure bool // its rows name different groups
}

// readPeople reads both lists at once. Of problems, that of the first is told. Rows
// that share an id become one: what they tell differently is unknown, whichever
// comes first.
func readPeople(ctx context.Context, c *Client, attributes string) (*people, *Problem) {
	type list struct {
		path, name string // of its rows: the key of their names
		kind       engine.Kind
		rows       []person
		tally      tally
		problem    *Problem
	}
	lists := []*list{{path: "Users", name: "userName", kind: engine.User}, {path: "ServicePrincipals", name: "applicationId", kind: engine.ServicePrincipal}}
	var readers sync.WaitGroup
	for _, l := range lists {
		readers.Go(func() {
			l.problem = scimRows(ctx, c, l.path, "id,"+l.name+",displayName"+attributes, &l.tally, func(row scimRow) {
				l.rows = append(l.rows, person{engine.Principal{
					ID: row.id, Kind: l.kind, Active: row.truth("active"), Raw: row.raw,
					Name: row.text(l.name), DisplayName: row.text("displayName"),
				}, row.references("groups"), false})
			})
		})
	}
	readers.Wait()
	all := &people{counts: map[engine.Kind]int{}}
	for _, l := range lists {
		if l.problem != nil {
			return nil, l.problem
		}
		all.counts[l.kind] = len(l.rows)
		all.rows = append(all.rows, l.rows...)
		all.tally = all.join(l.tally)
	}
	slices.SortStableFunc(all.rows, func(a, b person) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(string(a.Raw), string(b.Raw)))
	})
	kept := all.rows[:0]
	for _, row := range all.rows {
		if len(kept) == 0 || kept[len(kept)-1].ID != row.ID {
			kept = append(kept, row)
			continue
		}
		twin := &kept[len(kept)-1]
		if twin.Kind == row.Kind && sameJSON(twin.Raw, row.Raw) {
			all.note("%s stands twice, alike", engine.SafeText(row.ID))
			continue
		}
		all.add(reasonDuplicateID, "%s stands twice, with differences", engine.SafeText(row.ID))
		if twin.Kind != row.Kind {
			twin.Kind = "" // nothing else of it counts then
		}
		if twin.Name != row.Name {
			twin.Name = ""
		}
		if twin.DisplayName != row.DisplayName {
			twin.DisplayName = ""
		}
		if twin.Active == nil || row.Active == nil || *twin.Active != *row.Active {
			twin.Active = nil
		}
		if !slices.Equal(twin.groups, row.groups) {
			twin.groups, twin.unsure = nil, true
		}
	}
	all.rows = kept
	all.examples, all.notes = all.examples[:min(len(all.examples), mostExamples)], all.notes[:min(len(all.notes), mostExamples)]
	return all, nil
}

// adminsGroup is the platform's own group of workspace admins.
const adminsGroup = "admins"

// Groups reads who is in which group, which tells who is an admin.
func (set) Groups() Collector {
	return Collector{
		Section: engine.SectionGroups,
		Doc:     "groups and who is in them",
		Calls:   []string{"GET " + scimPath + "Groups"},
		Rights:  "workspace admin",
		Scopes:  []string{"scim:read"},
		Order:   35,
		Read:    readGroups,
	}
}

// group is a group with the members that it names, and the groups that it says
// it is in.
type group struct {
	id, name        string
	members, groups []reference
}

// readGroups reads the list with its members. Of large workspaces that takes too
// long for the platform: then it reads names, and each group by itself.
func readGroups(ctx context.Context, c *Client) engine.Section {
	const whole = "id,displayName,members,groups"
	var groups []group
	t := &tally{}
	take := func(row scimRow) {
		groups = append(groups, group{row.id, row.text("displayName"), row.references("members"), row.references("groups")})
	}
	problem := scimRows(ctx, c, "Groups", whole, t, take)
	if problem != nil && slices.Contains([]string{reasonTimeout, reasonServerError, reasonTruncatedBody, reasonBadBody}, problem.Reason) && ctx.Err() == nil {
		var ids []string
		groups, t = nil, &tally{}
		if failure := scimRows(ctx, c, "Groups", "id,displayName", t, func(row scimRow) { ids = append(ids, row.id) }); failure != nil {
			return failed(problem)
		}
		for _, id := range ids {
			path := c.scim + "Groups/" + url.PathEscape(id)
			body, _, failure := c.getBody(ctx, path, url.Values{"attributes": {whole}})
			if failure != nil {
				return failed(failure)
			}
			row := newSCIMRow(body, t)
			if row.id != id {
				return failed(implausible(reasonNotAList, "GET %s: the answer is not that group", path))
			}
			take(row)
		}
		problem = nil
	}
	if problem != nil {
		return failed(problem)
	}
	c.session.groups = groups
	return engine.Section{Coverage: t.coverage(len(groups))}
}

// membership is who belongs to which groups, directly; ids of groups and of
// principals share one space.
type membership struct {
	parents map[string][]string // member → groups; few each
	names   map[string]string   // group → display name, as the group tells it
	hints   map[string]string   // group → display name, as members tell it
	closure map[string][]string // memo of all groups above a group
	lists   map[string][]string // memo of the names of all groups above some
}

// newMembership joins what people and groups say of each other.
func newMembership(people []person, groups []group) *membership {
	m := &membership{
		parents: map[string][]string{}, names: map[string]string{}, hints: map[string]string{},
		closure: map[string][]string{}, lists: map[string][]string{},
	}
	within := func(id string, groups []reference) {
		for _, g := range groups {
			m.add(id, g.Value)
			if known := m.hints[g.Value]; g.Display != "" && (known == "" || g.Display < known) {
				m.hints[g.Value] = g.Display // of names that differ the first in order counts: members come in any order
			}
		}
	}
	for _, g := range groups {
		if g.name != "" {
			m.names[g.id] = g.name
		}
		for _, member := range g.members {
			m.add(member.Value, g.id)
		}
		within(g.id, g.groups)
	}
	for _, p := range people {
		within(p.ID, p.groups)
	}
	return m
}

func (m *membership) add(member, group string) {
	if member == "" || group == "" || slices.Contains(m.parents[member], group) {
		return
	}
	m.parents[member] = append(m.parents[member], unique.Make(group).Value()) // one text for all that name it
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
			names[cmp.Or(m.names[above], m.hints[above], above)] = true
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
