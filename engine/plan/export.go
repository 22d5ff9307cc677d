package plan

import (
	"fmt"
	"strings"

	"patrol/engine"
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
		comment(b, "", "WHAT IF: %s. This says what would be, not what is: do not run it.", p.WhatIf)
	}
	for _, line := range p.Dangers(func(string) bool { return true }) {
		comment(b, "", "%s", line)
	}
	comment(b, "", "Plan %s, judged as of %s, not before %s, good until %s.", p.ID, p.AsOf, p.NotBefore, p.ExpiresAt)
	comment(b, "", "sha256 of the plan file: %s", sha256)
}

// comment renders foreign text as comment lines of a script or of HCL.
func comment(b *strings.Builder, indent, format string, args ...any) {
	fmt.Fprintf(b, "%s# %s\n", indent, strings.TrimRight(engine.SafeText(fmt.Sprintf(format, args...)), " "))
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

// keptGrants are the entries of a change-grant step that stay, without the
// admins' own, which the platform keeps by itself.
func keptGrants(s engine.Step) []map[string]any {
	list, _ := s.Expected["access_control_list"].([]any)
	var kept []map[string]any
	for _, item := range list {
		grant, _ := item.(map[string]any)
		if grant["level"] == levelUse && grant["inherited"] != true {
			kept = append(kept, grant)
		}
	}
	return kept
}

// principalField is how the API calls the principal of a grant.
func principalField(grant map[string]any) string {
	switch grant["kind"] {
	case "group":
		return "group_name"
	case "service_principal":
		return "service_principal_name"
	}
	return "user_name"
}
