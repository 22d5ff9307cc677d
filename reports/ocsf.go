package reports

import (
	"cmp"
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
	return table.WriteJSON(w, table.Elements(ctx, r.Findings, func(f engine.Finding) any {
		return eventOCSF(r, f, policies[f.Policy], snapshots[f.WorkspaceID])
	}))
}

func eventOCSF(r engine.Report, f engine.Finding, policy engine.Policy, snapshot engine.Snapshot) table.Object {
	workspace := snapshot.Workspace
	severityID, severity := severityOCSF(f.Severity)
	statusID, status := 1, "New" // of the finding itself: what was excused is suppressed
	excuse := excuse(f)
	if excuse != "" {
		statusID, status = 3, "Suppressed"
	}
	complianceID, compliance := 3, "Fail" // of the policy: excused is failed all the same, and what could not be judged is never passed
	if !f.Status.Judged() {
		complianceID, compliance = 0, "Unknown"
	}
	standards, requirements := append([]string{}, engine.SortedKeys(policy.Controls)...), []string{}
	for _, framework := range standards {
		for _, control := range policy.Controls[framework] {
			requirements = append(requirements, framework+" "+control)
		}
	}
	var first, owner any = table.Absent{}, table.Absent{} // first: not known
	if !f.Since.IsZero() {
		first = f.Since.UnixMilli()
	}
	if f.Owner != "" {
		owner = table.Object{"name", f.Owner}
	}
	cloud := map[string]string{"aws": "AWS", "azure": "Azure", "gcp": "GCP"}[strings.ToLower(workspace.Cloud)]
	return table.Object{
		"activity_id", 1, "activity_name", "Create",
		"category_uid", 2, "category_name", "Findings",
		"class_uid", 2003, "class_name", "Compliance Finding",
		"type_uid", 200301, "type_name", "Compliance Finding: Create",
		"time", r.AsOf.UnixMilli(),
		"severity_id", severityID, "severity", severity,
		"status_id", statusID, "status", status, "status_detail", table.NotEmpty(excuse),
		"message", strings.TrimSpace(WhatIf(r) + " " + resultText(f)),
		"metadata", table.Object{
			"version", ocsfVersion, "uid", f.Fingerprint, "profiles", []string{"cloud"},
			"product", table.Object{"name", "patrol", "vendor_name", "patrol", "version", table.NotEmpty(r.Version)},
		},
		"cloud", table.Object{"provider", cmp.Or(cloud, "Unknown")},
		"finding_info", table.Object{
			"uid", f.Fingerprint, "title", f.Title, "desc", table.NotEmpty(prose(policy.Description)),
			"first_seen_time", first, "types", []string{f.Policy},
		},
		"compliance", table.Object{
			"control", f.Policy, "standards", standards, "requirements", requirements, "status_id", complianceID, "status", compliance,
		},
		"resource", table.Object{
			"uid", f.ResourceID, "name", cmp.Or(f.ResourceID, f.Workspace), "type", "Databricks " + string(f.Resource),
			"namespace", f.Workspace, "labels", table.NotEmpty(labelTexts(workspace.Labels)), "owner", owner,
		},
		"remediation", table.Object{"desc", cmp.Or(prose(policy.Remediation), f.Remedy)},
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

func severityOCSF(s engine.Severity) (id int, name string) {
	names := []string{"Critical", "High", "Medium", "Low", "Informational"}
	rank := min(s.Rank(), len(names)-1)
	return len(names) - rank, names[rank]
}
