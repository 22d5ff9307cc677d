package exceptions

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"patrol/engine"

	"github.com/goccy/go-yaml/ast"
)

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]*$`)

// keys are those that a waiver may have; required are those it must have.
func keys() []string {
	return []string{"id", "policy", "workspace", "token", "secret", "owner", "reason", "ticket", "approver", "created", "expires"}
}

func required() []string { return []string{"policy", "reason", "approver", "created", "expires"} }

// entry is a waiver being read.
type entry struct {
	engine.WaiverRule
	lines     map[string]int // key → line
	resources []engine.Resource
}

// waiver reads one entry. Without an id it is named after its line.
func (r *reader) waiver(node ast.Node) engine.WaiverRule {
	e := entry{lines: map[string]int{}}
	e.Line = lineOf(node)
	r.eachKey(node, "waiver", func(key string, value ast.Node, line int) {
		e.Line = min(e.Line, line)
		e.lines[key] = line
		r.field(&e, key, value, line)
	})
	for _, key := range required() {
		if e.lines[key] == 0 {
			r.wrong(e.Line, key, "is missing")
		}
	}
	if e.ID == "" {
		e.ID = fmt.Sprintf("line-%d", e.Line)
	}
	r.checkID(&e)
	r.checkScope(&e)
	r.checkTerm(&e)
	return e.WaiverRule
}

func (r *reader) field(e *entry, key string, value ast.Node, line int) {
	if key == "policy" {
		r.policies(e, value, line)
		return
	}
	if !slices.Contains(keys(), key) {
		r.wrong(line, key, "unknown key: want one of %s", strings.Join(keys(), ", "))
		return
	}
	text, problem := text(value)
	if problem != "" {
		r.wrong(line, key, "%s", problem)
		return
	}
	switch key {
	case "id":
		e.ID = text
	case "workspace":
		e.Workspace = text
	case "token":
		e.Token = text
	case "secret":
		e.Secret = text
	case "owner":
		e.Owner = text
	case "reason":
		e.Reason = text
	case "ticket":
		e.Ticket = text
	case "approver":
		e.Approver = text
	case "created":
		e.Created = r.date(key, text, line)
	case "expires":
		e.Expires = r.date(key, text, line)
	}
}

// date reads a day. An instant is refused: a waiver counts for whole days, in UTC.
func (r *reader) date(key, text string, line int) engine.Date {
	day, err := engine.ParseDate(text)
	if err != nil {
		r.wrong(line, key, "%q is no day: want one such as 2027-02-01", text)
	}
	return day
}

func (r *reader) policies(e *entry, node ast.Node, line int) {
	items := []ast.Node{node}
	if list, ok := node.(*ast.SequenceNode); ok {
		if items = list.Values; len(items) == 0 {
			r.wrong(line, "policy", "is empty")
		}
	}
	for _, item := range items {
		name, problem := text(item)
		if problem != "" {
			r.wrong(line, "policy", "%s", problem)
			continue
		}
		r.policy(e, name, max(line, lineOf(item)))
	}
	slices.Sort(e.Policies)
	e.Policies = slices.Compact(e.Policies)
}

// policy takes a policy by id or alias. A pattern would excuse policies that
// nobody has written yet.
func (r *reader) policy(e *entry, name string, line int) {
	if hasWildcard(name) {
		r.wrong(line, "policy", "%q is a pattern: name each policy by its id", name)
		return
	}
	found := r.known[strings.ToLower(name)]
	if len(found) == 0 {
		r.wrong(line, "policy", "unknown policy %q", name)
	}
	for _, p := range found {
		e.Policies = append(e.Policies, p.ID)
		e.resources = append(e.resources, p.Resource)
	}
}

func (r *reader) checkID(e *entry) {
	line := max(e.Line, e.lines["id"])
	if !idPattern.MatchString(e.ID) {
		r.wrong(line, "id", "%q: want letters, digits and . _ : / -", e.ID)
	}
	key := strings.ToLower(e.ID)
	if first, taken := r.ids[key]; taken {
		r.wrong(line, "id", "%s is already that of the waiver in line %d", e.ID, first)
		return
	}
	r.ids[key] = line
}

// checkScope: a waiver for tokens says which, by id or by owner, and so does
// one for secrets; one for workspaces cannot.
func (r *reader) checkScope(e *entry) {
	if len(e.resources) == 0 {
		return // told already
	}
	of := e.resources[0]
	if slices.ContainsFunc(e.resources, func(other engine.Resource) bool { return other != of }) {
		r.wrong(e.lines["policy"], "policy", "policies on different resources need a waiver each")
		return
	}
	var given []string
	for _, key := range []string{"token", "secret", "owner"} {
		if e.lines[key] == 0 {
			continue
		}
		if of == engine.ResourceWorkspace || (key != "owner" && key != string(of)) {
			r.wrong(e.lines[key], key, "%s judges %ss: leave %s out", e.Policies[0], of, key)
			return
		}
		given = append(given, key)
	}
	switch {
	case len(given) > 1:
		r.wrong(e.lines["owner"], "owner", "want %s or owner, not both", of)
	case len(given) == 0 && of != engine.ResourceWorkspace:
		r.wrong(e.lines["policy"], "policy", "%s judges %ss: say which by %s or owner", e.Policies[0], of, of)
	}
}

func (r *reader) checkTerm(e *entry) {
	if e.lines["created"] > 0 && e.lines["expires"] > 0 && e.Created > e.Expires && !r.blamed(e.lines["created"], e.lines["expires"]) {
		r.wrong(e.lines["expires"], "expires", "%s is before created, %s", e.Expires, e.Created)
	}
}

// blamed reports whether one of the lines is known to be wrong already.
func (r *reader) blamed(lines ...int) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool { return slices.Contains(lines, p.Line) })
}
