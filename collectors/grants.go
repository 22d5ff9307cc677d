package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"patrol/engine"
)

const grantsPath = "/api/2.0/permissions/authorization/tokens"

// Grants reads who may create and use tokens.
func (set) Grants() Collector {
	return Collector{
		Section: engine.SectionGrants,
		Doc:     "who may create and use personal access tokens",
		Calls:   []string{"GET " + grantsPath},
		Rights:  "workspace admin; Premium plan or above",
		Order:   50,
		Read:    readGrants,
	}
}

// aclEntry is one principal of the list, with levels as text: the platform
// answers levels that its own SDK does not know.
type aclEntry struct {
	User   string          `json:"user_name"`
	Group  string          `json:"group_name"`
	SP     string          `json:"service_principal_name"`
	All    []aclPermission `json:"all_permissions"`
	Direct string          `json:"permission_level"` // where there is no list
}

type aclPermission struct {
	Level     string   `json:"permission_level"`
	Inherited bool     `json:"inherited"`
	From      []string `json:"inherited_from_object"`
}

func readGrants(ctx context.Context, c *Client) engine.Section {
	var answer struct {
		List *[]aclEntry `json:"access_control_list"`
	}
	if _, problem := c.getJSON(ctx, grantsPath, nil, &answer); problem != nil {
		return failed(problem)
	}
	if answer.List == nil {
		return failed(badBody("GET %s: the answer has no access_control_list", grantsPath))
	}
	grants := engine.Grants{}
	var t tally
	for i, entry := range *answer.List {
		read := entry.grants()
		if len(read) == 0 {
			t.add(reasonMissing, "entry %d names no principal or no permission", i+1)
		}
		grants = append(grants, read...)
	}
	return engine.Section{Coverage: t.coverage(len(grants)), Document: grantsDocument(grants)}
}

func (e aclEntry) grants() []engine.Grant {
	principal, kind := e.principal()
	if principal == "" {
		return nil
	}
	permissions := e.All
	if len(permissions) == 0 && e.Direct != "" {
		permissions = []aclPermission{{Level: e.Direct}}
	}
	var grants []engine.Grant
	for _, p := range permissions {
		if p.Level == "" {
			return nil
		}
		grants = append(grants, engine.Grant{
			Principal: principal, Kind: kind, Level: p.Level,
			Inherited: p.Inherited, InheritedFrom: strings.Join(p.From, ","),
		})
	}
	return grants
}

func (e aclEntry) principal() (name, kind string) {
	switch {
	case e.Group != "":
		return e.Group, "group"
	case e.SP != "":
		return e.SP, "service_principal"
	}
	return e.User, "user"
}

func grantsDocument(grants engine.Grants) json.RawMessage {
	slices.SortFunc(grants, func(a, b engine.Grant) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Principal, b.Principal),
			cmp.Compare(a.Level, b.Level), cmp.Compare(a.InheritedFrom, b.InheritedFrom))
	})
	return document(grants)
}
