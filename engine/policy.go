package engine

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Resource is what a policy judges, one at a time.
type Resource string

// The resources.
const (
	ResourceToken     Resource = "token"
	ResourceWorkspace Resource = "workspace"
)

// Policy is the metadata of one Rego policy, with the configuration applied.
type Policy struct {
	ID          string
	Title       string
	Description string // why it matters, for an auditor
	Remediation string // what to do, for an admin
	Severity    Severity
	Resource    Resource
	Remedy      string              // revoke, set-setting, change-grant, narrow-scopes, set-comment, notify, manual
	Controls    map[string][]string // framework → controls
	Aliases     []string            // ids of the same check elsewhere, such as sat:IA-4
	Needs       []string            // sections (tokens), keys (settings.maxTokenLifetimeDays): declared and found in the Rego
	Params      []Param             // sorted by name
	Judges      Judges              // which tokens it applies to
	Package     string              // patrol.token.lifetime
	File        string              // token/lifetime.rego, relative to the root of its pack
	Pack        string              // "built-in", or the directory it was loaded from
	Source      string              // the Rego text
	Basis       string              // SHA-256 of what it rests on besides: library, schema of input, sandbox

	// What the configuration changes of it. Severity and the parameters' values
	// are those in force wherever no override says otherwise.
	SetSeverity string     `json:",omitempty"` // place that sets Severity; "": the metadata
	OwnSeverity Severity   `json:",omitempty"` // of the metadata, where Severity is set
	Off         string     `json:",omitempty"` // place that switches it off; "": it judges
	Overrides   []Override `json:",omitempty"` // in the order in which they apply
}

// Override is one thing that the configuration changes of a policy in some
// workspaces.
type Override struct {
	Match      string   `json:"match"`      // which workspaces, in words
	Place      string   `json:"-"`          // of the whole override in the configuration
	Workspaces []string `json:"workspaces"` // ids of those judged that match
	Key        string   `json:"key"`        // enabled, severity, or params.NAME
	Value      any      `json:"value"`
	Origin     string   `json:"origin"` // place in the configuration
}

// SeverityIn is the severity in force in a workspace.
func (p Policy) SeverityIn(workspaceID string) Severity {
	severity := p.Severity
	for _, o := range p.Overrides {
		if value, ok := o.Value.(string); ok && o.Key == "severity" && slices.Contains(o.Workspaces, workspaceID) {
			severity = Severity(value)
		}
	}
	return severity
}

// OffWhere says where the policy is switched off and by what; "" where nothing
// switches it off.
func (p Policy) OffWhere() string {
	var places []string
	if p.Off != "" {
		places = append(places, "switched off in "+p.Off)
	}
	for _, o := range p.Overrides {
		if o.Key == "enabled" && len(o.Workspaces) > 0 {
			word := "switched off"
			if o.Value == true {
				word = "on"
			}
			places = append(places, fmt.Sprintf("%s where %s (%s)", word, o.Match, o.Origin))
		}
	}
	return strings.Join(places, "; ")
}

// InForceDigest is the digest of what decides results: the source of policies,
// what it rests on, and all that the configuration says of them. From where the
// configuration says it does not matter.
func InForceDigest(policies []PolicyReport) string {
	sorted := slices.Clone(policies)
	slices.SortFunc(sorted, func(a, b PolicyReport) int { return strings.Compare(a.Policy.ID, b.Policy.ID) })
	rows := make([]any, len(sorted))
	for i, p := range sorted {
		params := map[string]any{}
		for _, param := range p.Policy.Params {
			params[param.Name] = param.Value
		}
		var overrides []any
		for _, o := range p.Policy.Overrides {
			overrides = append(overrides, []any{o.Match, o.Key, o.Value})
		}
		rows[i] = []any{p.Policy.ID, p.Policy.Severity, p.Policy.Off == "", params, overrides, p.Policy.Judges, p.Policy.Source, p.Policy.Basis}
	}
	return TextDigest(string(CompactJSON(rows)))
}

// Judges says which tokens a policy applies to; all others are not applicable.
type Judges string

// Which tokens a policy judges. An expired token signs nobody in, so that only
// policies that ask for it see it.
const (
	JudgesLive    Judges = "live"
	JudgesExpired Judges = "expired"
	JudgesAll     Judges = "all"
)

// Param is a parameter of a policy.
type Param struct {
	Name        string
	Description string
	Default     any      // JSON value
	Enum        []string // the texts that there are, for it or its elements; nil: any
	Pattern     string   // regular expression that the text, or each element, matches as a whole; "": any
	Value       any      // the value in force before overrides of a workspace
	Origin      string   // "default", or the place in the configuration
}

// Status is the outcome of one policy on one resource.
type Status string

// The outcomes. A finding is every outcome but Pass and NotApplicable.
const (
	Pass          Status = "pass"
	Fail          Status = "fail"
	Waived        Status = "waived"
	Baselined     Status = "baselined"
	Unknown       Status = "unknown" // the data needed was not covered
	NotApplicable Status = "not_applicable"
	Errored       Status = "error" // the policy could not be evaluated
)

// Statuses lists all outcomes in the order of reports.
func Statuses() []Status {
	return []Status{Pass, Fail, Waived, Baselined, Unknown, NotApplicable, Errored}
}

// Finding reports whether a result of this status is listed.
func (s Status) Finding() bool { return s != Pass && s != NotApplicable }

// Judged reports whether the policy reached a verdict.
func (s Status) Judged() bool { return s != Unknown && s != Errored }

// Finding is a result that is listed: which policy, on what, why, and what to do.
type Finding struct {
	Policy      string         `json:"policy"`
	Title       string         `json:"-"`
	Severity    Severity       `json:"severity"`
	Status      Status         `json:"status"`
	Workspace   string         `json:"workspace"`
	WorkspaceID string         `json:"workspace_id"`
	Resource    Resource       `json:"resource"`
	ResourceID  string         `json:"resource_id"`
	Owner       string         `json:"owner" names:"person"` // name of the token's owner; its id when the name is not known; "" for a workspace
	OwnerID     string         `json:"-" names:"person"`     // "" for a workspace, and when unknown
	Message     string         `json:"message"`
	Evidence    map[string]any `json:"evidence"`
	Remedy      string         `json:"remedy"`
	Fingerprint string         `json:"fingerprint"`
	Waiver      *Waiver        `json:"waiver"`
	Since       time.Time      `json:"-"` // as of when it was first seen, without a verdict to the contrary since; zero: not known
	Row         int64          `json:"-"` // of the token that was judged; see Subject

	OwnerInAccount *AccountParty `json:"-"` // see Party; nil once it is told

	Token *FindingToken `json:"-"` // of a finding that is read from the store; nil where it is on no token
}

// FindingToken is what readers want to see of a token beside what was found.
type FindingToken struct {
	Comment  string   `names:"written"`
	LastUsed *int64   // ms since 1970; nil: never, as far as the platform says
	Defects  []string // fields whose value could not be read, such as comment and last_used_day
}

// Waiver is the exception that a waived finding rests on.
type Waiver struct {
	ID       string `json:"id"`
	Reason   string `json:"reason" names:"written"`
	Ticket   string `json:"ticket,omitempty"`
	Approver string `json:"approver" names:"person"`
	Expires  string `json:"expires"` // last day (UTC) on which it counts
}

// Tally counts the results of one policy.
type Tally map[Status]int

// Evaluated is the number of resources that the policy was run for.
func (t Tally) Evaluated() int {
	n := 0
	for _, count := range t {
		n += count
	}
	return n
}

// TextDigest is the SHA-256 (hexadecimal) of a text's bytes.
func TextDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// PolicyDigest is the digest of what decides about the verdicts of policies:
// their source and what it rests on, the tokens they judge and the defaults of
// their parameters.
func PolicyDigest(policies []Policy) string {
	sorted := slices.Clone(policies)
	slices.SortFunc(sorted, func(a, b Policy) int { return cmp.Compare(a.ID, b.ID) })
	rows := make([]any, len(sorted))
	for i, p := range sorted {
		defaults := map[string]any{}
		for _, param := range p.Params {
			defaults[param.Name] = param.Default
		}
		rows[i] = []any{p.ID, p.Package, p.Judges, p.Source, p.Basis, defaults}
	}
	return TextDigest(string(CompactJSON(rows)))
}

// Objects are what a finding on a workspace names: the texts that its evidence has
// under federation_policies, apps and recipients, sorted. Evidence of a policy that
// could not be judged has none.
func (f Finding) Objects() []string {
	if f.Resource != ResourceWorkspace {
		return nil
	}
	var objects []string
	for _, key := range []string{"federation_policies", "apps", "recipients"} {
		values, many := f.Evidence[key].([]any)
		if !many {
			values = []any{f.Evidence[key]}
		}
		for _, value := range values {
			if text, ok := value.(string); ok {
				objects = append(objects, text)
			}
		}
	}
	slices.Sort(objects)
	return slices.Compact(objects)
}

// Severity grades a policy. The zero value is invalid, so that a forgotten
// severity cannot pass for the mildest.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
	Info     Severity = "info"
)

// Severities lists all severities, worst first: the order of every report.
func Severities() []Severity { return []Severity{Critical, High, Medium, Low, Info} }

// SeverityCounts are the counts that are not 0 for people, worst first: "1 critical", "30 high".
func SeverityCounts(count func(Severity) int) (texts []string) {
	for _, severity := range Severities() {
		if n := count(severity); n > 0 {
			texts = append(texts, Comma(n)+" "+string(severity))
		}
	}
	return texts
}

// Words are the severities as they are written.
func (Severity) Words() []string { return strings.Split(joinWords(Severities()), ", ") }

// Rank is 0 for the worst severity and grows as severity falls; an unknown
// severity ranks after all others.
func (s Severity) Rank() int {
	for rank, known := range Severities() {
		if s == known {
			return rank
		}
	}
	return len(Severities())
}

// AtLeast reports whether s is as bad as limit, or worse.
func (s Severity) AtLeast(limit Severity) bool { return s.Rank() <= limit.Rank() }

// ParseSeverity reads a severity in any letter case.
func ParseSeverity(text string) (Severity, error) {
	s := Severity(strings.ToLower(strings.TrimSpace(text)))
	if s.Rank() == len(Severities()) {
		return "", fmt.Errorf("severity %q: want one of %s", text, joinWords(Severities()))
	}
	return s, nil
}

// Threshold says from which severity on a finding fails the run.
// The zero value fails on nothing ("none").
type Threshold struct{ least Severity }

// FailOn makes the threshold that least and anything worse fails.
func FailOn(least Severity) Threshold { return Threshold{least} }

// ParseThreshold reads a severity or "none".
func ParseThreshold(text string) (Threshold, error) {
	if strings.EqualFold(strings.TrimSpace(text), "none") {
		return Threshold{}, nil
	}
	s, err := ParseSeverity(text)
	if err != nil {
		return Threshold{}, fmt.Errorf("fail-on %q: want one of %s, none", text, joinWords(Severities()))
	}
	return Threshold{s}, nil
}

// Fails reports whether a failed result of severity s fails the run.
func (t Threshold) Fails(s Severity) bool { return t.least != "" && s.AtLeast(t.least) }

func (t Threshold) String() string {
	if t.least == "" {
		return "none"
	}
	return string(t.least)
}

func joinWords[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}
