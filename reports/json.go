package reports

import (
	"context"
	"io"

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
