package reports

import (
	"cmp"
	"context"
	"io"
	"math"
	"slices"
	"strconv"

	"patrol/engine"
	"patrol/reports/table"
)

// JSON is the whole audit for programs, apart from the population of tokens.
func (catalogue) JSON() Format {
	return Format{
		Name:  "json",
		File:  "audit.json",
		Doc:   "the audit as JSON: summary, workspaces, policies, findings",
		Write: writeJSON,
	}
}

// auditSchema grows when a reader of audit.json would have to change.
const auditSchema = 1

func writeJSON(ctx context.Context, w io.Writer, r engine.Report) error {
	if r.Exceptions.Waivers == nil {
		r.Exceptions.Waivers = []engine.WaiverUse{} // a list even where there are none
	}
	reach := r.Reach()
	return table.WriteJSON(w, table.Tall{
		"schema", auditSchema,
		"version", r.Version,
		"what_if", table.NotEmpty(r.WhatIf),
		"as_of", table.TimeText(r.AsOf),
		"fail_on", r.FailOn.String(),
		"verdict", r.Verdict(),
		"summary", table.Object{
			"tokens", r.Summary.Tokens,
			"workspaces", r.Summary.Workspaces,
			"statuses", tallyJSON(r.Summary.Statuses), // all results
			"severities", severitiesJSON(r.Summary.Failed), // results that failed
		},
		"policies_digest", engine.InForceDigest(r.Policies),
		"exceptions", r.Exceptions,
		"account", table.Object{ // how many of the workspaces that should have been read were
			"account_ids", append([]string{}, reach.Accounts...),
			"expected", reach.Expected,
			"read", reach.Read,
			"percent", reach.Percent(),
			"min_coverage", 100 - r.MayMiss,
			"missing", append([]engine.Unread{}, reach.Missing...),
		},
		"trend", trendJSON(r.Trend),
		"workspaces", table.Elements(ctx, table.Known(r.Workspaces), workspaceJSON),
		"policies", table.Elements(ctx, table.Known(r.Policies), policyJSON),
		"frameworks", table.Elements(ctx, table.Known(r.Frameworks()), frameworkJSON),
		"results", table.Elements(ctx, r.Findings, findingJSON),
	})
}

func severitiesJSON(count func(engine.Severity) int) (counts table.Object) {
	for _, level := range engine.Severities() {
		counts = append(counts, string(level), count(level))
	}
	return counts
}

// tallyJSON counts results in the order of reports.
func tallyJSON(t engine.Tally) (counts table.Object) {
	for _, status := range engine.Statuses() {
		counts = append(counts, string(status), t[status])
	}
	return counts
}

func findingJSON(f engine.Finding) any {
	type finding struct {
		engine.Finding
		Since string `json:"since,omitempty"` // since when it stands; absent where that is not known
	}
	if f.Evidence == nil {
		f.Evidence = map[string]any{}
	}
	if f.Since.IsZero() {
		return finding{Finding: f}
	}
	return finding{f, table.TimeText(f.Since)}
}

func workspaceJSON(w engine.WorkspaceReport) any {
	s := w.Snapshot
	coverage := map[engine.SectionName]table.Object{}
	for name, c := range s.Coverage {
		coverage[name] = table.Object{"status", c.Status, "reason", c.Reason, "detail", table.NotEmpty(c.Detail), "hint", table.NotEmpty(c.Hint), "count", c.Count}
	}
	return table.Object{
		"name", s.Workspace.Name,
		"workspace_id", s.Workspace.ID,
		"host", s.Workspace.Host,
		"cloud", s.Workspace.Cloud,
		"labels", table.NotEmpty(s.Workspace.Labels),
		"snapshot", strconv.FormatInt(s.ID, 10),
		"digest", s.Digest,
		"previous", s.Previous,
		"collected_at", table.TimeText(s.CollectedAt),
		"tokens", s.Tokens,
		"coverage", coverage,
		"statuses", tallyJSON(w.Counts),
	}
}

func policyJSON(p engine.PolicyReport) any {
	params, origins := make(map[string]any, len(p.Policy.Params)), map[string]string{}
	for _, param := range p.Policy.Params {
		params[param.Name] = param.Value
		if param.Origin != "" && param.Origin != "default" {
			origins["params."+param.Name] = param.Origin
		}
	}
	for key, origin := range map[string]string{"enabled": p.Policy.Off, "severity": p.Policy.SetSeverity} {
		if origin != "" {
			origins[key] = origin
		}
	}
	return slices.Concat(table.Object{
		"id", p.Policy.ID,
		"title", p.Policy.Title,
		"severity", p.Policy.Severity,
		"resource", p.Policy.Resource,
		"evaluated", p.Tally.Evaluated(),
	}, tallyJSON(p.Tally), table.Object{
		"remedy", p.Policy.Remedy,
		"description", prose(p.Policy.Description),
		"remediation", prose(p.Policy.Remediation),
		"controls", table.NotEmpty(p.Policy.Controls),
		"aliases", table.NotEmpty(p.Policy.Aliases),
		"params", table.NotEmpty(params),
		// What was in force: severity and params above are those of the
		// configuration, where no override says otherwise.
		"enabled", p.Policy.Off == "",
		"default_severity", cmp.Or(p.Policy.OwnSeverity, p.Policy.Severity),
		"origins", origins, // enabled, severity, params.NAME: from where, where not by default
		"overrides", table.NotEmpty(p.Policy.Overrides),
	})
}

func frameworkJSON(f engine.Framework) any {
	controls := []table.Object{}
	for _, c := range f.Controls {
		controls = append(controls, append(table.Object{
			"control", c.ID,
			"policies", c.Policies,
			"status", c.Status,
			"complete", c.Complete, // all its policies ran, and came to a verdict everywhere
			"switched_off", table.NotEmpty(c.Off),
		}, tallyJSON(c.Tally)...))
	}
	return table.Object{"framework", f.Name, "title", engine.FrameworkTitle(f.Name), "controls", controls}
}

// trendJSON is null where no snapshot before was judged.
func trendJSON(t *engine.Trend) any {
	if t == nil {
		return nil
	}
	changes := map[engine.Change]table.Object{}
	for _, change := range engine.Changes() {
		changes[change] = severitiesJSON(func(level engine.Severity) int { return t.Counts[change][level] })
	}
	fixes, found := []table.Object{}, []table.Object{}
	for _, level := range engine.Severities() {
		if fix, ok := t.Fixes[level]; ok {
			fixes = append(fixes, table.Object{"severity", level, "fixed", fix.Count, "mean_days", days(fix), "at_least", fix.AtLeast}) // at_least: the true mean is longer
		}
	}
	for _, f := range t.New {
		found = append(found, table.Object{"policy", f.Policy, "severity", f.Severity, "workspace_id", f.WorkspaceID, "resource_id", f.ResourceID, "fingerprint", f.Fingerprint})
	}
	var earliest any = table.Absent{} // the oldest verdict compared with, where a snapshot before could not be judged whole
	if !t.Earliest.IsZero() {
		earliest = table.TimeText(t.Earliest)
	}
	return table.Object{"since", table.TimeText(t.Since), "earliest", earliest, "workspaces", t.Workspaces, "changes", changes, "time_to_fix", fixes,
		"new", found} // worst first, the first few
}

// days is a mean in days, to a tenth.
func days(f engine.Fix) float64 { return math.Round(f.Mean.Hours()/24*10) / 10 }
