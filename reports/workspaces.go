package reports

import (
	"fmt"
	"strconv"

	"patrol/engine"
	"patrol/reports/table"
)

// workspaceColumns are the workbook's columns of workspaces.
func workspaceColumns() []table.Column[engine.WorkspaceReport] {
	type row = engine.WorkspaceReport
	columns := []table.Column[row]{
		table.Plain("workspace", 20, func(w row) any { return w.Snapshot.Workspace.Name }),
		table.ID("workspace_id", 20, func(w row) any { return w.Snapshot.Workspace.ID }),
		table.Plain("cloud", 9, func(w row) any { return wordOrUnknown(w.Snapshot.Workspace.Cloud) }),
		table.Plain("host", 36, func(w row) any { return w.Snapshot.Workspace.Host }),
		table.Plain("labels", 24, func(w row) any { return labelTexts(w.Snapshot.Workspace.Labels) }),
		table.ID("snapshot", 10, func(w row) any { return strconv.FormatInt(w.Snapshot.ID, 10) }),
		table.ID("digest", 24, func(w row) any { return w.Snapshot.Digest }),
		table.Date("collected_at", 20, func(w row) any { return table.Instant(w.Snapshot.CollectedAt.UnixMilli()) }),
		table.Number("tokens", 10, func(w row) any { return w.Snapshot.Tokens }),
		table.Plain("PATs_enabled", 12, patsEnabled),
		table.Wrapped("max_lifetime_of_new_tokens", 30, maxLifetime),
		table.ID("max_lifetime_as_set", 14, rawLifetime),
		table.Wrapped("who_may_create_tokens", 40, mayCreate),
	}
	return append(columns, countColumns(func(w row) engine.Tally { return w.Counts })...)
}

// countColumns are one column per outcome.
func countColumns[T any](tally func(T) engine.Tally) []table.Column[T] {
	var columns []table.Column[T]
	for _, status := range engine.Statuses() {
		count := func(row T) any { return tally(row)[status] }
		columns = append(columns, table.Number(string(status), 12, count))
	}
	return columns
}

func labelTexts(labels map[string]string) []string {
	var texts []string
	for _, key := range engine.SortedKeys(labels) {
		texts = append(texts, key+"="+labels[key])
	}
	return texts
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
	s, ok := readable(w.Settings, keyEnabled)
	if !ok {
		return table.Unknown{}
	}
	on, ok := engine.ParseSwitch(s.Value, true)
	if !ok {
		return table.Unknown{}
	}
	return on
}

func maxLifetime(w engine.WorkspaceReport) any {
	s, ok := readable(w.Settings, keyMaxLifetime)
	if !ok {
		return table.Unknown{}
	}
	limit, ok := engine.ParseLifetimeLimit(s.Value)
	switch {
	case !ok:
		return table.Unknown{}
	case !limit.Limited:
		return fmt.Sprintf("%d days (no own limit: the platform's)", limit.Days)
	}
	return fmt.Sprintf("%d days", limit.Days)
}

func rawLifetime(w engine.WorkspaceReport) any {
	s, ok := readable(w.Settings, keyMaxLifetime)
	if !ok {
		return table.Unknown{}
	}
	return settingText(s)
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

func mayCreate(w engine.WorkspaceReport) any {
	if w.Grants == nil {
		return table.Unknown{}
	}
	if len(w.Grants) == 0 {
		return "admins only"
	}
	var who table.Lines
	for _, g := range w.Grants {
		who = append(who, fmt.Sprintf("%s %s: %s", g.Kind, g.Principal, g.Level))
	}
	return who
}

// settingRow is one configuration key of one workspace.
type settingRow struct {
	workspace engine.Workspace
	key       string
	setting   engine.Setting
}

func settingRows(workspaces []engine.WorkspaceReport) []settingRow {
	var rows []settingRow
	for _, w := range workspaces {
		for _, key := range engine.SortedKeys(w.Settings) {
			rows = append(rows, settingRow{w.Snapshot.Workspace, key, w.Settings[key]})
		}
	}
	return rows
}

func settingColumns() []table.Column[settingRow] {
	return []table.Column[settingRow]{
		table.Plain("workspace", 20, func(s settingRow) any { return s.workspace.Name }),
		table.ID("workspace_id", 20, func(s settingRow) any { return s.workspace.ID }),
		table.Plain("setting", 44, func(s settingRow) any { return s.key }),
		table.ID("value", 24, func(s settingRow) any { return settingText(s.setting) }),
		table.Plain("problem", 16, func(s settingRow) any { return string(s.setting.Problem) }),
		table.Wrapped("detail", 60, func(s settingRow) any { return s.setting.Detail }),
	}
}

// grantRow is one entry of one workspace's access control list on tokens.
type grantRow struct {
	workspace engine.Workspace
	grant     engine.Grant
}

func grantRows(workspaces []engine.WorkspaceReport) []grantRow {
	var rows []grantRow
	for _, w := range workspaces {
		for _, grant := range w.Grants {
			rows = append(rows, grantRow{w.Snapshot.Workspace, grant})
		}
	}
	return rows
}

func grantColumns() []table.Column[grantRow] {
	return []table.Column[grantRow]{
		table.Plain("workspace", 20, func(g grantRow) any { return g.workspace.Name }),
		table.ID("workspace_id", 20, func(g grantRow) any { return g.workspace.ID }),
		table.Plain("principal", 36, func(g grantRow) any { return g.grant.Principal }),
		table.Plain("kind", 18, func(g grantRow) any { return g.grant.Kind }),
		table.Plain("level", 14, func(g grantRow) any { return g.grant.Level }),
		table.Plain("inherited", 11, func(g grantRow) any { return g.grant.Inherited }),
		table.Plain("inherited_from", 36, func(g grantRow) any { return g.grant.InheritedFrom }),
	}
}
