package reports

import (
	"fmt"

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
