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
	schemaUser    = "urn:ietf:params:scim:schemas:core:2.0:User"
	schemaService = "urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"
	schemaGroup   = "urn:ietf:params:scim:schemas:core:2.0:Group"
	schemaList    = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	schemaError   = "urn:ietf:params:scim:api:messages:2.0:Error"
	scimType      = "application/scim+json"
)

// resource is one SCIM resource: a principal or a group as a call sees it.
type resource struct {
	c         *call
	principal *principal
	group     *group
}

// accountWide parts the account's SCIM from a workspace's.
func (c *call) accountWide() bool { return c.request.PathValue("account") != "" }

func scimUsers(c *call) []resource    { return c.principals(c.directory.users) }
func scimServices(c *call) []resource { return c.principals(c.directory.services) }

func (c *call) principals(from []*principal) []resource {
	rows := make([]resource, 0, len(from))
	for _, p := range from {
		if c.accountWide() || !c.ws.outside[p.ID] {
			rows = append(rows, resource{c: c, principal: p})
		}
	}
	return rows
}

func scimGroups(c *call) []resource {
	var rows []resource
	for _, g := range c.visibleGroups() {
		rows = append(rows, resource{c: c, group: g})
	}
	return rows
}

func (c *call) visibleGroups() []*group {
	if c.accountWide() {
		return c.directory.groups
	}
	return c.directory.groupsIn(c.ws)
}

func (r resource) id() int64 {
	if r.group != nil {
		return r.group.id
	}
	return r.principal.ID
}

// calledBy are the names by which a fault may hide the resource.
func (r resource) calledBy() []string {
	names := []string{strconv.FormatInt(r.id(), 10)}
	if r.group != nil {
		return append(names, r.group.name)
	}
	if r.principal == r.c.who.principal {
		names = append(names, "caller")
	}
	return append(names, r.principal.Name)
}

func (r resource) doc() obj {
	doc := obj{"id": strconv.FormatInt(r.id(), 10)}
	if groups := r.groupRefs(); len(groups) > 0 {
		doc["groups"] = groups
	}
	if g := r.group; g != nil {
		kind := "WorkspaceGroup"
		if g.account {
			kind = "Group"
		}
		doc["schemas"], doc["displayName"], doc["meta"] = []string{schemaGroup}, g.name, obj{"resourceType": kind}
		var members []obj
		for _, m := range g.members {
			id := strconv.FormatInt(m.id, 10)
			members = append(members, obj{"display": m.display, "value": id, "$ref": m.ref + "/" + id})
		}
		if members != nil {
			doc["members"] = members
		}
		return doc
	}
	p := r.principal
	doc["displayName"], doc["externalId"] = p.DisplayName, fmt.Sprintf("ext-%d", p.ID)
	doc["entitlements"] = []obj{{"value": "workspace-access"}, {"value": "databricks-sql-access"}}
	if !p.hideActive {
		doc["active"] = p.Active
	}
	if p.Service {
		doc["schemas"], doc["applicationId"] = []string{schemaService}, p.Name
		return doc
	}
	given, family, _ := strings.Cut(p.DisplayName, " ")
	doc["schemas"], doc["userName"], doc["name"] = []string{schemaUser}, p.Name, obj{"givenName": given, "familyName": family}
	doc["emails"] = []obj{{"type": "work", "value": p.Name, "primary": true}}
	return doc
}

// groupRefs are direct memberships: nesting is for the reader to resolve.
func (r resource) groupRefs() []obj {
	var refs []obj
	for _, g := range r.c.visibleGroups() {
		implied := !r.c.accountWide() && g == r.c.ws.users && r.principal != nil
		if g.has[r.id()] || implied {
			id := strconv.FormatInt(g.id, 10)
			refs = append(refs, obj{"display": g.name, "value": id, "type": "direct", "$ref": "Groups/" + id})
		}
	}
	return refs
}

// scimList answers a page of the resources.
func scimList(source func(*call) []resource) func(*call) *answer {
	return func(c *call) *answer {
		query := c.request.URL.Query()
		rows := visible(c, source(c), resource.calledBy)
		keep, err := parseFilter(query.Get("filter"))
		if err != nil {
			return scimError(http.StatusBadRequest, "invalidFilter", err.Error())
		}
		if keep != nil {
			rows = slices.DeleteFunc(rows, func(r resource) bool { return !keep(r.doc()) })
		}
		start, count, err := c.page()
		if err != nil {
			return scimError(http.StatusBadRequest, "invalidValue", err.Error())
		}
		from := min(start-1, len(rows))
		to := min(from+count, len(rows))
		docs := make([]obj, 0, to-from)
		for _, r := range rows[from:to] {
			docs = append(docs, c.project(r.doc()))
		}
		page := obj{
			"schemas": []string{schemaList}, "totalResults": len(rows),
			"startIndex": start, "itemsPerPage": len(docs),
		}
		if len(docs) > 0 {
			page["Resources"] = docs
		}
		return jsonAnswer(http.StatusOK, scimType, page)
	}
}

// page reads startIndex (from 1) and count.
func (c *call) page() (start, count int, err error) {
	query := c.request.URL.Query()
	start, count = 1, c.maxPage
	if text := query.Get("startIndex"); text != "" {
		if start, err = strconv.Atoi(text); err != nil {
			return 0, 0, fmt.Errorf("startIndex is not a number: %s", text)
		}
	}
	if text := query.Get("count"); text != "" {
		if count, err = strconv.Atoi(text); err != nil {
			return 0, 0, fmt.Errorf("count is not a number: %s", text)
		}
	}
	if c.firstPage {
		start = 1
	}
	return max(start, 1), min(max(count, 0), c.maxPage), nil
}

// project applies attributes and excludedAttributes; id and schemas stay.
func (c *call) project(doc obj) obj {
	query := c.request.URL.Query()
	wanted, unwanted := attributeSet(query.Get("attributes")), attributeSet(query.Get("excludedAttributes"))
	for name := range doc {
		lower := strings.ToLower(name)
		switch {
		case lower == "id" || lower == "schemas":
		case len(wanted) > 0 && !wanted[lower], unwanted[lower]:
			delete(doc, name)
		}
	}
	return doc
}

func attributeSet(text string) map[string]bool {
	set := map[string]bool{}
	for name := range strings.SplitSeq(strings.ToLower(text), ",") {
		name, _, _ = strings.Cut(strings.TrimSpace(name), ".")
		if name != "" {
			set[name] = true
		}
	}
	return set
}

func scimGet(source func(*call) []resource) func(*call) *answer {
	return func(c *call) *answer {
		for _, r := range source(c) {
			if strconv.FormatInt(r.id(), 10) == c.request.PathValue("id") {
				return jsonAnswer(http.StatusOK, scimType, c.project(r.doc()))
			}
		}
		return scimError(http.StatusNotFound, "", fmt.Sprintf("Resource with id %s not found.", c.request.PathValue("id")))
	}
}

// scimMe is the caller. A service principal's userName is its application id.
func scimMe(c *call) *answer {
	p := c.who.principal
	doc := resource{c: c, principal: p}.doc()
	doc["userName"] = p.Name
	return jsonAnswer(http.StatusOK, scimType, c.project(doc))
}

func scimError(status int, kind, detail string) *answer {
	doc := obj{"schemas": []string{schemaError}, "detail": detail, "status": strconv.Itoa(status)}
	if kind != "" {
		doc["scimType"] = kind
	}
	return jsonAnswer(status, scimType, doc)
}

// parseFilter understands the part of the SCIM filter language that Databricks
// documents: eq, ne, co, sw, ew and pr, joined by and, or, not and parentheses.
// It returns nil for no filter.
func parseFilter(text string) (keep func(obj) bool, err error) {
	if text == "" {
		return nil, nil
	}
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
		if err != nil {
			return nil, err
		}
		if e.Operator == filter.AND {
			return func(doc obj) bool { return left(doc) && right(doc) }, nil
		}
		return func(doc obj) bool { return left(doc) || right(doc) }, nil
	case *filter.NotExpression:
		inner, err := condition(e.Expression)
		if err != nil {
			return nil, err
		}
		return func(doc obj) bool { return !inner(doc) }, nil
	case *filter.AttributeExpression:
		operator := filter.CompareOperator(strings.ToLower(string(e.Operator)))
		compare := map[filter.CompareOperator]func(have, value string) bool{
			filter.EQ: func(have, value string) bool { return have == value },
			filter.NE: func(have, value string) bool { return have == value },
			filter.CO: strings.Contains, filter.SW: strings.HasPrefix, filter.EW: strings.HasSuffix,
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
			for _, element := range v {
				if part == "" {
					part = "value"
				}
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
