package collectors

import (
	"cmp"
	"context"
	"slices"

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
	for _, read := range []func(context.Context, *Client) *Problem{d.users, d.servicePrincipals, d.groups} {
		if problem := read(ctx, c); problem != nil {
			return failed(problem) // half a directory would call owners missing who are not
		}
	}
	principals := d.finish()
	return engine.Section{Coverage: d.coverage(len(principals)), Principals: principals}
}

// directory gathers principals and who is in which group.
type directory struct {
	*membership
	tally
	principals []engine.Principal
}

func (d *directory) users(ctx context.Context, c *Client) *Problem {
	return d.read(ctx, c, "Users", "userName", engine.User)
}

func (d *directory) servicePrincipals(ctx context.Context, c *Client) *Problem {
	return d.read(ctx, c, "ServicePrincipals", "applicationId", engine.ServicePrincipal)
}

func (d *directory) read(ctx context.Context, c *Client, list, nameKey string, kind engine.Kind) *Problem {
	return scimRows(ctx, c, list, "id,"+nameKey+",displayName,active,groups", &d.tally, func(row scimRow) {
		active, ok := asBool(row.members["active"])
		if !ok {
			d.add(reasonBadType, "%s: active is no boolean: %s", engine.SafeText(row.id), engine.SafeText(cut(row.members["active"])))
		}
		d.principals = append(d.principals, engine.Principal{
			ID: row.id, Kind: kind, Active: active, Raw: row.raw,
			Name: row.text(nameKey, &d.tally), DisplayName: row.text("displayName", &d.tally),
		})
		d.memberOf(row)
	})
}

// groups completes what principals say of themselves: nesting is told by
// groups only.
func (d *directory) groups(ctx context.Context, c *Client) *Problem {
	return scimRows(ctx, c, "Groups", "id,displayName,members,groups", &d.tally, func(row scimRow) {
		d.name(row.id, row.text("displayName", &d.tally))
		for _, member := range row.references("members", &d.tally) {
			d.membership.add(member.Value, row.id)
		}
		d.memberOf(row)
	})
}

func (d *directory) memberOf(row scimRow) {
	for _, group := range row.references("groups", &d.tally) {
		d.membership.add(row.id, group.Value)
		if d.names[group.Value] == "" {
			d.name(group.Value, group.Display)
		}
	}
}

func (d *directory) add(reason, format string, args ...any) { d.tally.add(reason, format, args...) }

// finish tells everybody's groups and sorts by id.
func (d *directory) finish() []engine.Principal {
	slices.SortStableFunc(d.principals, func(a, b engine.Principal) int { return cmp.Compare(a.ID, b.ID) })
	kept := d.principals[:0]
	for _, p := range d.principals {
		if len(kept) > 0 && kept[len(kept)-1].ID == p.ID {
			d.add(reasonDuplicateID, "%s is both a user and a service principal", engine.SafeText(p.ID))
			continue
		}
		p.Groups = d.groupsOf(p.ID)
		p.Admin = slices.Contains(p.Groups, adminsGroup)
		kept = append(kept, p)
	}
	return kept
}
