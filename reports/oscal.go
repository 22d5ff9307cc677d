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
	report     engine.Report
	frameworks []engine.Framework
	titles     map[string]string   // of policies
	observed   map[string][]string // ids of observations, by policy
}

// writeOSCAL writes one result: what was looked at, an observation for each
// policy in each workspace with all that it found, and a finding for each
// control that rests on these observations.
func writeOSCAL(ctx context.Context, w io.Writer, r engine.Report) error {
	o := &oscal{JSONWriter: table.NewJSONWriter(w), report: r, frameworks: r.Frameworks(), titles: map[string]string{}, observed: map[string][]string{}}
	for _, p := range r.Policies {
		o.titles[p.Policy.ID] = p.Policy.Title
	}
	o.Open("{")
	o.Key("    ", "assessment-results")
	o.Open("{")
	head := table.Object{
		"uuid", o.id("assessment-results"),
		"metadata", table.Object{
			"title", strings.TrimSpace(WhatIf(r) + " Audit of Databricks personal access tokens"), "last-modified", table.TimeText(r.AsOf),
			"version", orText(r.Version, "unknown"), "oscal-version", oscalVersion,
		},
		"import-ap", table.Object{"href", "#" + o.id("plan")},
		"back-matter", table.Object{"resources", []table.Object{{
			"uuid", o.id("plan"), "title", "Policies of patrol",
			"description", "The policies that were run, in place of an assessment plan: " + strings.Join(engine.SortedKeys(o.titles), ", "),
		}}},
	}
	if err := o.Members("      ", head); err != nil {
		return err
	}
	if err := o.results(ctx); err != nil {
		return err
	}
	o.Close("    ", "}")
	o.Close("", "}")
	return o.End()
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

func (o *oscal) results(ctx context.Context) error {
	o.Key("      ", "results")
	o.Open("[")
	o.Next("        ")
	o.Open("{")
	start := o.report.AsOf
	for _, w := range o.report.Workspaces {
		if w.Snapshot.CollectedAt.Before(start) {
			start = w.Snapshot.CollectedAt
		}
	}
	var definitions any = table.Absent{}
	if components := o.components(); len(components) > 0 {
		definitions = table.Object{"components", components}
	}
	err := o.Members("          ", table.Object{
		"uuid", o.id("result"),
		"title", strings.TrimSpace(WhatIf(o.report) + " Verdict: " + string(o.report.Verdict())),
		"description", explain(o.report),
		"start", table.TimeText(start),
		"end", table.TimeText(o.report.AsOf),
		"local-definitions", definitions,
		"reviewed-controls", table.Object{"control-selections", o.reviewed()},
	})
	if err != nil {
		return err
	}
	if err := o.observations(ctx); err != nil {
		return err
	}
	if err := o.Members("          ", table.Object{"findings", table.NotEmpty(o.findings())}); err != nil {
		return err
	}
	o.Close("        ", "}")
	o.Close("      ", "]")
	return nil
}

// components are the workspaces.
func (o *oscal) components() []table.Object {
	return table.Map(o.report.Workspaces, func(w engine.WorkspaceReport) table.Object {
		s := w.Snapshot
		var missing []string
		for _, gap := range s.Gaps() {
			missing = append(missing, gap.Names())
		}
		return table.Object{
			"uuid", o.id("workspace", s.Workspace.ID), "type", "service", "title", "Databricks workspace " + workspaceLabel(s.Workspace),
			"description", fmt.Sprintf("%s, collected at %s, snapshot digest %s", engine.Plural(s.Tokens, "token"), table.TimeText(s.CollectedAt), orText(s.Digest, "none")),
			"props", props("workspace-id", s.Workspace.ID, "host", s.Workspace.Host, "incomplete-sections", strings.Join(missing, ", ")),
			"status", table.Object{"state", "operational"},
		}
	})
}

// props leaves out what is empty: OSCAL has no empty value.
func props(pairs ...string) any {
	var list []table.Object
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := strings.TrimSpace(engine.SafeText(pairs[i+1])); value != "" {
			list = append(list, table.Object{"name", pairs[i], "value", value, "ns", "urn:patrol"})
		}
	}
	return table.NotEmpty(list)
}

// reviewed lists the controls of each framework.
func (o *oscal) reviewed() []table.Object {
	var selections []table.Object
	for _, f := range o.frameworks {
		ids := slices.Compact(table.Map(f.Controls, func(c engine.Control) string { return controlID(f.Name, c.ID) })) // several may be statements of one
		controls := table.Map(ids, func(id string) table.Object { return table.Object{"control-id", id} })
		selections = append(selections, table.Object{"description", engine.FrameworkTitle(f.Name), "include-controls", table.NotEmpty(controls)})
	}
	if len(selections) == 0 {
		return []table.Object{{"description", "The policies serve no control of a framework.", "include-all", table.Object{}}}
	}
	return selections
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
func (o *oscal) observations(ctx context.Context) error {
	written := map[caseKey]bool{}
	var current caseKey
	err := table.Each(ctx, o.report.Findings, func(f engine.Finding) error {
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
	var counts engine.Tally
	for _, w := range o.report.Workspaces {
		if w.Snapshot.Workspace.ID == key.workspace {
			counts = w.Policies[key.policy]
		}
	}
	return o.Members("              ", table.Object{
		"uuid", id,
		"title", engine.SafeText(key.policy + " in " + workspace),
		"description", engine.SafeText(prose(orText(o.titles[key.policy], key.policy)) + ": " + controlCounts(engine.Control{Tally: counts, Complete: true})),
		"props", props("policy", key.policy, "workspace-id", key.workspace),
		"methods", []string{"TEST"},
		"types", []string{"finding"},
		"subjects", []table.Object{{"subject-uuid", o.id("workspace", key.workspace), "type", "component"}},
		"collected", table.TimeText(o.report.AsOf),
	})
}

// evidence writes one finding of an observation.
func (o *oscal) evidence(f engine.Finding) error {
	o.Next("                ")
	var remarks any = table.Absent{}
	if f.Status == engine.Waived {
		remarks = waiverText(f.Waiver)
	}
	return o.Value(table.Object{
		"description", resultText(f),
		"props", props("resource", string(f.Resource), "resource-id", f.ResourceID, "status", string(f.Status), "severity", string(f.Severity),
			"owner", f.Owner, "fingerprint", f.Fingerprint, "remedy", f.Remedy),
		"remarks", remarks,
	})
}

// findings tells, control by control, whether it is satisfied. A control with
// nothing to judge has none.
func (o *oscal) findings() (list []table.Object) {
	for _, f := range o.frameworks {
		for _, c := range f.Controls {
			if c.Status == engine.ControlNotAssessed {
				continue
			}
			var related []table.Object
			for _, policy := range c.Policies {
				for _, id := range o.observed[policy] {
					related = append(related, table.Object{"observation-uuid", id})
				}
			}
			list = append(list, table.Object{
				"uuid", o.id("finding", f.Name, c.ID), "title", engine.SafeText(engine.FrameworkTitle(f.Name) + " " + c.ID + ": " + controlWord(c.Status)),
				"description", engine.SafeText(orText(c.Requirement, c.ID) + " " + controlCounts(c) + "."),
				"target", table.Object{"type", "objective-id", "target-id", controlID(f.Name, c.ID), "status", controlState(c.Status)},
				"related-observations", table.NotEmpty(related),
			})
		}
	}
	return list
}

func controlState(s engine.ControlStatus) table.Object {
	switch s {
	case engine.ControlMet:
		return table.Object{"state", "satisfied", "reason", "pass"}
	case engine.ControlNotMet:
		return table.Object{"state", "not-satisfied", "reason", "fail"}
	}
	return table.Object{"state", "not-satisfied", "reason", "other", "remarks", "Not everything could be judged."}
}
