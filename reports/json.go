package reports

import (
	"cmp"
	"context"
	"io"
	"math"
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
	out := table.NewJSONWriter(w)
	out.Open("{")
	for _, m := range head(r) {
		if err := out.Member("  ", m.key, m.value); err != nil {
			return err
		}
	}
	if err := table.List(ctx, out, "  ", "workspaces", table.Known(r.Workspaces), workspaceJSON); err != nil {
		return err
	}
	if err := table.List(ctx, out, "  ", "policies", table.Known(r.Policies), policyJSON); err != nil {
		return err
	}
	if err := table.List(ctx, out, "  ", "frameworks", table.Known(r.Frameworks()), frameworkJSON); err != nil {
		return err
	}
	if err := table.List(ctx, out, "  ", "results", r.Findings, findingJSON); err != nil {
		return err
	}
	out.Close("", "}")
	return out.End()
}

type member struct {
	key   string
	value any
}

func head(r engine.Report) []member {
	members := []member{{"schema", auditSchema}, {"version", r.Version}}
	if r.WhatIf != "" {
		members = append(members, member{"what_if", r.WhatIf})
	}
	return append(members, []member{
		{"as_of", table.TimeText(r.AsOf)},
		{"fail_on", r.FailOn.String()},
		{"verdict", r.Verdict()},
		{"summary", summaryJSON(r)},
		{"policies_digest", engine.InForceDigest(r.Policies)},
		{"exceptions", exceptionsJSON(r.Exceptions)},
		{"account", reachJSON(r)},
		{"trend", trendJSON(r.Trend)},
	}...)
}

type jsonSummary struct {
	Tokens     int            `json:"tokens"`
	Workspaces int            `json:"workspaces"`
	Statuses   jsonTally      `json:"statuses"`   // all results
	Severities jsonSeverities `json:"severities"` // results that failed
}

// jsonTally counts results in the order of reports.
type jsonTally struct {
	Pass          int `json:"pass"`
	Fail          int `json:"fail"`
	Waived        int `json:"waived"`
	Baselined     int `json:"baselined"`
	Unknown       int `json:"unknown"`
	NotApplicable int `json:"not_applicable"`
	Errored       int `json:"error"`
}

type jsonSeverities struct {
	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
	Info     int `json:"info"`
}

func summaryJSON(r engine.Report) jsonSummary {
	s := r.Summary
	return jsonSummary{
		Tokens:     s.Tokens,
		Workspaces: s.Workspaces,
		Statuses:   tallyJSON(s.Statuses),
		Severities: severitiesJSON(s.Failed),
	}
}

func severitiesJSON(count func(engine.Severity) int) jsonSeverities {
	return jsonSeverities{
		Critical: count(engine.Critical), High: count(engine.High), Medium: count(engine.Medium),
		Low: count(engine.Low), Info: count(engine.Info),
	}
}

func tallyJSON(t engine.Tally) jsonTally {
	return jsonTally{
		Pass: t[engine.Pass], Fail: t[engine.Fail], Waived: t[engine.Waived], Baselined: t[engine.Baselined],
		Unknown: t[engine.Unknown], NotApplicable: t[engine.NotApplicable], Errored: t[engine.Errored],
	}
}

// jsonFinding is a finding and since when it stands.
type jsonFinding struct {
	engine.Finding
	Since string `json:"since,omitempty"` // absent where that is not known
}

func findingJSON(f engine.Finding) any {
	if f.Evidence == nil {
		f.Evidence = map[string]any{}
	}
	if f.Since.IsZero() {
		return jsonFinding{Finding: f}
	}
	return jsonFinding{f, table.TimeText(f.Since)}
}

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

type jsonFramework struct {
	Framework string        `json:"framework"`
	Title     string        `json:"title"`
	Controls  []jsonControl `json:"controls"`
}

type jsonControl struct {
	Control  string               `json:"control"`
	Policies []string             `json:"policies"`
	Status   engine.ControlStatus `json:"status"`
	Complete bool                 `json:"complete"` // all its policies ran, and came to a verdict everywhere
	Off      []string             `json:"switched_off,omitempty"`
	jsonTally
}

func frameworkJSON(f engine.Framework) any {
	shown := jsonFramework{Framework: f.Name, Title: engine.FrameworkTitle(f.Name), Controls: []jsonControl{}}
	for _, c := range f.Controls {
		shown.Controls = append(shown.Controls, jsonControl{c.ID, c.Policies, c.Status, c.Complete, c.Off, tallyJSON(c.Tally)})
	}
	return shown
}

type jsonTrend struct {
	Since      string                           `json:"since"`
	Earliest   string                           `json:"earliest,omitempty"` // the oldest verdict compared with, where a snapshot before could not be judged whole
	Workspaces int                              `json:"workspaces"`
	Changes    map[engine.Change]jsonSeverities `json:"changes"`
	TimeToFix  []jsonFix                        `json:"time_to_fix"`
	New        []jsonNew                        `json:"new"` // worst first, the first few
}

type jsonFix struct {
	Severity engine.Severity `json:"severity"`
	Fixed    int             `json:"fixed"`
	MeanDays float64         `json:"mean_days"`
	AtLeast  bool            `json:"at_least"` // the true mean is longer
}

type jsonNew struct {
	Policy      string          `json:"policy"`
	Severity    engine.Severity `json:"severity"`
	WorkspaceID string          `json:"workspace_id"`
	ResourceID  string          `json:"resource_id"`
	Fingerprint string          `json:"fingerprint"`
}

// trendJSON is null where no snapshot before was judged.
func trendJSON(t *engine.Trend) *jsonTrend {
	if t == nil {
		return nil
	}
	shown := &jsonTrend{
		Since: table.TimeText(t.Since), Workspaces: t.Workspaces,
		Changes: map[engine.Change]jsonSeverities{}, TimeToFix: []jsonFix{}, New: []jsonNew{},
	}
	if !t.Earliest.IsZero() {
		shown.Earliest = table.TimeText(t.Earliest)
	}
	for _, change := range engine.Changes() {
		shown.Changes[change] = severitiesJSON(func(level engine.Severity) int { return t.Counts[change][level] })
	}
	for _, level := range engine.Severities() {
		if fix, ok := t.Fixes[level]; ok {
			shown.TimeToFix = append(shown.TimeToFix, jsonFix{level, fix.Count, days(fix), fix.AtLeast})
		}
	}
	for _, f := range t.New {
		shown.New = append(shown.New, jsonNew{f.Policy, f.Severity, f.WorkspaceID, f.ResourceID, f.Fingerprint})
	}
	return shown
}

// days is a mean in days, to a tenth.
func days(f engine.Fix) float64 { return math.Round(f.Mean.Hours()/24*10) / 10 }

// exceptionsJSON has a list of waivers even where there are none.
func exceptionsJSON(x engine.Exceptions) engine.Exceptions {
	if x.Waivers == nil {
		x.Waivers = []engine.WaiverUse{}
	}
	return x
}

// jsonReach tells how many of the workspaces that should have been read were.
type jsonReach struct {
	Accounts    []string        `json:"account_ids"`
	Expected    int             `json:"expected"`
	Read        int             `json:"read"`
	Percent     int             `json:"percent"`
	MinCoverage int             `json:"min_coverage"`
	Missing     []engine.Unread `json:"missing"`
}

func reachJSON(r engine.Report) jsonReach {
	reach := r.Reach()
	return jsonReach{
		Accounts: append([]string{}, reach.Accounts...), Expected: reach.Expected, Read: reach.Read, Percent: reach.Percent(),
		MinCoverage: 100 - r.MayMiss, Missing: append([]engine.Unread{}, reach.Missing...),
	}
}
