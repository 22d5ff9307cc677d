package reports

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/google/uuid"
)

// OSCAL is the audit as assessment results, for governance tools.
func (catalogue) OSCAL() Format {
	return Format{
		Name:  "oscal",
		File:  "audit.oscal.json",
		Doc:   "OSCAL 1.1.3 assessment results: an observation per policy and workspace, a finding per control",
		Write: writeOSCAL,
	}
}

const oscalVersion = "1.1.3"

// oscal writes assessment results.
type oscal struct {
	*table.JSONWriter
	ctx        context.Context
	report     engine.Report
	frameworks []engine.Framework
	titles     map[string]string   // of policies
	observed   map[string][]string // ids of observations, by policy
}

// writeOSCAL writes one result: what was looked at, an observation for each
// policy in each workspace with all that it found, and a finding for each
// control that rests on these observations.
func writeOSCAL(ctx context.Context, w io.Writer, r engine.Report) error {
	o := &oscal{JSONWriter: table.NewJSONWriter(w), ctx: ctx, report: r, frameworks: r.Frameworks(), titles: map[string]string{}, observed: map[string][]string{}}
	for _, p := range r.Policies {
		o.titles[p.Policy.ID] = p.Policy.Title
	}
	o.Open("{")
	o.Key("    ", "assessment-results")
	o.Open("{")
	for _, m := range o.head() {
		if err := o.Member("      ", m.key, m.value); err != nil {
			return err
		}
	}
	if err := o.results(); err != nil {
		return err
	}
	o.Close("    ", "}")
	o.Close("", "}")
	return o.End()
}

func (o *oscal) head() []member {
	return []member{
		{"uuid", o.id("assessment-results")},
		{"metadata", oscalMetadata{
			Title: strings.TrimSpace(WhatIf(o.report) + " Audit of Databricks personal access tokens"), Modified: table.TimeText(o.report.AsOf),
			Version: orText(o.report.Version, "unknown"), OSCAL: oscalVersion,
		}},
		{"import-ap", oscalLink{"#" + o.id("plan")}},
		{"back-matter", oscalBackMatter{[]oscalResource{{
			UUID: o.id("plan"), Title: "Policies of patrol",
			Description: "The policies that were run, in place of an assessment plan: " + strings.Join(engine.SortedKeys(o.titles), ", "),
		}}}},
	}
}

// id is the same for the same thing in the same audit: RFC 9562, version 5.
func (o *oscal) id(parts ...string) string {
	name := []string{o.report.AsOf.UTC().String()}
	for _, w := range o.report.Workspaces {
		name = append(name, w.Snapshot.Digest)
	}
	if o.report.WhatIf != "" { // not the ids of the audit of what is
		name = append(name, "what if", o.report.WhatIf)
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("patrol\x00"+strings.Join(append(name, parts...), "\x00"))).String()
}

func (o *oscal) results() error {
	o.Key("      ", "results")
	o.Open("[")
	o.Next("        ")
	o.Open("{")
	for _, m := range o.resultHead() {
		if err := o.member8(m.key, m.value); err != nil {
			return err
		}
	}
	if err := o.observations(); err != nil {
		return err
	}
	if findings := o.findings(); len(findings) > 0 {
		if err := o.member8("findings", findings); err != nil {
			return err
		}
	}
	o.Close("        ", "}")
	o.Close("      ", "]")
	return nil
}

// member8 writes a member of the result.
func (o *oscal) member8(key string, value any) error {
	o.Key("          ", key)
	return o.Value(value)
}

func (o *oscal) resultHead() []member {
	start := o.report.AsOf
	for _, w := range o.report.Workspaces {
		if w.Snapshot.CollectedAt.Before(start) {
			start = w.Snapshot.CollectedAt
		}
	}
	head := []member{
		{"uuid", o.id("result")},
		{"title", strings.TrimSpace(WhatIf(o.report) + " Verdict: " + string(o.report.Verdict()))},
		{"description", explain(o.report)},
		{"start", table.TimeText(start)},
		{"end", table.TimeText(o.report.AsOf)},
	}
	if components := o.components(); len(components) > 0 {
		head = append(head, member{"local-definitions", oscalDefinitions{components}})
	}
	return append(head, member{"reviewed-controls", o.reviewed()})
}

// components are the workspaces.
func (o *oscal) components() []oscalComponent {
	var list []oscalComponent
	for _, w := range o.report.Workspaces {
		s := w.Snapshot
		list = append(list, oscalComponent{
			UUID: o.id("workspace", s.Workspace.ID), Type: "service", Title: "Databricks workspace " + workspaceLabel(s.Workspace),
			Description: fmt.Sprintf("%s, collected at %s, snapshot digest %s", engine.Plural(s.Tokens, "token"), table.TimeText(s.CollectedAt), orText(s.Digest, "none")),
			Status:      oscalState{State: "operational"},
			Props:       props("workspace-id", s.Workspace.ID, "host", s.Workspace.Host, "incomplete-sections", gapNames(s)),
		})
	}
	return list
}

func gapNames(s engine.Snapshot) string {
	var names []string
	for _, gap := range s.Gaps() {
		names = append(names, gap.Names())
	}
	return strings.Join(names, ", ")
}

// props leaves out what is empty: OSCAL has no empty value.
func props(pairs ...string) []oscalProp {
	var list []oscalProp
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := strings.TrimSpace(engine.SafeText(pairs[i+1])); value != "" {
			list = append(list, oscalProp{pairs[i], value, "urn:patrol"})
		}
	}
	return list
}

// reviewed lists the controls of each framework.
func (o *oscal) reviewed() oscalReviewed {
	var selections []oscalSelection
	for _, f := range o.frameworks {
		s := oscalSelection{Description: engine.FrameworkTitle(f.Name)}
		for _, c := range f.Controls {
			s.Controls = append(s.Controls, oscalControl{controlID(f.Name, c.ID)})
		}
		s.Controls = slices.Compact(s.Controls) // statements of one control
		selections = append(selections, s)
	}
	if len(selections) == 0 {
		selections = []oscalSelection{{Description: "The policies serve no control of a framework.", All: &struct{}{}}}
	}
	return oscalReviewed{selections}
}

// controlID is the id of a control in its catalogue, as far as one is
// published: NIST writes AC-2(3)(d) as ac-2.3. Ids of other frameworks start
// with the framework's name, because an id may not start with a digit.
func controlID(framework, control string) string {
	if strings.HasPrefix(framework, "nist-800-53") {
		id := enhancement.ReplaceAllString(strings.ToLower(control), ".$1")
		if i := strings.IndexByte(id, '('); i >= 0 {
			id = id[:i] // the letter of a statement
		}
		return token(id)
	}
	return token(framework + "_" + control)
}

var enhancement = regexp.MustCompile(`\((\d+)\)`)

var noToken = regexp.MustCompile(`[^\p{L}\p{N}.\-_]+`)

// token makes a word that starts with a letter.
func token(text string) string {
	text = noToken.ReplaceAllString(text, "_")
	if !regexp.MustCompile(`^[\p{L}_]`).MatchString(text) {
		return "_" + text
	}
	return text
}

// observations writes one for each policy in each workspace: those with
// findings first, as they stream in, then those without.
func (o *oscal) observations() error {
	written := map[caseKey]bool{}
	var current caseKey
	err := table.Each(o.ctx, o.report.Findings, func(f engine.Finding) error {
		key := caseKey{f.Policy, f.WorkspaceID}
		if key == current {
			return o.evidence(f)
		}
		if current != (caseKey{}) {
			o.endObservation()
		}
		current, written[key] = key, true
		if err := o.beginObservation(key, f.Workspace); err != nil {
			return err
		}
		o.Key("              ", "relevant-evidence")
		o.Open("[")
		return o.evidence(f)
	})
	if err != nil {
		return err
	}
	if current != (caseKey{}) {
		o.endObservation()
	}
	return o.silent(written)
}

func (o *oscal) endObservation() {
	o.Close("              ", "]")
	o.Close("            ", "}")
}

// silent writes the observations that found nothing, and ends the list.
func (o *oscal) silent(written map[caseKey]bool) error {
	for _, p := range o.report.Policies {
		for _, w := range o.report.Workspaces {
			key := caseKey{p.Policy.ID, w.Snapshot.Workspace.ID}
			if written[key] || w.Policies[p.Policy.ID].Evaluated() == 0 {
				continue
			}
			if err := o.beginObservation(key, w.Snapshot.Workspace.Name); err != nil {
				return err
			}
			o.Close("            ", "}")
		}
	}
	if len(o.observed) > 0 {
		o.Close("          ", "]")
	}
	return nil
}

// beginObservation writes what is known of an observation before its findings.
// The first one begins the list: OSCAL knows no empty one.
func (o *oscal) beginObservation(key caseKey, workspace string) error {
	if len(o.observed) == 0 {
		o.Key("          ", "observations")
		o.Open("[")
	}
	id := o.id("observation", key.policy, key.workspace)
	o.observed[key.policy] = append(o.observed[key.policy], id)
	o.Next("            ")
	o.Open("{")
	counts := o.counts(key)
	members := []member{
		{"uuid", id},
		{"title", engine.SafeText(key.policy + " in " + workspace)},
		{"description", engine.SafeText(prose(orText(o.titles[key.policy], key.policy)) + ": " + controlCounts(engine.Control{Tally: counts, Complete: true}))},
		{"props", props("policy", key.policy, "workspace-id", key.workspace)},
		{"methods", []string{"TEST"}},
		{"types", []string{"finding"}},
		{"subjects", []oscalSubject{{o.id("workspace", key.workspace), "component"}}},
		{"collected", table.TimeText(o.report.AsOf)},
	}
	for _, m := range members {
		o.Key("              ", m.key)
		if err := o.Value(m.value); err != nil {
			return err
		}
	}
	return nil
}

func (o *oscal) counts(key caseKey) engine.Tally {
	for _, w := range o.report.Workspaces {
		if w.Snapshot.Workspace.ID == key.workspace {
			return w.Policies[key.policy]
		}
	}
	return nil
}

// evidence writes one finding of an observation.
func (o *oscal) evidence(f engine.Finding) error {
	o.Next("                ")
	e := oscalEvidence{
		Description: resultText(f),
		Props: props("resource", string(f.Resource), "resource-id", f.ResourceID, "status", string(f.Status), "severity", string(f.Severity),
			"owner", f.Owner, "fingerprint", f.Fingerprint, "remedy", f.Remedy),
	}
	if f.Status == engine.Waived {
		e.Remarks = waiverText(f.Waiver)
	}
	return o.Value(e)
}

// findings tells, control by control, whether it is satisfied. A control with
// nothing to judge has none.
func (o *oscal) findings() []oscalFinding {
	var list []oscalFinding
	for _, f := range o.frameworks {
		for _, c := range f.Controls {
			if c.Status == engine.ControlNotAssessed {
				continue
			}
			finding := oscalFinding{
				UUID: o.id("finding", f.Name, c.ID), Title: engine.SafeText(engine.FrameworkTitle(f.Name) + " " + c.ID + ": " + controlWord(c.Status)),
				Description: engine.SafeText(orText(c.Requirement, c.ID) + " " + controlCounts(c) + "."),
				Target:      oscalTarget{Type: "objective-id", ID: controlID(f.Name, c.ID), Status: controlState(c.Status)},
			}
			for _, policy := range c.Policies {
				for _, id := range o.observed[policy] {
					finding.Related = append(finding.Related, oscalRelated{id})
				}
			}
			list = append(list, finding)
		}
	}
	return slices.Clip(list)
}

func controlState(s engine.ControlStatus) oscalState {
	switch s {
	case engine.ControlMet:
		return oscalState{State: "satisfied", Reason: "pass"}
	case engine.ControlNotMet:
		return oscalState{State: "not-satisfied", Reason: "fail"}
	}
	return oscalState{State: "not-satisfied", Reason: "other", Remarks: "Not everything could be judged."}
}

type oscalMetadata struct {
	Title    string `json:"title"`
	Modified string `json:"last-modified"`
	Version  string `json:"version"`
	OSCAL    string `json:"oscal-version"`
}

type oscalLink struct {
	Href string `json:"href"`
}

type oscalBackMatter struct {
	Resources []oscalResource `json:"resources"`
}

type oscalResource struct {
	UUID        string `json:"uuid"`
	Title       string `json:"title"`
	Description string `json:"description"`
}

type oscalDefinitions struct {
	Components []oscalComponent `json:"components"`
}

type oscalComponent struct {
	UUID        string      `json:"uuid"`
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	Props       []oscalProp `json:"props,omitempty"`
	Status      oscalState  `json:"status"`
}

type oscalProp struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	NS    string `json:"ns"`
}

type oscalState struct {
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Remarks string `json:"remarks,omitempty"`
}

type oscalReviewed struct {
	Selections []oscalSelection `json:"control-selections"`
}

type oscalSelection struct {
	Description string         `json:"description"`
	All         *struct{}      `json:"include-all,omitempty"`
	Controls    []oscalControl `json:"include-controls,omitempty"`
}

type oscalControl struct {
	ID string `json:"control-id"`
}

type oscalSubject struct {
	UUID string `json:"subject-uuid"`
	Type string `json:"type"`
}

type oscalEvidence struct {
	Description string      `json:"description"`
	Props       []oscalProp `json:"props,omitempty"`
	Remarks     string      `json:"remarks,omitempty"`
}

type oscalFinding struct {
	UUID        string         `json:"uuid"`
	Title       string         `json:"title"`
	Description string         `json:"description"`
	Target      oscalTarget    `json:"target"`
	Related     []oscalRelated `json:"related-observations,omitempty"`
}

type oscalTarget struct {
	Type   string     `json:"type"`
	ID     string     `json:"target-id"`
	Status oscalState `json:"status"`
}

type oscalRelated struct {
	UUID string `json:"observation-uuid"`
}
