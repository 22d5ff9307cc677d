package reports

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// WhatIf warns that a report says what would be, in words that every format
// shows; "" where it says what is.
func WhatIf(r engine.Report) string {
	if r.WhatIf == "" {
		return ""
	}
	return engine.SafeText("WHAT IF: " + r.WhatIf + ". Judged as of " + table.TimeText(r.AsOf) + ". This says what would be, not what is.")
}

// offText names the workspaces whose tokens are switched off; "" where there are
// none.
func offText(r engine.Report) string {
	var names []string
	for _, w := range r.Workspaces {
		if w.Snapshot.Coverage[engine.SectionTokens].Status == engine.Off {
			names = append(names, w.Snapshot.Workspace.Name)
		}
	}
	if names == nil {
		return ""
	}
	return "Tokens are off in " + engine.FewWords(names, 5) + ": policies on tokens do not apply there."
}

// explain says what a verdict means, and which exit code follows from it.
func explain(r engine.Report) string {
	switch r.Verdict() {
	case engine.Incomplete:
		return "exit code 4: something could not be read or judged; what could be is reported"
	case engine.Violations:
		return fmt.Sprintf("exit code 1: findings of severity %s or worse", r.FailOn)
	}
	if r.FailOn == (engine.Threshold{}) {
		return "exit code 0: no finding fails the run, because --fail-on is none"
	}
	return fmt.Sprintf("exit code 0: no finding of severity %s or worse", r.FailOn)
}

// trendText says in a line what changed since the snapshots before.
func trendText(t *engine.Trend) string {
	var parts []string
	for _, change := range engine.Changes() {
		n := t.Count(change)
		if n == 0 && !slices.Contains([]engine.Change{engine.ChangeNew, engine.ChangeOpen, engine.ChangeFixed}, change) {
			continue
		}
		parts = append(parts, engine.Comma(n)+" "+changeWord(change))
	}
	text := "Since " + table.TimeText(t.Since) + ": " + strings.Join(parts, ", ") + "."
	if !t.Earliest.IsZero() {
		text += " " + lookedPast(t)
	}
	return text
}

// lookedPast says that not all is compared with the snapshot before.
func lookedPast(t *engine.Trend) string {
	return "What could not be judged then is compared with the last verdict before, from " + table.TimeText(t.Earliest) + " on."
}

func changeWord(c engine.Change) string {
	switch c {
	case engine.ChangeOpen:
		return "still open"
	case engine.ChangeUnjudged:
		return "no longer judged"
	case engine.ChangeUnsure:
		return "unknown before"
	}
	return string(c)
}

// timesToFix says how long findings lasted that are fixed now; "" where none is.
func timesToFix(t *engine.Trend) string {
	var parts []string
	for _, level := range engine.Severities() {
		if fix, ok := t.Fixes[level]; ok {
			parts = append(parts, fmt.Sprintf("%s %s (%s fixed)", level, meanText(fix), engine.Comma(fix.Count)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "Mean time to fix: " + strings.Join(parts, "; ") + "."
}

// meanText is a mean time to fix: in hours below a day.
func meanText(fix engine.Fix) string {
	text := strings.TrimSuffix(fmt.Sprintf("%.1f", days(fix)), ".0") + " days"
	if hours := int(fix.Mean.Hours()); hours < 24 {
		text = engine.Plural(hours, "hour")
	}
	if fix.AtLeast {
		return "at least " + text
	}
	return text
}
