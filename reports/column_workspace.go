package reports

import (
	"fmt"
	"strconv"

	"patrol/engine"
)

// workspaceColumns are the workbook's columns of workspaces.
func workspaceColumns() []column[engine.WorkspaceReport] {
	type row = engine.WorkspaceReport
	columns := []column[row]{
		{"workspace", plain, 20, func(w row) any { return w.Snapshot.Workspace.Name }},
		{"workspace_id", identifier, 20, func(w row) any { return w.Snapshot.Workspace.ID }},
		{"cloud", plain, 9, func(w row) any { return wordOrUnknown(w.Snapshot.Workspace.Cloud) }},
		{"host", plain, 36, func(w row) any { return w.Snapshot.Workspace.Host }},
		{"labels", plain, 24, func(w row) any { return labelTexts(w.Snapshot.Workspace.Labels) }},
		{"snapshot", identifier, 10, func(w row) any { return strconv.FormatInt(w.Snapshot.ID, 10) }},
		{"digest", identifier, 24, func(w row) any { return w.Snapshot.Digest }},
		{"collected_at", date, 20, func(w row) any { return instant(w.Snapshot.CollectedAt.UnixMilli()) }},
		{"tokens", number, 10, func(w row) any { return w.Snapshot.Tokens }},
		{"PATs_enabled", plain, 12, patsEnabled},
		{"max_lifetime_of_new_tokens", wrapped, 30, maxLifetime},
		{"max_lifetime_as_set", identifier, 14, rawLifetime},
		{"who_may_create_tokens", wrapped, 40, mayCreate},
	}
	return append(columns, countColumns(func(w row) engine.Tally { return w.Counts })...)
}

// countColumns are one column per outcome.
func countColumns[T any](tally func(T) engine.Tally) []column[T] {
	var columns []column[T]
	for _, status := range engine.Statuses() {
		count := func(row T) any { return tally(row)[status] }
		columns = append(columns, column[T]{string(status), number, 12, count})
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
		return unknown{}
	}
	on, ok := engine.ParseSwitch(s.Value, true)
	if !ok {
		return unknown{}
	}
	return on
}

func maxLifetime(w engine.WorkspaceReport) any {
	s, ok := readable(w.Settings, keyMaxLifetime)
	if !ok {
		return unknown{}
	}
	limit, ok := engine.ParseLifetimeLimit(s.Value)
	switch {
	case !ok:
		return unknown{}
	case !limit.Limited:
		return fmt.Sprintf("%d days (no own limit: the platform's)", limit.Days)
	}
	return fmt.Sprintf("%d days", limit.Days)
}

func rawLifetime(w engine.WorkspaceReport) any {
	s, ok := readable(w.Settings, keyMaxLifetime)
	if !ok {
		return unknown{}
	}
	return settingText(s)
}

func settingText(s engine.Setting) any {
	switch {
	case s.Problem == engine.Unsupported:
		return "(not supported)"
	case s.Problem != "":
		return unknown{}
	case s.Value == nil:
		return "(never set)"
	case *s.Value == "":
		return "(empty)"
	}
	return *s.Value
}

func mayCreate(w engine.WorkspaceReport) any {
	if w.Grants == nil {
		return unknown{}
	}
	if len(w.Grants) == 0 {
		return "admins only"
	}
	var who lines
	for _, g := range w.Grants {
		who = append(who, fmt.Sprintf("%s %s: %s", g.Kind, g.Principal, g.Level))
	}
	return who
}
