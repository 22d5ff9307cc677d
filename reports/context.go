package reports

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// workspaceColumns are the workbook's columns of workspaces.
func workspaceColumns() []table.Column[engine.WorkspaceReport] {
	type row = engine.WorkspaceReport
	columns := []table.Column[row]{
		table.Plain("workspace", 20, func(w row) any { return w.Snapshot.Workspace.Name }),
		table.ID("workspace_id", 20, func(w row) any { return w.Snapshot.Workspace.ID }),
		table.Plain("cloud", 9, func(w row) any { return orUnknown(w.Snapshot.Workspace.Cloud) }),
		table.Plain("host", 36, func(w row) any { return w.Snapshot.Workspace.Host }),
		table.Plain("labels", 24, func(w row) any { return labelTexts(w.Snapshot.Workspace.Labels) }),
		table.ID("snapshot", 10, func(w row) any { return strconv.FormatInt(w.Snapshot.ID, 10) }),
		table.ID("digest", 24, func(w row) any { return w.Snapshot.Digest }),
		table.Date("collected_at", 20, func(w row) any { return table.Instant(w.Snapshot.CollectedAt.UnixMilli()) }),
		table.Number("tokens", 10, func(w row) any { return w.Snapshot.Tokens }),
		table.Plain("PATs_enabled", 12, patsEnabled),
		table.Wrapped("max_lifetime_of_new_tokens", 30, maxLifetime),
		table.ID("max_lifetime_as_set", 14, func(w row) any {
			if s, ok := readable(w.Settings, keyMaxLifetime); ok {
				return settingText(s)
			}
			return table.Unknown{}
		}),
		table.Wrapped("who_may_create_tokens", 40, func(w row) any {
			switch {
			case w.Grants == nil:
				return table.Unknown{}
			case len(w.Grants) == 0:
				return "admins only"
			}
			return table.Lines(table.Map(w.Grants, func(g engine.Grant) string { return fmt.Sprintf("%s %s: %s", g.Kind, g.Principal, g.Level) }))
		}),
	}
	return append(columns, countColumns(func(w row) engine.Tally { return w.Counts })...)
}

// countColumns are one column per outcome.
func countColumns[T any](tally func(T) engine.Tally) []table.Column[T] {
	return table.Map(engine.Statuses(), func(status engine.Status) table.Column[T] {
		return table.Number(string(status), 12, func(row T) any { return tally(row)[status] })
	})
}

func labelTexts(labels map[string]string) []string {
	return table.Map(engine.SortedKeys(labels), func(key string) string { return key + "=" + labels[key] })
}

// The keys of workspace configuration that say who may have tokens, and how long.
const (
	keyEnabled     = "enableTokensConfig"
	keyMaxLifetime = "maxTokenLifetimeDays"
)

// readable finds a setting that was read, or one that the workspace does not have.
func readable(settings engine.Settings, key string) (s engine.Setting, ok bool) {
	s, ok = settings[key]
	return s, ok && (s.Problem == "" || s.Problem == engine.Unsupported)
}

func patsEnabled(w engine.WorkspaceReport) any {
	if s, ok := readable(w.Settings, keyEnabled); ok {
		if on, ok := engine.ParseSwitch(s.Value, true); ok {
			return on
		}
	}
	return table.Unknown{}
}

func maxLifetime(w engine.WorkspaceReport) any {
	s, ok := readable(w.Settings, keyMaxLifetime)
	limit, valid := engine.ParseLifetimeLimit(s.Value)
	switch {
	case !ok || !valid:
		return table.Unknown{}
	case !limit.Limited:
		return fmt.Sprintf("%d days (no own limit: the platform's)", limit.Days)
	}
	return fmt.Sprintf("%d days", limit.Days)
}

func settingText(s engine.Setting) any {
	switch {
	case s.Problem == engine.Unsupported:
		return "(not supported)"
	case s.Problem != "":
		return table.Unknown{}
	case s.Value == nil:
		return "(never set)"
	case *s.Value == "":
		return "(empty)"
	}
	return *s.Value
}

// settingRow is one configuration key of one workspace.
type settingRow struct {
	engine.Workspace
	key string
	engine.Setting
}

func settingRows(workspaces []engine.WorkspaceReport) (rows []settingRow) {
	for _, w := range workspaces {
		for _, key := range engine.SortedKeys(w.Settings) {
			rows = append(rows, settingRow{w.Snapshot.Workspace, key, w.Settings[key]})
		}
	}
	return rows
}

func settingColumns() []table.Column[settingRow] {
	return []table.Column[settingRow]{
		table.Plain("workspace", 20, func(s settingRow) any { return s.Name }),
		table.ID("workspace_id", 20, func(s settingRow) any { return s.ID }),
		table.Plain("setting", 44, func(s settingRow) any { return s.key }),
		table.ID("value", 24, func(s settingRow) any { return settingText(s.Setting) }),
		table.Plain("problem", 16, func(s settingRow) any { return string(s.Problem) }),
		table.Wrapped("detail", 60, func(s settingRow) any { return s.Detail }),
	}
}

// grantRow is one entry of one workspace's access control list on tokens.
type grantRow struct {
	engine.Workspace
	engine.Grant
}

func grantRows(workspaces []engine.WorkspaceReport) (rows []grantRow) {
	for _, w := range workspaces {
		for _, grant := range w.Grants {
			rows = append(rows, grantRow{w.Snapshot.Workspace, grant})
		}
	}
	return rows
}

func grantColumns() []table.Column[grantRow] {
	return []table.Column[grantRow]{
		table.Plain("workspace", 20, func(g grantRow) any { return g.Name }),
		table.ID("workspace_id", 20, func(g grantRow) any { return g.ID }),
		table.Plain("principal", 36, func(g grantRow) any { return g.Principal }),
		table.Plain("kind", 18, func(g grantRow) any { return g.Kind }),
		table.Plain("level", 14, func(g grantRow) any { return g.Level }),
		table.Plain("inherited", 11, func(g grantRow) any { return g.Inherited }),
		table.Plain("inherited_from", 36, func(g grantRow) any { return g.InheritedFrom }),
	}
}

// policyColumns are the workbook's columns of policies.
func policyColumns() []table.Column[engine.PolicyReport] {
	type row = engine.PolicyReport
	columns := []table.Column[row]{
		table.Plain("policy", 10, func(p row) any { return p.Policy.ID }),
		table.Plain("severity", 10, func(p row) any { return p.Policy.Severity }),
		table.Wrapped("title", 34, func(p row) any { return p.Policy.Title }),
		table.Plain("resource", 11, func(p row) any { return string(p.Policy.Resource) }),
		table.Wrapped("description", 50, func(p row) any { return prose(p.Policy.Description) }),
		table.Wrapped("remediation", 50, func(p row) any { return prose(p.Policy.Remediation) }),
		table.Plain("remedy", 14, func(p row) any { return p.Policy.Remedy }),
		table.Wrapped("controls", 34, func(p row) any { return controlLines(p.Policy.Controls) }),
		table.Wrapped("params", 34, func(p row) any {
			return table.Lines(table.Map(p.Policy.Params, func(p engine.Param) string { return p.Name + " = " + valueText(p.Value) }))
		}),
		table.Wrapped("set_by_configuration", 44, func(p row) any { return configured(p.Policy) }),
		table.Number("evaluated", 12, func(p row) any { return p.Tally.Evaluated() }),
	}
	columns = append(columns, countColumns(func(p row) engine.Tally { return p.Tally })...)
	return append(columns,
		table.Plain("aliases", 20, func(p row) any { return p.Policy.Aliases }),
		table.Plain("file", 30, func(p row) any { return p.Policy.File }),
		table.Plain("pack", 16, func(p row) any { return p.Policy.Pack }),
	)
}

// prose is text of several lines as one paragraph.
func prose(text string) string { return strings.Join(strings.Fields(text), " ") }

func controlLines(controls map[string][]string) table.Lines {
	return table.Map(engine.SortedKeys(controls), func(framework string) string {
		return framework + ": " + strings.Join(controls[framework], ", ")
	})
}

// configured is what the configuration changes of a policy, and where.
func configured(p engine.Policy) (texts table.Lines) {
	if p.Off != "" {
		texts = append(texts, "switched off ("+p.Off+")")
	}
	if p.SetSeverity != "" {
		texts = append(texts, fmt.Sprintf("severity %s, not %s (%s)", p.Severity, p.OwnSeverity, p.SetSeverity))
	}
	for _, param := range p.Params {
		if param.Origin != "" && param.Origin != "default" {
			texts = append(texts, fmt.Sprintf("%s = %s, not %s (%s)", param.Name, valueText(param.Value), valueText(param.Default), param.Origin))
		}
	}
	for _, o := range p.Overrides {
		texts = append(texts, fmt.Sprintf("%s = %s in %s, where %s (%s)", strings.TrimPrefix(o.Key, "params."), valueText(o.Value), engine.Plural(len(o.Workspaces), "workspace"), o.Match, o.Origin))
	}
	return texts
}

func valueText(value any) string {
	text, err := table.JSONText(value)
	if err != nil {
		return "cannot be shown: " + err.Error()
	}
	return string(text)
}

// controlColumns are the workbook's columns of a framework's controls.
func controlColumns(policies []engine.PolicyReport) []table.Column[engine.Control] {
	type row = engine.Control
	titles := map[string]string{}
	for _, p := range policies {
		titles[p.Policy.ID] = p.Policy.ID + " " + p.Policy.Title
	}
	return []table.Column[row]{
		table.ID("control", 14, func(c row) any { return c.ID }),
		table.Wrapped("requirement_in_our_words", 50, func(c row) any { return c.Requirement }),
		table.Plain("result", 14, func(c row) any { return c.Status }),
		table.Wrapped("policies", 52, func(c row) any {
			return table.Lines(table.Map(c.Policies, func(id string) string { return titles[id] }))
		}),
		table.Wrapped("not_assessed", 30, func(c row) any { return table.Lines(c.Off) }),
		table.Number("evidence", 12, func(c row) any { return c.Tally.Evaluated() - c.Tally[engine.NotApplicable] }),
		table.Number("passed", 12, func(c row) any { return c.Tally[engine.Pass] }),
		table.Number("failed", 12, func(c row) any { return c.Tally[engine.Fail] }),
		table.Number("waived", 12, func(c row) any { return c.Tally[engine.Waived] }),
		table.Number("baselined", 12, func(c row) any { return c.Tally[engine.Baselined] }),
		table.Number("not_judged", 12, func(c row) any { return c.Tally[engine.Unknown] + c.Tally[engine.Errored] }),
		table.Plain("all_data_read", 12, func(c row) any { return c.Complete }),
	}
}

// exceptionRow is a waiver, or an entry of the baseline that is gone.
type exceptionRow struct {
	kind  string
	state string
	engine.WaiverUse
	resourceID string
}

func exceptionRows(x engine.Exceptions) []exceptionRow {
	rows := make([]exceptionRow, 0, len(x.Waivers))
	for _, w := range x.Waivers {
		rows = append(rows, exceptionRow{"waiver", string(w.State), w, cmp.Or(w.Token, w.Secret)})
	}
	if x.Baseline == nil {
		return rows
	}
	for _, e := range x.Baseline.Gone {
		row := exceptionRow{kind: "baseline entry", state: "gone", resourceID: e.ResourceID}
		row.ID, row.Policies, row.Workspace = e.Fingerprint, []string{e.Policy}, e.Workspace
		rows = append(rows, row)
	}
	return rows
}

// exceptionColumns are the workbook's columns of waivers and of what is gone
// from the baseline.
func exceptionColumns() []table.Column[exceptionRow] {
	type row = exceptionRow
	return []table.Column[row]{
		table.Plain("exception", 14, func(x row) any { return x.kind }),
		table.Plain("state", 12, func(x row) any { return x.state }),
		table.ID("id", 24, func(x row) any { return x.ID }),
		table.Plain("policies", 20, func(x row) any { return strings.Join(x.Policies, ", ") }),
		table.Plain("workspace", 18, func(x row) any { return x.Workspace }),
		table.ID("resource_id", 24, func(x row) any { return x.resourceID }),
		table.Plain("owner", 28, func(x row) any { return x.Owner }),
		table.Wrapped("reason", 40, func(x row) any { return prose(x.Reason) }),
		table.Plain("ticket", 14, func(x row) any { return x.Ticket }),
		table.Plain("approver", 28, func(x row) any { return x.Approver }),
		table.Plain("created", 12, ofRule(func(x row) any { return x.Created.String() })),
		table.Plain("expires", 12, ofRule(func(x row) any { return x.Expires.String() })),
		table.Number("days_left", 10, ofRule(func(x row) any { return x.DaysLeft })),
		table.Plain("expires_soon", 12, ofRule(func(x row) any { return x.ExpiresSoon })),
		table.Number("waived", 10, ofRule(func(x row) any { return x.Waived })),
		table.Number("lapsed", 10, ofRule(func(x row) any { return x.Lapsed })),
		table.Wrapped("refusals", 50, func(x row) any { return table.Lines(table.Map(x.Refusals, refusalText)) }),
	}
}

// ofRule leaves what only waivers have empty for the rest.
func ofRule(value func(exceptionRow) any) func(exceptionRow) any {
	return func(x exceptionRow) any {
		if x.kind != "waiver" {
			return nil
		}
		return value(x)
	}
}
