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

// Judge says why a waiver may not excuse a finding; nothing: it may.
type Judge func(engine.WaiverRule, engine.Finding) []engine.WaiverRefusal

// WaiverMatcher excuses the findings of one evaluation and counts what each waiver
// came to. It is for one goroutine.
type WaiverMatcher struct {
	day      engine.Date
	rules    []*rule // in the order of the file
	byPolicy map[string]*index
}

// rule is a waiver with its patterns compiled.
type rule struct {
	engine.WaiverRule
	place                int
	workspace, id, owner *engine.Glob // nil: not asked for

	judged, undecided bool // some policy of it was run where it applies; some of that is unknown
	waived, lapsed    int
	refusals          map[engine.WaiverRefusal]int // how many findings, by policy and message
}

// index holds the waivers of one policy: those for one id and those for one owner by
// its name or id in small letters, and those that are tried one by one.
type index struct {
	ids, owners map[string][]*rule
	rest        []*rule
}

// NewWaiverMatcher prepares waivers to be matched on the day of an evaluation.
func NewWaiverMatcher(rules []engine.WaiverRule, day engine.Date) *WaiverMatcher {
	m := &WaiverMatcher{day: day, byPolicy: map[string]*index{}}
	compiled := func(pattern string) *engine.Glob {
		if pattern == "" {
			return nil
		}
		g := engine.NewGlob(pattern)
		return &g
	}
	for i, w := range rules {
		r := &rule{
			WaiverRule: w, place: i, workspace: compiled(w.Workspace), id: compiled(cmp.Or(w.Token, w.Secret)), owner: compiled(w.Owner),
			refusals: map[engine.WaiverRefusal]int{},
		}
		m.rules = append(m.rules, r)
		for _, policy := range w.Policies {
			ix := m.byPolicy[policy]
			if ix == nil {
				ix = &index{ids: map[string][]*rule{}, owners: map[string][]*rule{}}
				m.byPolicy[policy] = ix
			}
			switch {
			case r.id != nil && r.id.Literal():
				ix.ids[r.id.Pattern] = append(ix.ids[r.id.Pattern], r)
			case r.owner != nil && r.owner.Literal():
				ix.owners[r.owner.Pattern] = append(ix.owners[r.owner.Pattern], r)
			default:
				ix.rest = append(ix.rest, r)
			}
		}
	}
	return m
}

// Except turns a failed finding into a waived one where a waiver is in force
// and judge has nothing against it: the first of the file. Whatever is not
// failed stays as it is.
func (m *WaiverMatcher) Except(f engine.Finding, judge Judge) engine.Finding {
	if f.Status != engine.Fail {
		return f
	}
	matching := m.matching(f)
	for _, r := range matching {
		if !r.InForce(m.day) {
			continue
		}
		refusals := judge(r.WaiverRule, f)
		for _, why := range refusals {
			r.refusals[engine.WaiverRefusal{Policy: why.Policy, Message: why.Message}]++
		}
		if len(refusals) == 0 {
			r.waived++
			f.Status, f.Waiver = engine.Waived, r.Waiver()
			return f
		}
	}
	for _, r := range matching {
		if m.day > r.Expires {
			r.lapsed++
		}
	}
	return f
}

// matching lists the waivers that are about a finding, in the order of the file.
func (m *WaiverMatcher) matching(f engine.Finding) (found []*rule) {
	ix := m.byPolicy[f.Policy]
	if ix == nil {
		return nil
	}
	workspace, workspaceID := strings.ToLower(f.Workspace), strings.ToLower(f.WorkspaceID)
	owner, ownerID, id := strings.ToLower(f.Owner), strings.ToLower(f.OwnerID), ""
	if f.Resource != engine.ResourceWorkspace {
		id = strings.ToLower(f.ResourceID)
	}
	objects := f.Objects()
	candidates := [][]*rule{ix.ids[id], ix.owners[owner], nil, ix.rest}
	if ownerID != owner {
		candidates[2] = ix.owners[ownerID]
	}
	for _, some := range candidates {
		for _, r := range some {
			if (r.id == nil || id != "" && r.id.Matches(id)) && (r.owner == nil || named(r.owner, owner, ownerID)) && r.in(workspace, workspaceID) &&
				!slices.ContainsFunc(objects, func(object string) bool { return !slices.Contains(r.Objects, object) }) {
				found = append(found, r)
			}
		}
	}
	slices.SortFunc(found, func(a, b *rule) int { return cmp.Compare(a.place, b.place) })
	return found
}

// in reports whether the waiver is for a workspace; names are in small letters.
func (r *rule) in(workspace, id string) bool {
	return r.workspace == nil || named(r.workspace, workspace, id)
}

// named matches a name or an id. What has neither is nobody's: an owner that
// could not be read is not everybody.
func named(g *engine.Glob, name, id string) bool {
	return (name != "" && g.Matches(name)) || (id != "" && g.Matches(id))
}

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
	Objects   []string    `yaml:"objects" doc:"Ids of federation policies, names of OAuth apps or recipients: all that the finding names"`
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
	file := strictyaml.Read(path, text, &written, true)
	read := &Waivers{Path: path}
	ids := map[string]int{}
	for i, w := range written.Waivers {
		read.Rules = append(read.Rules, w.rule(file, fmt.Sprintf("waivers[%d]", i), byName, ids))
	}
	if err := file.Err(); err != nil {
		return nil, &engine.Error{Class: engine.ClassUsage, Reason: "waivers", Op: "read waivers",
			Hint: "Correct the places named; `patrol schema waivers` tells what a waiver holds.", Err: err}
	}
	return read, nil
}

// rule checks a waiver that stands at a key of the file. Without an id it is
// called after its line.
func (w waiver) rule(file *strictyaml.File, at string, known map[string][]engine.Policy, ids map[string]int) engine.WaiverRule {
	r := engine.WaiverRule{
		ID: w.ID, Workspace: w.Workspace, Token: w.Token, Secret: w.Secret, Owner: w.Owner, Objects: w.Objects, Reason: w.Reason, Ticket: w.Ticket,
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
	if of != engine.ResourceWorkspace && file.Given(at+".objects") {
		file.Wrong(at+".objects", "%s judges %ss: leave objects out", policies[0], of)
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

// Judged notes which policies were run in a workspace. Without it nobody can
// tell a waiver that excuses nothing from one whose matter was not looked at.
func (m *WaiverMatcher) Judged(s engine.Snapshot, tallies map[string]engine.Tally) {
	name, id := strings.ToLower(s.Workspace.Name), strings.ToLower(s.Workspace.ID)
	for _, r := range m.rules {
		for _, policy := range r.Policies {
			tally, ran := tallies[policy]
			if !ran || !r.in(name, id) {
				continue
			}
			r.judged = true
			whole := s.Coverage[engine.SectionTokens].Whole() || (r.id == nil && r.owner == nil)
			r.undecided = r.undecided || !whole || tally[engine.Unknown]+tally[engine.Errored] > 0
		}
	}
}

// Uses tells what each waiver came to, in the order of the file.
func (m *WaiverMatcher) Uses() []engine.WaiverUse {
	uses := make([]engine.WaiverUse, len(m.rules))
	for i, r := range m.rules {
		use := engine.WaiverUse{WaiverRule: r.WaiverRule, DaysLeft: m.day.Until(r.Expires), Waived: r.waived, Lapsed: r.lapsed}
		for refusal, findings := range r.refusals {
			refusal.Findings = findings
			use.Refusals = append(use.Refusals, refusal)
		}
		slices.SortFunc(use.Refusals, func(a, b engine.WaiverRefusal) int {
			return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Message, b.Message))
		})
		switch {
		case m.day > r.Expires:
			use.State = engine.WaiverExpired
		case m.day < r.Created:
			use.State = engine.WaiverPending
		case r.waived > 0:
			use.State = engine.WaiverInForce
		case len(r.refusals) > 0:
			use.State = engine.WaiverRefused
		case !r.judged || r.undecided:
			use.State = engine.WaiverNotJudged
		default:
			use.State = engine.WaiverUnmatched
		}
		use.ExpiresSoon = r.InForce(m.day) && use.DaysLeft <= engine.WaiverNotice && use.State != engine.WaiverRefused
		uses[i] = use
	}
	return uses
}

var firstItem = regexp.MustCompile(`(?m)^( *)- `)

// Append is the text of a waivers file with one more waiver at its end; of an
// empty text it makes a new file.
func Append(text string, r engine.WaiverRule) (string, error) {
	for _, id := range []string{r.Workspace, r.Token, r.Secret} {
		if strings.ContainsAny(id, "*?") {
			return "", fmt.Errorf("%q holds * or ?, which mean more than themselves in a waiver", id)
		}
	}
	indent := "  "
	if first := firstItem.FindStringSubmatch(text); first != nil {
		indent = first[1]
	} else if strings.TrimSpace(text) == "" {
		text = "# yaml-language-server: $schema=waivers.schema.json (patrol schema waivers > waivers.schema.json)\nwaivers:\n"
	} else {
		text = strings.TrimSuffix(strings.TrimSpace(text), "[]") + "\n"
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	quoted := func(text string) string { return string(engine.CompactJSON(engine.SafeText(text))) } // YAML reads JSON's quotes
	mark := indent + "- "
	for _, pair := range [][2]string{{"id", r.ID}, {"policy", strings.Join(r.Policies, ", ")}, {"workspace", r.Workspace}, {"token", r.Token}, {"secret", r.Secret},
		{"reason", r.Reason}, {"ticket", r.Ticket}, {"approver", r.Approver}} {
		if pair[1] != "" {
			text += mark + pair[0] + ": " + quoted(pair[1]) + "\n"
			mark = indent + "  "
		}
	}
	if len(r.Objects) > 0 {
		names := make([]string, len(r.Objects))
		for i, object := range r.Objects {
			names[i] = quoted(object)
		}
		text += mark + "objects: [" + strings.Join(names, ", ") + "]\n"
	}
	return text + mark + "created: " + r.Created.String() + "\n" + mark + "expires: " + r.Expires.String() + "\n", nil
}
