package plan

import (
	"strings"

	"patrol/engine"
	"patrol/engine/remedy"
)

// Export is a form of a plan for those who apply it by other means. patrol
// writes it and never runs it.
type Export struct {
	Name   string // for --format
	Ending string // of the file beside the plan
	Doc    string
	Render func(p engine.Plan, sha256 string) string
}

// exports is the set of exports; each file adds the method that builds its own.
type exports struct{}

// Exports lists all exports by name.
func Exports() []Export { return engine.Plugins[Export](exports{}) }

// exportHead names the plan, and says before all else what it disables and when
// it may be applied.
func exportHead(b *strings.Builder, p engine.Plan, sha256 string) {
	if p.WhatIf != "" {
		remedy.Comment(b, "", "WHAT IF: %s. This says what would be, not what is: do not run it.", p.WhatIf)
	}
	for _, line := range remedy.Dangers(p, remedy.Every) {
		remedy.Comment(b, "", "%s", line)
	}
	remedy.Comment(b, "", "Plan %s, judged as of %s, not before %s, good until %s.", p.ID, p.AsOf, p.NotBefore, p.ExpiresAt)
	remedy.Comment(b, "", "sha256 of the plan file: %s", sha256)
}

// stepsOf are the steps in one workspace, in the order of the plan.
func stepsOf(p engine.Plan, workspace string) []engine.Step {
	var list []engine.Step
	for _, s := range p.Steps {
		if s.WorkspaceID == workspace {
			list = append(list, s)
		}
	}
	return list
}
