package exceptions

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/strictyaml"
)

// Waivers is a waivers file.
type Waivers struct {
	Path  string
	Rules []engine.WaiverRule // in the order of the file
}

// WaiverFile is what waivers.yaml holds.
type WaiverFile struct {
	Waivers []waiver `yaml:"waivers" want:"a list, such as '- policy: PAT-016'" doc:"Dated exceptions"`
}

type waiver struct {
	ID        string      `yaml:"id" doc:"Shown in reports; unique in the file"`
	Policy    []string    `yaml:"policy,single" required:"yes" doc:"Id or alias of a policy, or a list of them"`
	Workspace string      `yaml:"workspace" doc:"Pattern over the name or id of the workspace; without it any"`
	Token     string      `yaml:"token" doc:"Pattern over the id of the token"`
	Secret    string      `yaml:"secret" doc:"Pattern over the id of the OAuth secret"`
	Owner     string      `yaml:"owner" doc:"Pattern over the name or id of the owner"`
	Reason    string      `yaml:"reason" required:"yes" doc:"Why"`
	Ticket    string      `yaml:"ticket" doc:"Where it was discussed"`
	Approver  string      `yaml:"approver" required:"yes" doc:"Who decided: an e-mail address, or the id of a principal"`
	Created   engine.Date `yaml:"created" required:"yes" doc:"First day on which it counts"`
	Expires   engine.Date `yaml:"expires" required:"yes" doc:"Last day on which it counts"`
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]*$`)

// ParseWaivers reads waivers strictly: whatever it does not understand is an
// error with its line, because a waiver that nobody reads would excuse nothing,
// or too much. known are the policies that a waiver may name.
func ParseWaivers(path string, text []byte, known []engine.Policy) (*Waivers, error) {
	byName := map[string][]engine.Policy{} // by id and by alias, which several may share
	for _, p := range known {
		for _, name := range append([]string{p.ID}, p.Aliases...) {
			byName[strings.ToLower(name)] = append(byName[strings.ToLower(name)], p)
		}
	}
	var written WaiverFile
	file := strictyaml.Read(path, text, &written, strictyaml.Plain)
	read := &Waivers{Path: path}
	ids := map[string]int{}
	for i, w := range written.Waivers {
		read.Rules = append(read.Rules, w.rule(file, fmt.Sprintf("waivers[%d]", i), byName, ids))
	}
	if err := file.Err(); err != nil {
		return nil, &engine.Error{Class: engine.ClassUsage, Reason: "waivers", Op: "read waivers",
			Hint: "Correct the places named; docs/waivers.md says what a waiver holds.", Err: err}
	}
	return read, nil
}

// rule checks a waiver that stands at a key of the file. Without an id it is
// called after its line.
func (w waiver) rule(file *strictyaml.File, at string, known map[string][]engine.Policy, ids map[string]int) engine.WaiverRule {
	r := engine.WaiverRule{
		ID: w.ID, Workspace: w.Workspace, Token: w.Token, Secret: w.Secret, Owner: w.Owner, Reason: w.Reason, Ticket: w.Ticket,
		Approver: w.Approver, Created: w.Created, Expires: w.Expires, Line: file.Line(at),
	}
	for _, key := range []string{"policy", "reason", "approver", "created", "expires"} {
		if !file.Given(at + "." + key) {
			file.Add(r.Line, key, "is missing")
		}
	}
	if !file.Given(at + ".id") {
		r.ID = fmt.Sprintf("line-%d", r.Line)
	} else if w.ID != "" && !idPattern.MatchString(w.ID) {
		file.Wrong(at+".id", "%q: want letters, digits and . _ : / -", w.ID)
	}
	if first, taken := ids[strings.ToLower(r.ID)]; taken {
		file.Wrong(at+".id", "%s is already that of the waiver in line %d", r.ID, first)
	} else {
		ids[strings.ToLower(r.ID)] = max(r.Line, file.Line(at+".id"))
	}

	var judged []engine.Resource
	for i, name := range w.Policy {
		line := file.Line(fmt.Sprintf("%s.policy[%d]", at, i))
		found := known[strings.ToLower(name)]
		switch {
		case name == "": // said already
		case engine.HasWildcard(name): // it would excuse policies that nobody has written yet
			file.Add(line, "policy", "%q is a pattern: name each policy by its id", name)
		case len(found) == 0:
			file.Add(line, "policy", "unknown policy %q; 'patrol policies list' has the ids", name)
		}
		for _, p := range found {
			r.Policies, judged = append(r.Policies, p.ID), append(judged, p.Resource)
		}
	}
	slices.Sort(r.Policies)
	r.Policies = slices.Compact(r.Policies)
	if file.Given(at+".policy") && len(w.Policy) == 0 && !file.Blamed(at+".policy") {
		file.Wrong(at+".policy", "is empty")
	}
	w.checkScope(file, at, judged, r.Policies)

	if w.Approver != "" {
		address, err := engine.Person(w.Approver)
		if err != nil {
			file.Wrong(at+".approver", "%v", err)
		}
		r.Approver = address
	}
	if strings.Contains(w.Owner, "@") && !engine.HasWildcard(w.Owner) {
		address, err := engine.Person(w.Owner)
		if err != nil {
			file.Wrong(at+".owner", "%v", err)
		}
		r.Owner = address
	}
	if w.Created > w.Expires && !file.Blamed(at+".created") && !file.Blamed(at+".expires") && file.Given(at+".created") && file.Given(at+".expires") {
		file.Wrong(at+".expires", "%s is before created, %s", w.Expires, w.Created)
	}
	return r
}

// checkScope: a waiver for tokens says which, by id or by owner, and so does one
// for secrets; one for workspaces cannot.
func (w waiver) checkScope(file *strictyaml.File, at string, judged []engine.Resource, policies []string) {
	if len(judged) == 0 {
		return // said already
	}
	of := judged[0]
	if slices.ContainsFunc(judged, func(other engine.Resource) bool { return other != of }) {
		file.Wrong(at+".policy", "policies on different resources need a waiver each")
		return
	}
	given := 0
	for _, key := range []string{"token", "secret", "owner"} {
		if !file.Given(at + "." + key) {
			continue
		}
		if of == engine.ResourceWorkspace || (key != "owner" && key != string(of)) {
			file.Wrong(at+"."+key, "%s judges %ss: leave %s out", policies[0], of, key)
			return
		}
		given++
	}
	switch {
	case given > 1:
		file.Wrong(at+".owner", "want %s or owner, not both", of)
	case given == 0 && of != engine.ResourceWorkspace:
		file.Wrong(at+".policy", "%s judges %ss: say which by %s or owner", cmp.Or(policies[0], "it"), of, of)
	}
}
