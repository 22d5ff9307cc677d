package reports

import (
	"patrol/engine"
	"patrol/reports/table"
)

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
