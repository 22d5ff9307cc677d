package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
		Scopes:  []string{"access-management:read"},
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
	rows, _, problem := c.getList(ctx, grantsPath, nil, "access_control_list")
	if problem != nil && problem.Status == engine.NotInitialised {
		return engine.Section{
			Coverage: engine.Coverage{Status: engine.Complete, Detail: "permissions on tokens were never set: nobody but admins may use tokens, as is the platform's default"},
			Document: document(engine.Grants{}),
		}
	}
	if problem != nil {
		return failed(problem)
	}
	grants := engine.Grants{}
	var t tally
	for i, raw := range rows {
		read, reason := readEntry(raw)
		if reason != "" {
			t.add(reason, "entry %d names no principal, or no permission that is known", i+1)
		}
		grants = append(grants, read...)
	}
	return engine.Section{Coverage: t.coverage(len(grants)), Document: grantsDocument(grants)}
}

// ParseGrants reads the answer that lists who may use tokens, as the collector
// of that section does.
func ParseGrants(body []byte) (engine.Grants, error) {
	var rows []json.RawMessage
	key, err := repeatedKey(body, 0)
	o, _ := parseObject(body)
	switch {
	case !json.Valid(body):
		return nil, errors.New("the answer is no JSON")
	case err != nil:
		return nil, err
	case key != "":
		return nil, fmt.Errorf("the key %q stands twice", key)
	case json.Unmarshal(o.members["access_control_list"], &rows) != nil || rows == nil:
		return nil, errors.New("the answer has no access_control_list")
	}
	var grants engine.Grants
	for i, raw := range rows {
		read, reason := readEntry(raw)
		if reason != "" {
			return nil, fmt.Errorf("entry %d names no principal, or no permission that is known", i+1)
		}
		grants = append(grants, read...)
	}
	return grants, nil
}

// readEntry reads what one principal may do. A level that patrol does not know
// may allow anything.
func readEntry(raw json.RawMessage) (grants []engine.Grant, reason string) {
	var e aclEntry
	if json.Unmarshal(raw, &e) != nil {
		return nil, reasonBadType
	}
	principal, kind := e.principal()
	permissions := e.All
	if len(permissions) == 0 && e.Direct != "" {
		permissions = []aclPermission{{Level: e.Direct}}
	}
	if principal == "" || len(permissions) == 0 {
		return nil, reasonMissing
	}
	for _, p := range permissions {
		if p.Level != "CAN_USE" && p.Level != "CAN_MANAGE" {
			reason = reasonUnknownLevel
		}
		grants = append(grants, engine.Grant{
			Principal: principal, Kind: kind, Level: p.Level,
			Inherited: p.Inherited, InheritedFrom: strings.Join(p.From, ","),
		})
	}
	return grants, reason
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
