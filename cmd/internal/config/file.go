// Package config reads patrol.yaml: strictly, with the line of each value, and
// checked as far as the file alone can be. Set fills the flags of a command
// from it and from the environment.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/notice"
	"patrol/engine/plan"
	"patrol/engine/remedy"
	"patrol/engine/strictyaml"
	"patrol/reports/deliver"
)

// File is patrol.yaml; without one, what is in force then.
type File struct {
	Path  string              `yaml:"-"` // "" without a file
	Flags map[string][]string `yaml:",rest,single" empty:"yes" want:"a value or a list of values"`

	Workspaces  []Workspace       `yaml:"workspaces" want:"a list, such as '- profile: prod'" doc:"Workspaces to read when no --profile is given"`
	Account     *Account          `yaml:"account" text:"rest" doc:"The account whose workspaces are read, or the profile of one"`
	Usage       *Usage            `yaml:"usage" text:"rest" doc:"How tokens are used, read from the audit log by queries of a SQL warehouse"`
	Policies    map[string]Tuning `yaml:"policies" doc:"Changes of policies, by id or alias"`
	Overrides   []Override        `yaml:"overrides" want:"a list of match and policies" doc:"Changes of policies where a workspace matches; later ones win"`
	Remediation Remediation       `yaml:"remediation" doc:"What plans may do"`
	Approval    Approval          `yaml:"approval" doc:"What approvals need"`
	Notices     Notices           `yaml:"notices" doc:"How notices reach the owners of tokens"`
	Notify      []Receiver        `yaml:"notify" want:"a list, such as '- name: security'" doc:"Who is told of each run: its summary and new findings"`
	Tickets     Tickets           `yaml:"tickets" doc:"What --tickets writes"`

	source *strictyaml.File
}

// Workspace says where a workspace is and how it is labelled.
type Workspace struct {
	Name    string            `yaml:"name" doc:"Name in reports"`
	Profile string            `yaml:"profile" doc:"Section of .databrickscfg that signs in"`
	Host    string            `yaml:"host" doc:"Address of the workspace; the environment signs in"`
	Labels  map[string]string `yaml:"labels" doc:"Yours to choose: overrides and policies see them"`
	Usage   *Usage            `yaml:"usage" doc:"In place of the usage of all workspaces"`
}

// Usage says how the audit log is read.
type Usage struct {
	Warehouse string   `yaml:"warehouse" doc:"Id of the SQL warehouse that runs the queries"`
	Days      int      `yaml:"days" min:"1" max:"365" doc:"How far back; 30 by default"`
	Wait      Duration `yaml:"wait" doc:"For a warehouse that must start, and for a query; 10m by default"`
	Profile   string   `yaml:"profile" doc:"Profile of the workspace that has the warehouse, which then answers for all; by default each has its own"`
}

// Reader is how to read the audit log, by another warehouse where one is given;
// nil: nobody asked for it.
func (u *Usage) Reader(warehouse *string) *collectors.Usage {
	if u == nil && warehouse == nil {
		return nil
	}
	reader := collectors.DefaultUsage()
	if u != nil {
		reader.Warehouse, reader.Profile = u.Warehouse, u.Profile
		reader.Days, reader.Wait = cmp.Or(u.Days, reader.Days), cmp.Or(time.Duration(u.Wait), reader.Wait)
	}
	if warehouse != nil {
		reader.Warehouse, reader.Profile = *warehouse, ""
	}
	return &reader
}

// Tuning changes one policy.
type Tuning struct {
	Enabled  *bool           `yaml:"enabled" doc:"false: the policy is switched off"`
	Severity engine.Severity `yaml:"severity" doc:"Severity of its findings"`
	Params   map[string]any  `yaml:"params" doc:"Values of its parameters; 'patrol policies show ID' lists them"`
}

// Override changes policies where a workspace matches.
type Override struct {
	Match    Match             `yaml:"match" doc:"Patterns with * and ?; all that are given must match"`
	Policies map[string]Tuning `yaml:"policies" doc:"Changes of policies, by id or alias"`
}

// Match holds patterns; all that are given must match.
type Match struct {
	Name   string            `yaml:"name" doc:"Of the workspace"`
	Cloud  string            `yaml:"cloud" doc:"aws, azure or gcp"`
	Labels map[string]string `yaml:"labels" doc:"Values of labels"`
}

// Remediation is what the operator decides about plans.
type Remediation struct {
	Remedies  map[string]action `yaml:"remedies" doc:"Another remedy for a policy, by id"`
	Protected engine.Protected  `yaml:"protected" doc:"What no step may touch, by ids that nobody can choose"`
	Limits    engine.Limits     `yaml:"limits" doc:"How much one plan may change"`
	Grace     Duration          `yaml:"grace" doc:"From the judgement to the first change, such as 36h or 7d"`
	ValidFor  Duration          `yaml:"valid_for" doc:"How long a plan is good"`
	Contact   string            `yaml:"contact" doc:"Whom owners and reviewers ask: an address, a channel or a link, shown in plans and notices"`
	OnUse     string            `yaml:"on_use" one_of:"skip,proceed" doc:"What to do with a token that was used after it was judged"`
}

// Approval is what the operator asks of approvals.
type Approval struct {
	Required          int    `yaml:"required" min:"1" doc:"Statements that each step needs"`
	AllowedSigners    string `yaml:"allowed_signers" doc:"File of SSH keys that may sign, as ssh-keygen(1) describes it"`
	PlannerMayApprove bool   `yaml:"planner_may_approve" doc:"Whether who planned may approve"`
	CriticalNeedOwn   bool   `yaml:"critical_need_own" doc:"Whether a critical step needs a statement of its own"`
}

// Notices say how notices are sent.
type Notices struct {
	SMTP *SMTP `yaml:"smtp" doc:"The mail server; without one nothing is sent"`
}

// Duration is a length of time: 36h, or whole days such as 7d.
type Duration time.Duration

// UnmarshalText reads a length of time.
func (d *Duration) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			*d = Duration(n) * Duration(24*time.Hour)
			return nil
		}
	}
	span, err := time.ParseDuration(string(text))
	if err != nil || span < 0 {
		return fmt.Errorf("%q is no length of time such as 36h or 7d", text)
	}
	*d = Duration(span)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// action is what becomes of what a policy finds.
type action string

// Words are the remedies that there are.
func (action) Words() []string {
	words := []string{string(remedy.None)}
	for _, name := range remedy.Names() {
		words = append(words, string(name))
	}
	return words
}

// Default is what is in force without a file.
func Default() *File {
	return &File{
		Remediation: Remediation{Limits: engine.DefaultLimits(), ValidFor: Duration(plan.DefaultValidity), OnUse: plan.OnUseSkip},
		Approval:    Approval{Required: 1, PlannerMayApprove: true, CriticalNeedOwn: true},
		Tickets:     Tickets{Template: deliver.DefaultTicket},
		source:      &strictyaml.File{},
	}
}

// Load reads the file at path. A missing file is an error only when it was
// asked for.
func Load(path string, required bool, flags Flags) (*File, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !required {
		return Default(), nil
	}
	if err != nil {
		return nil, &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read configuration", Target: path,
			Hint: "Name an existing file with --config, or leave the flag out.", Err: err}
	}
	return Parse(path, text, flags)
}

// Parse reads the text of a file.
func Parse(path string, text []byte, flags Flags) (*File, error) {
	f := Default()
	f.Path = path
	f.source = strictyaml.Read(path, text, f, false)
	f.check(flags)
	return f, f.failure()
}

// failure is nil without problems: one is named with its place, several are listed.
func (f *File) failure() error {
	if f.source.Err() == nil {
		return nil
	}
	e := &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read configuration",
		Hint: "Correct the line; `patrol schema config` lists every key.", Err: f.source.Problems}
	if len(f.source.Problems) == 1 {
		p := f.source.Problems[0]
		e.Target, e.Err = p.Place(), errors.New(p.Message)
		if p.Key != "" {
			e.Err = fmt.Errorf("%s: %s", p.Key, p.Message)
		}
	}
	return e
}

// Errorf is an error about a key, found by who knows more than the file.
func (f *File) Errorf(key, format string, args ...any) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "config", Op: "read configuration", Target: f.Place(key),
		Hint: "Correct the line; `patrol schema config` lists every key.", Err: fmt.Errorf(format, args...)}
}

// Place is the file and the line of a key, such as policies.PAT-002.severity.
func (f *File) Place(key string) string { return f.source.Place(key) }

// Given reports whether the file has a key.
func (f *File) Given(key string) bool { return f.source.Given(key) }

// Values are what stands in the file, in its order.
func (f *File) Values() []strictyaml.Value { return f.source.Values }

// check holds against one another what must fit together. What a tag can say
// is checked already.
func (f *File) check(flags Flags) {
	for _, name := range engine.SortedKeys(f.Flags) {
		if only, known := flags[name]; !known {
			f.source.Add(f.source.Line(name), "", "unknown key %q: %s", name, engine.DidYouMean(name, append(engine.SortedKeys(flags), strictyaml.Keys(f)...)))
		} else if only {
			f.source.Add(f.source.Line(name), "", "%s", confirmation(name))
		}
	}
	if f.Given("usage") && f.Usage != nil && f.Usage.Warehouse == "" {
		f.source.Wrong("usage", "want warehouse, the id of a SQL warehouse")
	}
	lines := map[string]int{}
	for i, w := range f.Workspaces {
		key := fmt.Sprintf("workspaces[%d]", i)
		if w.Usage != nil && w.Usage.Warehouse == "" {
			f.source.Wrong(key+".usage", "want warehouse, the id of a SQL warehouse")
		}
		if w.Profile == "" && w.Host == "" {
			f.source.Add(f.source.Line(key), "", "workspace %q: want a profile or a host", w.Name)
		}
		same := strings.ToLower(w.Name)
		if first, twice := lines[same]; twice && w.Name != "" { // labels are kept by name
			f.source.Add(f.source.Line(key), "", "workspace %q: line %d has this name already", w.Name, first)
		}
		lines[same] = f.source.Line(key)
	}
	for i, o := range f.Overrides {
		key := fmt.Sprintf("overrides[%d].match", i)
		f.checkPatterns(key, map[string]string{"name": o.Match.Name, "cloud": o.Match.Cloud})
		f.checkPatterns(key+".labels", o.Match.Labels)
	}
	if f.Account != nil {
		f.checkAccount()
	}
	for i, id := range f.Remediation.Protected.Principals {
		if strings.Contains(id, "@") {
			f.source.Wrong(fmt.Sprintf("remediation.protected.principals[%d]", i),
				"%q is a name: principals are protected by numeric id or application id, which nobody can choose", id)
		}
	}
	f.checkDelivery()
	if contact := f.Remediation.Contact; engine.SafeText(contact) != contact || len(contact) > 200 || engine.RedactSecrets(contact) != contact {
		f.source.Wrong("remediation.contact", "%q is no line of at most 200 visible characters without a secret", engine.RedactSecrets(contact))
	}
	if valid := time.Duration(f.Remediation.ValidFor); valid <= 0 || valid > plan.MaxValidity {
		f.source.Wrong("remediation.valid_for", "is %s: want more than nothing and at most %s", valid, plan.MaxValidity)
	}
	if a := f.Approval; a.Required > 1 && a.AllowedSigners == "" {
		f.source.Wrong("approval.required", "is %d: without allowed_signers anybody could be several people", a.Required)
	}
	if s := f.Notices.SMTP; s != nil {
		if s.Security == "" {
			s.Security = notice.StartTLS
		}
		if err := (notice.Server{Address: s.Server, Security: s.Security, From: s.From}).Check(); err != nil {
			f.source.Wrong("notices.smtp", "%v", err)
		}
	}
}

// checkPatterns refuses what looks like more than * and ?.
func (f *File) checkPatterns(key string, patterns map[string]string) {
	for _, name := range engine.SortedKeys(patterns) {
		if strings.ContainsAny(patterns[name], `[]{}\`) {
			f.source.Wrong(key+"."+name, "%q is no pattern: only * and ? stand for other characters", patterns[name])
		}
	}
}

// Matches reports whether all patterns that are given match a workspace.
func (m Match) Matches(w engine.Workspace) bool {
	if !engine.MatchGlob(m.Name, w.Name) || !engine.MatchGlob(m.Cloud, w.Cloud) {
		return false
	}
	for label, pattern := range m.Labels {
		if as, set := LabelIn(w.Labels, label); !set || !engine.MatchGlob(pattern, w.Labels[as]) {
			return false
		}
	}
	return true
}

func (m Match) String() string {
	var parts []string
	if m.Name != "" {
		parts = append(parts, "name is "+m.Name)
	}
	if m.Cloud != "" {
		parts = append(parts, "cloud is "+m.Cloud)
	}
	for _, label := range engine.SortedKeys(m.Labels) {
		parts = append(parts, "label "+label+" is "+m.Labels[label])
	}
	if len(parts) == 0 {
		return "any workspace"
	}
	return strings.Join(parts, " and ")
}

// LabelIn finds a label by its name, else by its name in another letter case, and
// returns the name that the labels have: LabelIn({Env: x}, "env") is "Env".
func LabelIn(labels map[string]string, name string) (as string, set bool) {
	if _, set = labels[name]; set {
		return name, true
	}
	for _, other := range engine.SortedKeys(labels) {
		if strings.EqualFold(other, name) {
			return other, true
		}
	}
	return "", false
}
