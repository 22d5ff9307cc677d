package reports

import "patrol/engine"

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

func settingColumns() []column[settingRow] {
	return []column[settingRow]{
		{"workspace", plain, 20, func(s settingRow) any { return s.workspace.Name }},
		{"workspace_id", identifier, 20, func(s settingRow) any { return s.workspace.ID }},
		{"setting", plain, 44, func(s settingRow) any { return s.key }},
		{"value", identifier, 24, func(s settingRow) any { return settingText(s.setting) }},
		{"problem", plain, 16, func(s settingRow) any { return string(s.setting.Problem) }},
		{"detail", wrapped, 60, func(s settingRow) any { return s.setting.Detail }},
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

func grantColumns() []column[grantRow] {
	return []column[grantRow]{
		{"workspace", plain, 20, func(g grantRow) any { return g.workspace.Name }},
		{"workspace_id", identifier, 20, func(g grantRow) any { return g.workspace.ID }},
		{"principal", plain, 36, func(g grantRow) any { return g.grant.Principal }},
		{"kind", plain, 18, func(g grantRow) any { return g.grant.Kind }},
		{"level", plain, 14, func(g grantRow) any { return g.grant.Level }},
		{"inherited", plain, 11, func(g grantRow) any { return g.grant.Inherited }},
		{"inherited_from", plain, 36, func(g grantRow) any { return g.grant.InheritedFrom }},
	}
}
