package simulator

import (
	"slices"
	"strings"
)

// User is a user or, with Service, a service principal.
type User struct {
	ID          int64
	Name        string // user name, or application id
	DisplayName string
	Service     bool
	Active      bool
}

// principal is a user or a service principal. One that is in no directory
// stands for somebody who left.
type principal struct {
	User
	// hideActive leaves "active" out of SCIM answers, as some of them do. Nobody
	// is so from the start: one such owner makes an audit incomplete, rightly.
	hideActive   bool
	accountAdmin bool
	secret       string // OAuth client secret, if it has one
}

// group holds principals and other groups. The implied members of a workspace's
// "users" group are not listed.
type group struct {
	id      int64
	name    string
	account bool // an account group, not local to a workspace
	members []member
	has     map[int64]bool
}

type member struct {
	id      int64
	display string
	ref     string // "Users", "ServicePrincipals" or "Groups"
	group   *group
}

func (g *group) add(p *principal) {
	ref := "Users"
	if p.Service {
		ref = "ServicePrincipals"
	}
	g.join(member{id: p.ID, display: p.DisplayName, ref: ref})
}

func (g *group) nest(inner *group) {
	g.join(member{id: inner.id, display: inner.name, ref: "Groups", group: inner})
}

func (g *group) join(m member) {
	if g.has == nil {
		g.has = map[int64]bool{}
	}
	if !g.has[m.id] {
		g.has[m.id] = true
		g.members = append(g.members, m)
	}
}

func (g *group) drop(id int64) {
	delete(g.has, id)
	g.members = slices.DeleteFunc(g.members, func(m member) bool { return m.id == id })
}

// contains reports membership through any depth of nesting. Groups may contain each
// other in a circle.
func (g *group) contains(id int64) bool {
	seen := map[*group]bool{g: true}
	for queue := []*group{g}; len(queue) > 0; queue = queue[1:] {
		if queue[0].has[id] {
			return true
		}
		for _, m := range queue[0].members {
			if m.group != nil && !seen[m.group] {
				seen[m.group] = true
				queue = append(queue, m.group)
			}
		}
	}
	return false
}

// directory holds the principals and groups of the account.
type directory struct {
	users    []*principal
	services []*principal
	groups   []*group
	byID     map[int64]*principal
	byName   map[string]*principal
	auditor  *principal // the account admin's service principal
}

func (d *directory) add(p *principal) *principal {
	if p.Service {
		d.services = append(d.services, p)
	} else {
		d.users = append(d.users, p)
	}
	d.byID[p.ID] = p
	d.byName[strings.ToLower(p.Name)] = p
	return p
}

func (d *directory) remove(p *principal) {
	same := func(other *principal) bool { return other == p }
	d.users = slices.DeleteFunc(d.users, same)
	d.services = slices.DeleteFunc(d.services, same)
	delete(d.byID, p.ID)
	delete(d.byName, strings.ToLower(p.Name))
	for _, g := range d.groups {
		g.drop(p.ID)
	}
}

func (d *directory) named(name string) *principal { return d.byName[strings.ToLower(name)] }

func (d *directory) group(name string) *group {
	for _, g := range d.groups {
		if strings.EqualFold(g.name, name) {
			return g
		}
	}
	return nil
}

// groupsIn are the groups that a workspace shows: its own two, then the account's.
func (d *directory) groupsIn(ws *workspace) []*group {
	return append([]*group{ws.admins, ws.users}, d.groups...)
}

func (d *directory) groupIn(ws *workspace, name string) *group {
	for _, g := range d.groupsIn(ws) {
		if strings.EqualFold(g.name, name) {
			return g
		}
	}
	return nil
}

// member finds the principal of that id if the workspace knows it.
func (d *directory) member(ws *workspace, id int64) *principal {
	if p := d.byID[id]; p != nil && !ws.outside[id] {
		return p
	}
	return nil
}

func (d *directory) isAdmin(ws *workspace, p *principal) bool {
	return d.member(ws, p.ID) != nil && ws.admins.contains(p.ID)
}

// canUse reports whether the ACL lets p use and create tokens.
func (d *directory) canUse(ws *workspace, p *principal) bool {
	if ws.grantState == GrantsDisabled || d.isAdmin(ws, p) {
		return true
	}
	if ws.grantState == GrantsNotInitialised { // the platform's default: nobody else
		return false
	}
	return slices.ContainsFunc(ws.grants, func(g Grant) bool {
		switch {
		case g.UserName != "":
			return !p.Service && strings.EqualFold(g.UserName, p.Name)
		case g.ServicePrincipalName != "":
			return p.Service && strings.EqualFold(g.ServicePrincipalName, p.Name)
		}
		if strings.EqualFold(g.GroupName, ws.users.name) {
			return true
		}
		in := d.groupIn(ws, g.GroupName)
		return in != nil && in.contains(p.ID)
	})
}
