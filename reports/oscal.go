package reports

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

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

// oscal is the document in the making.
type oscal struct {
	report     engine.Report
	frameworks []engine.Framework
	titles     map[string]string // of policies
	findings   *table.Cursor[engine.Finding]
	observed   map[string][]string // ids of the observations written so far, by policy
}

// writeOSCAL writes one result: what was looked at, an observation for each
// policy in each workspace with all that it found, and a finding for each
// control that rests on these observations.
func writeOSCAL(ctx context.Context, w io.Writer, r engine.Report) error {
	findings, err := table.Pull(ctx, r.Findings)
	defer findings.Stop()
	if err != nil {
		return err
	}
	o := &oscal{report: r, frameworks: r.Frameworks(), titles: map[string]string{}, findings: findings, observed: map[string][]string{}}
	for _, p := range r.Policies {
		o.titles[p.Policy.ID] = p.Policy.Title
	}
	return table.WriteJSON(w, table.Tall{"assessment-results", table.Tall{
		"uuid", o.id("assessment-results"),
		"metadata", table.Object{
			"title", strings.TrimSpace(WhatIf(r) + " Audit of Databricks personal access tokens"), "last-modified", table.TimeText(r.AsOf),
			"version", cmp.Or(r.Version, "unknown"), "oscal-version", oscalVersion,
		},
		"import-ap", table.Object{"href", "#" + o.id("plan")},
		"back-matter", table.Object{"resources", []table.Object{{
			"uuid", o.id("plan"), "title", "Policies of patrol",
			"description", "The policies that were run, in place of an assessment plan: " + strings.Join(engine.SortedKeys(o.titles), ", "),
		}}},
		"results", table.List(func(result func(any) error) error { return result(o.result()) }),
	}})
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

// result leaves lists out that would be empty: OSCAL knows none.
func (o *oscal) result() table.Tall {
	r := o.report
	start := r.AsOf
	components := []table.Object{} // the workspaces
	observed := o.findings.More
	for _, w := range r.Workspaces {
		s := w.Snapshot
		if s.CollectedAt.Before(start) {
			start = s.CollectedAt
		}
		var missing []string
		for _, gap := range s.Gaps() {
			missing = append(missing, gap.Names())
		}
		components = append(components, table.Object{
			"uuid", o.id("workspace", s.Workspace.ID), "type", "service", "title", "Databricks workspace " + workspaceLabel(s.Workspace),
			"description", fmt.Sprintf("%s, collected at %s, snapshot digest %s", engine.Plural(s.Tokens, "token"), table.TimeText(s.CollectedAt), cmp.Or(s.Digest, "none")),
			"props", props("workspace-id", s.Workspace.ID, "host", s.Workspace.Host, "incomplete-sections", strings.Join(missing, ", ")),
			"status", table.Object{"state", "operational"},
		})
		for _, p := range r.Policies {
			observed = observed || w.Policies[p.Policy.ID].Evaluated() > 0
		}
	}
	selections := []table.Object{}
	for _, f := range o.frameworks {
		ids := slices.Compact(table.Map(f.Controls, func(c engine.Control) string { return controlID(f.Name, c.ID) })) // several may be statements of one
		controls := table.Map(ids, func(id string) table.Object { return table.Object{"control-id", id} })
		selections = append(selections, table.Object{"description", engine.FrameworkTitle(f.Name), "include-controls", table.NotEmpty(controls)})
	}
	if len(selections) == 0 {
		selections = []table.Object{{"description", "The policies serve no control of a framework.", "include-all", table.Object{}}}
	}
	var definitions, observations, findings any = table.Absent{}, table.Absent{}, table.Absent{}
	if len(components) > 0 {
		definitions = table.Object{"components", components}
	}
	if observed {
		observations = table.List(o.observations)
	}
	judged := func(c engine.Control) bool { return c.Status != engine.ControlNotAssessed }
	if slices.ContainsFunc(o.frameworks, func(f engine.Framework) bool { return slices.ContainsFunc(f.Controls, judged) }) {
		findings = table.List(o.controls)
	}
	return table.Tall{
		"uuid", o.id("result"),
		"title", strings.TrimSpace(WhatIf(r) + " Verdict: " + string(r.Verdict())),
		"description", explain(r),
		"start", table.TimeText(start),
		"end", table.TimeText(r.AsOf),
		"local-definitions", definitions,
		"reviewed-controls", table.Object{"control-selections", selections},
		"observations", observations,
		"findings", findings,
	}
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

// controlID is the id of a control in its catalogue, as far as one is
// published: NIST writes AC-2(3)(d) as ac-2.3. Ids of other frameworks start
// with the framework's name, because an id may not start with a digit.
func controlID(framework, control string) string {
	id := framework + "_" + control
	if strings.HasPrefix(framework, "nist-800-53") {
		id = enhancement.ReplaceAllString(strings.ToLower(control), ".$1")
		id, _, _ = strings.Cut(id, "(") // the letter of a statement
	}
	id = noToken.ReplaceAllString(id, "_")
	if first, _ := utf8.DecodeRuneInString(id); !unicode.IsLetter(first) && first != '_' {
		return "_" + id
	}
	return id
}

var (
	enhancement = regexp.MustCompile(`\((\d+)\)`)
	noToken     = regexp.MustCompile(`[^\p{L}\p{N}.\-_]+`)
)

// observations are one for each policy in each workspace: those with findings first, as
// these come in, then those without.
func (o *oscal) observations(observation func(any) error) error {
	written := map[caseKey]bool{}
	for o.findings.More {
		key := caseKey{o.findings.Row.Policy, o.findings.Row.WorkspaceID}
		written[key] = true
		evidence := func(item func(any) error) error {
			for f := &o.findings.Row; o.findings.More && key == (caseKey{f.Policy, f.WorkspaceID}); {
				var remarks any = table.Absent{}
				if why := excuse(*f); why != "" {
					remarks = why
				}
				err := item(table.Object{
					"description", resultText(*f),
					"props", props("resource", string(f.Resource), "resource-id", f.ResourceID, "status", string(f.Status), "severity", string(f.Severity),
						"owner", f.Owner, "fingerprint", f.Fingerprint, "remedy", f.Remedy),
					"remarks", remarks,
				})
				if err != nil {
					return err
				}
				if err := o.findings.Next(); err != nil {
					return err
				}
			}
			return nil
		}
		if err := observation(append(o.observation(key, o.findings.Row.Workspace), "relevant-evidence", table.List(evidence))); err != nil {
			return err
		}
	}
	for _, p := range o.report.Policies {
		for _, w := range o.report.Workspaces {
			key := caseKey{p.Policy.ID, w.Snapshot.Workspace.ID}
			if written[key] || w.Policies[p.Policy.ID].Evaluated() == 0 {
				continue
			}
			if err := observation(o.observation(key, w.Snapshot.Workspace.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// observation is what is known of one before its findings.
func (o *oscal) observation(key caseKey, workspace string) table.Tall {
	id := o.id("observation", key.policy, key.workspace)
	o.observed[key.policy] = append(o.observed[key.policy], id)
	var counts engine.Tally
	for _, w := range o.report.Workspaces {
		if w.Snapshot.Workspace.ID == key.workspace {
			counts = w.Policies[key.policy]
		}
	}
	return table.Tall{
		"uuid", id,
		"title", engine.SafeText(key.policy + " in " + workspace),
		"description", engine.SafeText(prose(cmp.Or(o.titles[key.policy], key.policy)) + ": " + controlCounts(engine.Control{Tally: counts, Complete: true})),
		"props", props("policy", key.policy, "workspace-id", key.workspace),
		"methods", []string{"TEST"},
		"types", []string{"finding"},
		"subjects", []table.Object{{"subject-uuid", o.id("workspace", key.workspace), "type", "component"}},
		"collected", table.TimeText(o.report.AsOf),
	}
}

// controls tell, one by one, whether they are satisfied. Those with nothing to judge are
// left out.
func (o *oscal) controls(finding func(any) error) error {
	states := map[engine.ControlStatus]table.Object{
		engine.ControlMet:        {"state", "satisfied", "reason", "pass"},
		engine.ControlNotMet:     {"state", "not-satisfied", "reason", "fail"},
		engine.ControlIncomplete: {"state", "not-satisfied", "reason", "other", "remarks", "Not everything could be judged."},
	}
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
			err := finding(table.Object{
				"uuid", o.id("finding", f.Name, c.ID), "title", engine.SafeText(engine.FrameworkTitle(f.Name) + " " + c.ID + ": " + controlWord(c.Status)),
				"description", engine.SafeText(cmp.Or(c.Requirement, c.ID) + " " + controlCounts(c) + "."),
				"target", table.Object{"type", "objective-id", "target-id", controlID(f.Name, c.ID), "status", states[c.Status]},
				"related-observations", table.NotEmpty(related),
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
