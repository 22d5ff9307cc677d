package collectors

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"patrol/engine"
)

// Principals reads the users and service principals that own tokens, and
// their groups.
func (set) Principals() Collector {
	return Collector{
		Section: engine.SectionPrincipals,
		Doc:     "users, service principals and the groups they are in",
		Calls:   []string{"GET " + scimPath + "Users", "GET " + scimPath + "ServicePrincipals", "GET " + scimPath + "Groups"},
		Rights:  "workspace admin",
		Order:   30,
		Read:    readPrincipals,
	}
}

func readPrincipals(ctx context.Context, c *Client) engine.Section {
	d := directory{membership: newMembership()}
	if problem := d.readLists(ctx, c); problem != nil {
		return failed(problem) // half a directory would call owners missing who are not
	}
	principals := d.finish()
	return engine.Section{Coverage: d.coverage(len(principals)), Principals: principals}
}

// directory gathers principals and who is in which group. What it comes to
// does not depend on which list arrives first.
type directory struct {
	mu sync.Mutex // lists are read at once
	*membership
	tally
	principals []engine.Principal
}

// readLists reads the three lists at once. Of problems, that of the first list
// is told.
func (d *directory) readLists(ctx context.Context, c *Client) *Problem {
	lists := []func(context.Context, *Client, *tally) *Problem{d.users, d.servicePrincipals, d.groups}
	problems, tallies := make([]*Problem, len(lists)), make([]tally, len(lists))
	var readers sync.WaitGroup
	for i, read := range lists {
		readers.Go(func() { problems[i] = read(ctx, c, &tallies[i]) })
	}
	readers.Wait()
	for i := range lists {
		if problems[i] != nil {
			return problems[i]
		}
		d.tally = d.join(tallies[i])
	}
	d.examples, d.notes = d.examples[:min(len(d.examples), mostExamples)], d.notes[:min(len(d.notes), mostExamples)]
	return nil
}

func (d *directory) users(ctx context.Context, c *Client, t *tally) *Problem {
	return d.read(ctx, c, t, "Users", "userName", engine.User)
}

func (d *directory) servicePrincipals(ctx context.Context, c *Client, t *tally) *Problem {
	return d.read(ctx, c, t, "ServicePrincipals", "applicationId", engine.ServicePrincipal)
}

func (d *directory) read(ctx context.Context, c *Client, t *tally, list, nameKey string, kind engine.Kind) *Problem {
	return scimRows(ctx, c, list, "id,"+nameKey+",displayName,active,groups", t, func(row scimRow) {
		d.mu.Lock()
		defer d.mu.Unlock()
		active, ok := asBool(row.members["active"])
		if !ok {
			t.add(reasonBadType, "%s: active is no boolean: %s", engine.SafeText(row.id), engine.SafeText(cut(row.members["active"])))
		}
		d.principals = append(d.principals, engine.Principal{
			ID: row.id, Kind: kind, Active: active, Raw: row.raw,
			Name: row.text(nameKey, t), DisplayName: row.text("displayName", t),
		})
		d.memberOf(row, t)
	})
}

// groups completes what principals say of themselves: nesting is told by
// groups only.
func (d *directory) groups(ctx context.Context, c *Client, t *tally) *Problem {
	return scimRows(ctx, c, "Groups", "id,displayName,members,groups", t, func(row scimRow) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.name(row.id, row.text("displayName", t))
		for _, member := range row.references("members", t) {
			d.membership.add(member.Value, row.id)
		}
		d.memberOf(row, t)
	})
}

func (d *directory) memberOf(row scimRow, t *tally) {
	for _, group := range row.references("groups", t) {
		d.membership.add(row.id, group.Value)
		d.hint(group.Value, group.Display)
	}
}

func (d *directory) add(reason, format string, args ...any) { d.tally.add(reason, format, args...) }

// finish tells everybody's groups and sorts by id; a user comes before a
// service principal of the same id.
func (d *directory) finish() []engine.Principal {
	slices.SortFunc(d.principals, func(a, b engine.Principal) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), -cmp.Compare(a.Kind, b.Kind))
	})
	kept := d.principals[:0]
	for _, p := range d.principals {
		if len(kept) > 0 && kept[len(kept)-1].ID == p.ID {
			d.add(reasonDuplicateID, "%s is both a user and a service principal", engine.SafeText(p.ID))
			continue
		}
		p.Groups = d.groupsOf(p.ID)
		p.Admin = new(slices.Contains(p.Groups, adminsGroup))
		kept = append(kept, p)
	}
	return kept
}
