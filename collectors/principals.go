package collectors

import (
	"cmp"
	"context"
	"slices"
	"sync"

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

// readPeople reads both lists at once. Of problems, that of the first is told.
func readPeople(ctx context.Context, c *Client, attributes string) (*people, *Problem) {
	all := &people{counts: map[engine.Kind]int{}}
	lists := []struct {
		name, key string
		kind      engine.Kind
	}{{"Users", "userName", engine.User}, {"ServicePrincipals", "applicationId", engine.ServicePrincipal}}
	problems, tallies, rows := make([]*Problem, len(lists)), make([]tally, len(lists)), make([][]person, len(lists))
	var readers sync.WaitGroup
	for i, list := range lists {
		readers.Go(func() {
			t := &tallies[i]
			problems[i] = scimRows(ctx, c, list.name, "id,"+list.key+",displayName"+attributes, t, func(row scimRow) {
				rows[i] = append(rows[i], person{engine.Principal{
					ID: row.id, Kind: list.kind, Active: row.truth("active"), Raw: row.raw,
					Name: row.text(list.key), DisplayName: row.text("displayName"),
				}, row.references("groups"), false})
			})
		})
	}
	readers.Wait()
	for i, list := range lists {
		if problems[i] != nil {
			return nil, problems[i]
		}
		all.counts[list.kind] = len(rows[i])
		all.rows = append(all.rows, rows[i]...)
		all.tally = all.join(tallies[i])
	}
	all.mergeTwins()
	all.examples, all.notes = all.examples[:min(len(all.examples), mostExamples)], all.notes[:min(len(all.notes), mostExamples)]
	return all, nil
}

// mergeTwins sorts by id and makes one row of those that share an id. What they
// tell differently is unknown, whichever comes first.
func (p *people) mergeTwins() {
	slices.SortStableFunc(p.rows, func(a, b person) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(string(a.Raw), string(b.Raw)))
	})
	kept := p.rows[:0]
	for _, row := range p.rows {
		if len(kept) == 0 || kept[len(kept)-1].ID != row.ID {
			kept = append(kept, row)
			continue
		}
		twin := &kept[len(kept)-1]
		if twin.Kind == row.Kind && sameJSON(twin.Raw, row.Raw) {
			p.note("%s stands twice, alike", engine.SafeText(row.ID))
			continue
		}
		p.add(reasonDuplicateID, "%s stands twice, with differences", engine.SafeText(row.ID))
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
	p.rows = kept
}
