package reports

import (
	"context"
	"io"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// OCSF is the findings for a SIEM or a security lake.
func (catalogue) OCSF() Format {
	return Format{
		Name:  "ocsf",
		File:  "audit.ocsf.json",
		Doc:   "findings as OCSF 1.2.0 Compliance Findings: a JSON list, one event a line",
		Write: writeOCSF,
	}
}

// ocsfVersion is the schema that the events are valid for.
const ocsfVersion = "1.2.0"

// writeOCSF writes a list, one event a line: it is one JSON document, as the
// file's ending says, and whoever wants lines takes them without the commas.
func writeOCSF(ctx context.Context, w io.Writer, r engine.Report) error {
	policies, snapshots := map[string]engine.Policy{}, map[string]engine.Snapshot{} // snapshots by id of their workspace
	for _, p := range r.Policies {
		policies[p.Policy.ID] = p.Policy
	}
	for _, w := range r.Workspaces {
		snapshots[w.Snapshot.Workspace.ID] = w.Snapshot
	}
	out := table.NewJSONWriter(w)
	out.Open("[")
	err := table.Each(ctx, r.Findings, func(f engine.Finding) error {
		out.Next("")
		return out.Value(eventOCSF(r, f, policies[f.Policy], snapshots[f.WorkspaceID]))
	})
	if err != nil {
		return err
	}
	out.Close("", "]")
	return out.End()
}

func eventOCSF(r engine.Report, f engine.Finding, policy engine.Policy, snapshot engine.Snapshot) table.Object {
	workspace := snapshot.Workspace
	severityID, severity := severityOCSF(f.Severity)
	statusID, status, detail := statusOCSF(f)
	var first, owner any = table.Absent{}, table.Absent{} // first: not known
	if !f.Since.IsZero() {
		first = f.Since.UnixMilli()
	}
	if f.Owner != "" {
		owner = table.Object{"name", f.Owner}
	}
	return table.Object{
		"activity_id", 1, "activity_name", "Create",
		"category_uid", 2, "category_name", "Findings",
		"class_uid", 2003, "class_name", "Compliance Finding",
		"type_uid", 200301, "type_name", "Compliance Finding: Create",
		"time", r.AsOf.UnixMilli(),
		"severity_id", severityID, "severity", severity,
		"status_id", statusID, "status", status, "status_detail", table.NotEmpty(detail),
		"message", strings.TrimSpace(WhatIf(r) + " " + resultText(f)),
		"metadata", table.Object{
			"version", ocsfVersion, "uid", f.Fingerprint, "profiles", []string{"cloud"},
			"product", table.Object{"name", "patrol", "vendor_name", "patrol", "version", table.NotEmpty(r.Version)},
		},
		"cloud", table.Object{"provider", cloudName(workspace.Cloud)},
		"finding_info", table.Object{
			"uid", f.Fingerprint, "title", f.Title, "desc", table.NotEmpty(prose(policy.Description)),
			"first_seen_time", first, "types", []string{f.Policy},
		},
		"compliance", complianceOCSF(f, policy),
		"resource", table.Object{
			"uid", f.ResourceID, "name", orText(f.ResourceID, f.Workspace), "type", "Databricks " + string(f.Resource),
			"namespace", f.Workspace, "labels", table.NotEmpty(labelTexts(workspace.Labels)), "owner", owner,
		},
		"remediation", table.Object{"desc", orText(prose(policy.Remediation), f.Remedy)},
		"unmapped", table.Object{
			"status", f.Status,
			"what_if", table.NotEmpty(r.WhatIf),
			"workspace_id", f.WorkspaceID,
			"snapshot_digest", table.NotEmpty(snapshot.Digest), // of the snapshot that was judged
			"host", table.NotEmpty(workspace.Host),
			"remedy", f.Remedy,
			"evidence", table.NotEmpty(f.Evidence),
			"waiver", table.NotEmpty(f.Waiver),
		},
	}
}

func severityOCSF(s engine.Severity) (int, string) {
	switch s {
	case engine.Critical:
		return 5, "Critical"
	case engine.High:
		return 4, "High"
	case engine.Medium:
		return 3, "Medium"
	case engine.Low:
		return 2, "Low"
	}
	return 1, "Informational"
}

// statusOCSF is the state of the finding itself: what was excused is
// suppressed.
func statusOCSF(f engine.Finding) (id int, name, detail string) {
	switch f.Status {
	case engine.Waived:
		return 3, "Suppressed", waiverText(f.Waiver)
	case engine.Baselined:
		return 3, "Suppressed", "known to the baseline"
	}
	return 1, "New", ""
}

// complianceOCSF is what the policy came to: excused is failed all the same,
// and what could not be judged is unknown, never passed.
func complianceOCSF(f engine.Finding, p engine.Policy) table.Object {
	standards, requirements := append([]string{}, engine.SortedKeys(p.Controls)...), []string{}
	for _, framework := range standards {
		for _, control := range p.Controls[framework] {
			requirements = append(requirements, framework+" "+control)
		}
	}
	id, status := 3, "Fail"
	if !f.Status.Judged() {
		id, status = 0, "Unknown"
	}
	return table.Object{"control", f.Policy, "standards", standards, "requirements", requirements, "status_id", id, "status", status}
}

func cloudName(cloud string) string {
	switch strings.ToLower(cloud) {
	case "aws":
		return "AWS"
	case "azure":
		return "Azure"
	case "gcp":
		return "GCP"
	}
	return "Unknown"
}
