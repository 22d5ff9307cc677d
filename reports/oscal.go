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
