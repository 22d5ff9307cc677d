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
	rows, answer, problem := c.getList(ctx, grantsPath, nil, "access_control_list", false)
	if problem != nil && problem.Status == engine.NotInitialised {
		return engine.Section{
			Coverage: engine.Coverage{Status: engine.Complete, Detail: "permissions on tokens were never set: nobody but admins may use tokens, as is the platform's default"},
			Document: document(engine.Grants{}),
		}
	}
	if problem == nil {
		problem = notOfTokens(rows, answer)
	}
	if problem != nil {
		return failed(problem)
	}
	var t tally
	grants := grantsOf(rows, &t)
	slices.SortFunc(grants, func(a, b engine.Grant) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Principal, b.Principal),
			cmp.Compare(a.Level, b.Level), cmp.Compare(a.InheritedFrom, b.InheritedFrom))
	})
	return engine.Section{Coverage: t.coverage(len(grants)), Document: document(grants)}
}

// notOfTokens finds out that a list cannot be that of who may use tokens: it is about
// something else, or nobody has a right by it, where admins always have one.
func notOfTokens(rows []json.RawMessage, answer object) *Problem {
	of, isText := asText(answer.members["object_type"])
	switch {
	case !isText || of != "" && of != "tokens":
		return implausible(reasonNotAList, "GET %s: the answer is about %s, not about tokens", grantsPath, engine.SafeText(cut(answer.members["object_type"])))
	case len(rows) == 0:
		return implausible(reasonNotAList, "GET %s: the list is empty, though admins always may use tokens", grantsPath)
	}
	return nil
}

// ParseGrants reads the answer that lists who may use tokens, as the collector
// of that section does.
func ParseGrants(body []byte) (engine.Grants, error) {
	if !json.Valid(body) {
		return nil, errors.New("the answer is no JSON")
	}
	key, err := repeatedKey(body, 0)
	o, _ := parseObject(body)
	rows, listed := elements(o.members["access_control_list"])
	switch {
	case err != nil:
		return nil, err
	case key != "":
		return nil, fmt.Errorf("the key %q stands twice", key)
	case !listed:
		return nil, errors.New("the answer has no access_control_list")
	}
	if problem := notOfTokens(rows, o); problem != nil {
		return nil, errors.New(problem.Detail)
	}
	var t tally
	grants := grantsOf(rows, &t)
	if len(t.examples) > 0 {
		return nil, errors.New(t.examples[0])
	}
	return grants, nil
}

// grantsOf reads what each principal may do. A level that patrol does not know may
// allow anything.
func grantsOf(rows []json.RawMessage, t *tally) engine.Grants {
	grants := engine.Grants{}
	for i, raw := range rows {
		var e aclEntry
		reason, kind := "", "user"
		if json.Unmarshal(raw, &e) != nil {
			e, reason = aclEntry{}, reasonBadType
		}
		switch {
		case e.Group != "":
			kind = "group"
		case e.SP != "":
			kind = "service_principal"
		}
		principal, permissions := cmp.Or(e.Group, e.SP, e.User), e.All
		if len(permissions) == 0 && e.Direct != "" {
			permissions = []aclPermission{{Level: e.Direct}}
		}
		if principal == "" || len(permissions) == 0 {
			reason, permissions = cmp.Or(reason, reasonMissing), nil
		}
		others := len(e.Group)+len(e.SP)+len(e.User) != len(principal)
		if others || e.Direct != "" && !slices.ContainsFunc(permissions, func(p aclPermission) bool { return p.Level == e.Direct }) {
			reason = cmp.Or(reason, reasonContradictory)
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
		if reason != "" {
			t.add(reason, "entry %d names no principal or several, or no permission that is known", i+1)
		}
	}
	return grants
}
