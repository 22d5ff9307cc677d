package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	filter "github.com/scim2/filter-parser/v2"
)

const (
	scimSchemas = "urn:ietf:params:scim:schemas:core:2.0:"
	scimAPI     = "urn:ietf:params:scim:api:messages:2.0:"
	scimType    = "application/scim+json"
)

// accountWide parts the account's SCIM from a workspace's.
func (c *call) accountWide() bool { return c.request.PathValue("account") != "" }

// principals are those of the kind in the path, as far as the caller sees them.
func (c *call) principals() []*principal {
	kind := c.request.URL.Path
	kind, _, _ = strings.Cut(kind[strings.Index(kind, "/v2/")+len("/v2/"):], "/")
	all := map[string][]*principal{kindUsers: c.directory.users, kindServices: c.directory.services, kindGroups: c.visibleGroups()}[kind]
	if c.accountWide() {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(p *principal) bool { return p.ID == c.ws.outside })
}

func (c *call) visibleGroups() []*principal {
	if c.accountWide() {
		return c.directory.groups
	}
	return c.directory.groupsIn(c.ws)
}

// scimDoc is a principal as SCIM shows it. Its groups are those that it is in
// directly: nesting is for the reader to resolve.
func (c *call) scimDoc(p *principal) obj {
	doc := obj{"id": decimal(p.ID), "displayName": p.DisplayName}
	var groups []obj
	for _, g := range c.visibleGroups() {
		if slices.Contains(g.members, p) || g == c.ws.users && p.kind != kindGroups {
			id := decimal(g.ID)
			groups = append(groups, obj{"display": g.Name, "value": id, "type": "direct", "$ref": "Groups/" + id})
		}
	}
	if groups != nil {
		doc["groups"] = groups
	}
	if p.kind == kindGroups {
		resource := "WorkspaceGroup"
		if p.account {
			resource = "Group"
		}
		doc["schemas"], doc["meta"] = []string{scimSchemas + "Group"}, obj{"resourceType": resource}
		var members []obj
		for _, m := range p.members {
			id := decimal(m.ID)
			members = append(members, obj{"display": m.DisplayName, "value": id, "$ref": m.kind + "/" + id})
		}
		if members != nil {
			doc["members"] = members
		}
		return doc
	}
	doc["externalId"] = "ext-" + decimal(p.ID)
	doc["entitlements"] = []obj{{"value": "workspace-access"}, {"value": "databricks-sql-access"}}
	if !p.hideActive {
		doc["active"] = p.Active
	}
	if p.Service {
		doc["schemas"], doc["applicationId"] = []string{scimSchemas + "ServicePrincipal"}, p.Name
		return doc
	}
	given, family, _ := strings.Cut(p.DisplayName, " ")
	doc["schemas"], doc["userName"], doc["name"] = []string{scimSchemas + "User"}, p.Name, obj{"givenName": given, "familyName": family}
	doc["emails"] = []obj{{"type": "work", "value": p.Name, "primary": true}}
	return doc
}

func scimList(c *call) *answer {
	query := c.request.URL.Query()
	number := func(name string, usual int) (int, *answer) {
		text := query.Get(name)
		if text == "" {
			return usual, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, scimError(http.StatusBadRequest, "invalidValue", name+" is not a number: "+text)
		}
		return n, nil
	}
	rows := visible(c, c.principals(), func(p *principal) []string {
		if p == c.who.principal {
			return []string{decimal(p.ID), p.Name, "caller"}
		}
		return []string{decimal(p.ID), p.Name}
	})
	if text := query.Get("filter"); text != "" {
		keep, err := parseFilter(text)
		if err != nil {
			return scimError(http.StatusBadRequest, "invalidFilter", err.Error())
		}
		rows = slices.DeleteFunc(slices.Clone(rows), func(p *principal) bool { return !keep(c.scimDoc(p)) })
	}
	start, bad := number("startIndex", 1)
	if bad != nil {
		return bad
	}
	count, bad := number("count", c.opts.MaxPage)
	if bad != nil {
		return bad
	}
	if start < 1 || c.firstPage {
		start = 1
	}
	from := min(start-1, len(rows))
	to := min(from+min(max(count, 0), c.opts.MaxPage), len(rows))
	var docs []obj
	for _, p := range rows[from:to] {
		docs = append(docs, c.project(c.scimDoc(p)))
	}
	page := obj{"schemas": []string{scimAPI + "ListResponse"}, "totalResults": len(rows), "startIndex": start, "itemsPerPage": len(docs)}
	if docs != nil {
		page["Resources"] = docs
	}
	return jsonAnswer(http.StatusOK, scimType, page)
}

func scimGet(c *call) *answer {
	id := c.request.PathValue("id")
	for _, p := range c.principals() {
		if decimal(p.ID) == id {
			return jsonAnswer(http.StatusOK, scimType, c.project(c.scimDoc(p)))
		}
	}
	return scimError(http.StatusNotFound, "", "Resource with id "+id+" not found.")
}

// scimMe is the caller. A service principal's userName is its application id.
func scimMe(c *call) *answer {
	doc := c.scimDoc(c.who.principal)
	doc["userName"] = c.who.principal.Name
	return jsonAnswer(http.StatusOK, scimType, c.project(doc))
}

// project applies attributes and excludedAttributes; id and schemas stay.
func (c *call) project(doc obj) obj {
	names := func(parameter string) (names []string) {
		for name := range strings.SplitSeq(strings.ToLower(c.request.URL.Query().Get(parameter)), ",") {
			if name, _, _ = strings.Cut(strings.TrimSpace(name), "."); name != "" {
				names = append(names, name)
			}
		}
		return names
	}
	wanted, unwanted := names("attributes"), names("excludedAttributes")
	for name := range doc {
		lower := strings.ToLower(name)
		if name != "id" && name != "schemas" && (wanted != nil && !slices.Contains(wanted, lower) || slices.Contains(unwanted, lower)) {
			delete(doc, name)
		}
	}
	return doc
}

func scimError(status int, kind, detail string) *answer {
	doc := obj{"schemas": []string{scimAPI + "Error"}, "detail": detail, "status": strconv.Itoa(status)}
	if kind != "" {
		doc["scimType"] = kind
	}
	return jsonAnswer(status, scimType, doc)
}

// parseFilter understands the part of the SCIM filter language that Databricks
// documents: eq, ne, co, sw, ew and pr, joined by and, or, not and parentheses.
func parseFilter(text string) (keep func(obj) bool, err error) {
	if strings.Count(text, "(") > 100 {
		return nil, errors.New("filter: nested too deeply")
	}
	defer func() { // the library has paths that end so
		if problem := recover(); problem != nil {
			err = fmt.Errorf("filter: %v", problem)
		}
	}()
	expression, err := filter.ParseFilter([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	return condition(expression)
}

func condition(expression filter.Expression) (func(obj) bool, error) {
	switch e := expression.(type) {
	case *filter.LogicalExpression:
		left, err := condition(e.Left)
		if err != nil {
			return nil, err
		}
		right, err := condition(e.Right)
		if e.Operator == filter.AND {
			return func(doc obj) bool { return left(doc) && right(doc) }, err
		}
		return func(doc obj) bool { return left(doc) || right(doc) }, err
	case *filter.NotExpression:
		inner, err := condition(e.Expression)
		return func(doc obj) bool { return !inner(doc) }, err
	case *filter.AttributeExpression:
		operator := filter.CompareOperator(strings.ToLower(string(e.Operator)))
		equal := func(have, value string) bool { return have == value }
		compare := map[filter.CompareOperator]func(have, value string) bool{
			filter.EQ: equal, filter.NE: equal, filter.CO: strings.Contains, filter.SW: strings.HasPrefix, filter.EW: strings.HasSuffix,
			filter.PR: func(have, _ string) bool { return have != "" },
		}[operator]
		if compare == nil {
			return nil, fmt.Errorf("filter: operator %q is not supported", e.Operator)
		}
		attribute, value := e.AttributePath.String(), strings.ToLower(fmt.Sprint(e.CompareValue))
		return func(doc obj) bool {
			some := slices.ContainsFunc(valuesOf(doc, attribute), func(have string) bool { return compare(have, value) })
			return some != (operator == filter.NE)
		}, nil
	}
	return nil, fmt.Errorf("filter: %T is not supported", expression)
}

// valuesOf are the values of an attribute in lower case; those of a list of
// objects are its "value", or the part that is asked for: groups.display.
func valuesOf(doc obj, path string) (values []string) {
	name, part, _ := strings.Cut(path, ".")
	for key, value := range doc {
		if !strings.EqualFold(key, name) {
			continue
		}
		switch v := value.(type) {
		case []obj:
			if part == "" {
				part = "value"
			}
			for _, element := range v {
				values = append(values, valuesOf(element, part)...)
			}
		case obj:
			values = append(values, valuesOf(v, part)...)
		default:
			values = append(values, strings.ToLower(fmt.Sprint(v)))
		}
	}
	return values
}
