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
	e := newOCSF(r)
	out := table.NewJSONWriter(w)
	out.Open("[")
	err := table.Each(ctx, r.Findings, func(f engine.Finding) error {
		out.Next("")
		return out.Value(e.event(f))
	})
	if err != nil {
		return err
	}
	out.Close("", "]")
	return out.End()
}

// ocsf makes events of findings.
type ocsf struct {
	report    engine.Report
	policies  map[string]engine.Policy
	snapshots map[string]engine.Snapshot // by id of their workspace
}

func newOCSF(r engine.Report) *ocsf {
	e := &ocsf{report: r, policies: map[string]engine.Policy{}, snapshots: map[string]engine.Snapshot{}}
	for _, p := range r.Policies {
		e.policies[p.Policy.ID] = p.Policy
	}
	for _, w := range r.Workspaces {
		e.snapshots[w.Snapshot.Workspace.ID] = w.Snapshot
	}
	return e
}

type ocsfEvent struct {
	ActivityID   int             `json:"activity_id"`
	ActivityName string          `json:"activity_name"`
	CategoryUID  int             `json:"category_uid"`
	CategoryName string          `json:"category_name"`
	ClassUID     int             `json:"class_uid"`
	ClassName    string          `json:"class_name"`
	TypeUID      int             `json:"type_uid"`
	TypeName     string          `json:"type_name"`
	Time         int64           `json:"time"`
	SeverityID   int             `json:"severity_id"`
	Severity     string          `json:"severity"`
	StatusID     int             `json:"status_id"`
	Status       string          `json:"status"`
	StatusDetail string          `json:"status_detail,omitempty"`
	Message      string          `json:"message"`
	Metadata     ocsfMetadata    `json:"metadata"`
	Cloud        ocsfCloud       `json:"cloud"`
	Finding      ocsfFinding     `json:"finding_info"`
	Compliance   ocsfCompliance  `json:"compliance"`
	Resource     ocsfResource    `json:"resource"`
	Remediation  ocsfRemediation `json:"remediation"`
	Unmapped     ocsfUnmapped    `json:"unmapped"`
}

type ocsfMetadata struct {
	Version  string      `json:"version"`
	UID      string      `json:"uid"`
	Profiles []string    `json:"profiles"`
	Product  ocsfProduct `json:"product"`
}

type ocsfProduct struct {
	Name    string `json:"name"`
	Vendor  string `json:"vendor_name"`
	Version string `json:"version,omitempty"`
}

type ocsfCloud struct {
	Provider string `json:"provider"`
}

type ocsfFinding struct {
	UID   string   `json:"uid"`
	Title string   `json:"title"`
	Desc  string   `json:"desc,omitempty"`
	First int64    `json:"first_seen_time,omitempty"` // ms; 0 where that is not known
	Types []string `json:"types"`
}

type ocsfCompliance struct {
	Control      string   `json:"control"`
	Standards    []string `json:"standards"`
	Requirements []string `json:"requirements"`
	StatusID     int      `json:"status_id"`
	Status       string   `json:"status"`
}

type ocsfResource struct {
	UID       string     `json:"uid"`
	Name      string     `json:"name"`
	Type      string     `json:"type"`
	Namespace string     `json:"namespace"`
	Labels    []string   `json:"labels,omitempty"`
	Owner     *ocsfOwner `json:"owner,omitempty"`
}

type ocsfOwner struct {
	Name string `json:"name"`
}

type ocsfRemediation struct {
	Desc string `json:"desc"`
}

type ocsfUnmapped struct {
	Status      engine.Status  `json:"status"`
	WhatIf      string         `json:"what_if,omitempty"`
	WorkspaceID string         `json:"workspace_id"`
	Digest      string         `json:"snapshot_digest,omitempty"` // of the snapshot that was judged
	Host        string         `json:"host,omitempty"`
	Remedy      string         `json:"remedy"`
	Evidence    map[string]any `json:"evidence,omitempty"`
	Waiver      *engine.Waiver `json:"waiver,omitempty"`
}

func (e *ocsf) event(f engine.Finding) ocsfEvent {
	policy, snapshot := e.policies[f.Policy], e.snapshots[f.WorkspaceID]
	workspace := snapshot.Workspace
	event := ocsfEvent{
		ActivityID: 1, ActivityName: "Create",
		CategoryUID: 2, CategoryName: "Findings",
		ClassUID: 2003, ClassName: "Compliance Finding",
		TypeUID: 200301, TypeName: "Compliance Finding: Create",
		Time:       e.report.AsOf.UnixMilli(),
		Message:    strings.TrimSpace(WhatIf(e.report) + " " + resultText(f)),
		Metadata:   ocsfMetadata{ocsfVersion, f.Fingerprint, []string{"cloud"}, ocsfProduct{"patrol", "patrol", e.report.Version}},
		Cloud:      ocsfCloud{cloudName(workspace.Cloud)},
		Finding:    ocsfFinding{f.Fingerprint, f.Title, prose(policy.Description), 0, []string{f.Policy}},
		Compliance: complianceOCSF(f, policy),
		Resource: ocsfResource{
			UID: f.ResourceID, Name: orText(f.ResourceID, f.Workspace), Type: "Databricks " + string(f.Resource),
			Namespace: f.Workspace, Labels: labelTexts(workspace.Labels),
		},
		Remediation: ocsfRemediation{orText(prose(policy.Remediation), f.Remedy)},
		Unmapped:    ocsfUnmapped{f.Status, e.report.WhatIf, f.WorkspaceID, snapshot.Digest, workspace.Host, f.Remedy, f.Evidence, f.Waiver},
	}
	if !f.Since.IsZero() {
		event.Finding.First = f.Since.UnixMilli()
	}
	if f.Owner != "" {
		event.Resource.Owner = &ocsfOwner{f.Owner}
	}
	event.SeverityID, event.Severity = severityOCSF(f.Severity)
	event.StatusID, event.Status, event.StatusDetail = statusOCSF(f)
	return event
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
func complianceOCSF(f engine.Finding, p engine.Policy) ocsfCompliance {
	c := ocsfCompliance{Control: f.Policy, Standards: engine.SortedKeys(p.Controls), Requirements: []string{}, StatusID: 3, Status: "Fail"}
	for _, framework := range c.Standards {
		for _, control := range p.Controls[framework] {
			c.Requirements = append(c.Requirements, framework+" "+control)
		}
	}
	if c.Standards == nil {
		c.Standards = []string{}
	}
	if !f.Status.Judged() {
		c.StatusID, c.Status = 0, "Unknown"
	}
	return c
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
