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

// Kinds of principals, as SCIM has them in its paths.
const (
	kindUsers    = "Users"
	kindServices = "ServicePrincipals"
	kindGroups   = "Groups"
)

// principal is a user, a service principal or a group. One that the directory does
// not hold stands for somebody who left.
type principal struct {
	User
	kind string
	// hideActive leaves "active" out of SCIM answers, as some of them do. Nobody
	// is so from the start: one such owner makes an audit incomplete, rightly.
	hideActive   bool
	accountAdmin bool
	secret       string // OAuth client secret, if it has one

	account bool         // an account group, not local to a workspace
	members []*principal // of a group; those implied of a workspace's "users" are not listed
}

func newGroup(id int64, name string) *principal {
	return &principal{User: User{ID: id, Name: name, DisplayName: name}, kind: kindGroups}
}

func (g *principal) add(p *principal) {
	if !slices.Contains(g.members, p) {
		g.members = append(g.members, p)
	}
}

func (g *principal) drop(p *principal) {
	g.members = slices.DeleteFunc(g.members, func(m *principal) bool { return m == p })
}

// contains reports membership through any depth of nesting.
func (g *principal) contains(p *principal) bool {
	return slices.ContainsFunc(g.members, func(m *principal) bool { return m == p || m.contains(p) })
}

// directory holds the principals of the account.
type directory struct {
	users    []*principal
	services []*principal
	groups   []*principal
	byID     map[int64]*principal  // users and service principals
	byName   map[string]*principal // those, in lower case
	auditor  *principal            // the account admin's service principal
}

func (d *directory) add(u User) *principal {
	p := &principal{User: u, kind: kindUsers}
	if u.Service {
		p.kind = kindServices
		d.services = append(d.services, p)
	} else {
		d.users = append(d.users, p)
	}
	d.byID[p.ID] = p
	d.byName[strings.ToLower(p.Name)] = p
	return p
}

func (d *directory) named(name string) *principal { return d.byName[strings.ToLower(name)] }

// groupsIn are the groups that a workspace shows: its own two, then the account's.
func (d *directory) groupsIn(ws *workspace) []*principal {
	return append([]*principal{ws.admins, ws.users}, d.groups...)
}

func (d *directory) groupIn(ws *workspace, name string) *principal {
	for _, g := range d.groupsIn(ws) {
		if strings.EqualFold(g.Name, name) {
			return g
		}
	}
	return nil
}

// member finds the principal of that id if the workspace knows it.
func (d *directory) member(ws *workspace, id int64) *principal {
	if ws.outside == id {
		return nil
	}
	return d.byID[id]
}

func (d *directory) isAdmin(ws *workspace, p *principal) bool {
	return d.member(ws, p.ID) != nil && ws.admins.contains(p)
}

// canUse reports whether the ACL lets p use and create tokens.
func (d *directory) canUse(ws *workspace, p *principal) bool {
	switch {
	case ws.grantState == GrantsDisabled, d.isAdmin(ws, p):
		return true
	case ws.grantState == GrantsNotInitialised: // the platform's default: nobody else
		return false
	}
	return slices.ContainsFunc(ws.grants, func(g Grant) bool {
		if g.GroupName == "" {
			return p.Service == (g.ServicePrincipalName != "") && strings.EqualFold(g.UserName+g.ServicePrincipalName, p.Name)
		}
		group := d.groupIn(ws, g.GroupName)
		return group != nil && (group == ws.users || group.contains(p))
	})
}
