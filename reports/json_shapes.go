package reports

import (
	"cmp"
	"strconv"

	"patrol/engine"
	"patrol/reports/table"
)

type jsonWorkspace struct {
	Name        string                              `json:"name"`
	WorkspaceID string                              `json:"workspace_id"`
	Host        string                              `json:"host"`
	Cloud       string                              `json:"cloud"`
	Labels      map[string]string                   `json:"labels,omitempty"`
	Snapshot    string                              `json:"snapshot"`
	Digest      string                              `json:"digest"`
	Previous    string                              `json:"previous"`
	CollectedAt string                              `json:"collected_at"`
	Tokens      int                                 `json:"tokens"`
	Coverage    map[engine.SectionName]jsonCoverage `json:"coverage"`
	Statuses    jsonTally                           `json:"statuses"`
}

type jsonCoverage struct {
	Status engine.CoverageStatus `json:"status"`
	Reason string                `json:"reason"`
	Detail string                `json:"detail,omitempty"`
	Hint   string                `json:"hint,omitempty"`
	Count  int                   `json:"count"`
}

func workspaceJSON(w engine.WorkspaceReport) any {
	s := w.Snapshot
	coverage := make(map[engine.SectionName]jsonCoverage, len(s.Coverage))
	for name, c := range s.Coverage {
		coverage[name] = jsonCoverage{c.Status, c.Reason, c.Detail, c.Hint, c.Count}
	}
	return jsonWorkspace{
		Name:        s.Workspace.Name,
		WorkspaceID: s.Workspace.ID,
		Host:        s.Workspace.Host,
		Cloud:       s.Workspace.Cloud,
		Labels:      s.Workspace.Labels,
		Snapshot:    strconv.FormatInt(s.ID, 10),
		Digest:      s.Digest,
		Previous:    s.Previous,
		CollectedAt: table.TimeText(s.CollectedAt),
		Tokens:      s.Tokens,
		Coverage:    coverage,
		Statuses:    tallyJSON(w.Counts),
	}
}

type jsonPolicy struct {
	ID        string          `json:"id"`
	Title     string          `json:"title"`
	Severity  engine.Severity `json:"severity"`
	Resource  engine.Resource `json:"resource"`
	Evaluated int             `json:"evaluated"`
	jsonTally
	Remedy string `json:"remedy"`

	Description string `json:"description"`
	Remediation string `json:"remediation"`

	Controls map[string][]string `json:"controls,omitempty"`
	Aliases  []string            `json:"aliases,omitempty"`
	Params   map[string]any      `json:"params,omitempty"`

	// What was in force: severity and params above are those of the
	// configuration, where no override says otherwise.
	Enabled     bool              `json:"enabled"`
	OwnSeverity engine.Severity   `json:"default_severity"`
	Origins     map[string]string `json:"origins"` // enabled, severity, params.NAME: from where, where not by default
	Overrides   []engine.Override `json:"overrides,omitempty"`
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
	return jsonPolicy{
		ID:        p.Policy.ID,
		Title:     p.Policy.Title,
		Severity:  p.Policy.Severity,
		Resource:  p.Policy.Resource,
		Evaluated: p.Tally.Evaluated(),
		jsonTally: tallyJSON(p.Tally),
		Remedy:    p.Policy.Remedy,

		Description: prose(p.Policy.Description),
		Remediation: prose(p.Policy.Remediation),

		Controls: p.Policy.Controls,
		Aliases:  p.Policy.Aliases,
		Params:   params,

		Enabled: p.Policy.Off == "", OwnSeverity: cmp.Or(p.Policy.OwnSeverity, p.Policy.Severity), Origins: origins, Overrides: p.Policy.Overrides,
	}
}
