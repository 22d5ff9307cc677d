package plan

import (
	"fmt"
	"slices"
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

// CLI is a shell script of calls of the Databricks command line.
func (exports) CLI() Export {
	return Export{Name: "cli", Ending: ".sh", Doc: "shell script of `databricks` calls", Render: renderCLI}
}

func renderCLI(p engine.Plan, sha256 string) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	exportHead(&b, p, sha256)
	b.WriteString(`#
# patrol never runs this script. Unlike patrol apply it looks at nothing before it
# acts: a token that was used, replaced or approved for longer since the plan is
# revoked all the same, limits and approvals do not count, and nothing is recorded.
# Revoking cannot be undone. What could break most is commented out: read it first.
set -eu
`)
	fmt.Fprintf(&b, "if [ \"${CONFIRM:-}\" != %s ]; then\n\techo %s >&2\n\texit 3\nfi\n", remedy.ShellQuote(p.ID), remedy.ShellQuote("To run this script set CONFIRM="+p.ID))
	// RFC 3339 in UTC sorts as text; so do its digits as a number.
	fmt.Fprintf(&b, "now=$(date -u +%%Y%%m%%d%%H%%M%%S)\nif [ \"$now\" -lt %s ] || [ \"$now\" -ge %s ]; then\n\techo %s >&2\n\texit 3\nfi\n",
		digits(p.NotBefore), digits(p.ExpiresAt), remedy.ShellQuote("This plan may be applied from "+p.NotBefore+" until "+p.ExpiresAt+"."))
	for i, w := range p.Workspaces {
		b.WriteByte('\n')
		remedy.Comment(&b, "", "Workspace %s (%s) at %s", w.Name, w.ID, w.Host)
		profile := fmt.Sprintf("PROFILE_%d", i+1)
		fmt.Fprintf(&b, ": \"${%s:?set %s to the profile of the %s workspace named above}\"\n", profile, profile, ordinal(i+1))
		for _, s := range stepsOf(p, w.ID) {
			cliStep(&b, s, profile)
		}
	}
	return b.String()
}

// digits are those of a time in UTC, as date prints them.
func digits(stamp string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, stamp)
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}

func cliStep(b *strings.Builder, s engine.Step, profile string) {
	b.WriteByte('\n')
	remedy.Comment(b, "", "%s %s %s: %s", s.ID, s.Action, strings.TrimSpace(s.Target+" "+s.Owner), s.Risk.Why)
	for i, policy := range s.Policies {
		remedy.Comment(b, "", "  %s %s", policy, s.Reasons[i])
	}
	command := ""
	if cli := remedy.Of(s.Action).CLI; cli != nil { // one line; everything foreign in it is quoted
		command = cli(s, ` --profile "$`+profile+`"`)
	}
	switch {
	case command == "":
	case s.Critical:
		remedy.Comment(b, "", "CRITICAL, not before %s: remove the # when you are sure.", s.NotBefore)
		b.WriteString("# " + command + "\n")
	default:
		b.WriteString(command + "\n")
	}
}

// Terraform is HCL of the settings and grants of a plan.
func (exports) Terraform() Export {
	return Export{Name: "terraform", Ending: ".tf", Doc: "HCL of settings and grants; Terraform cannot revoke other people's tokens", Render: renderTerraform}
}

func renderTerraform(p engine.Plan, sha256 string) string {
	var b strings.Builder
	exportHead(&b, p, sha256)
	b.WriteString(`#
# patrol never runs Terraform. Before you apply this:
# - Unlike patrol apply it respects neither the times above nor approvals nor limits, and looks at nothing before it acts.
# - What could break most is commented out: read it, and remove the # when you are sure.
# - databricks_workspace_conf: keep one per workspace. It cannot be imported; destroying it writes "false" and "" back.
# - databricks_permissions of tokens: keep one per workspace. It replaces the whole list, so compare it with what is
#   there now. Tokens of those who lose CAN_USE stop working at once and may be deleted. It needs a token to exist.

terraform {
  required_providers {
    databricks = { source = "databricks/databricks" }
  }
}
`)
	for i, w := range p.Workspaces {
		terraformWorkspace(&b, w, stepsOf(p, w.ID), fmt.Sprintf("workspace_%d", i+1))
	}
	return b.String()
}

func terraformWorkspace(b *strings.Builder, w engine.PlanWorkspace, steps []engine.Step, name string) {
	b.WriteByte('\n')
	remedy.Comment(b, "", "Workspace %s (%s)", w.Name, w.ID)
	fmt.Fprintf(b, "provider \"databricks\" {\n  alias = %s\n  host  = %s\n}\n", remedy.HCLQuote(name), remedy.HCLQuote(w.Host))
	others := len(steps)
	for _, action := range remedy.Names() {
		of := slices.DeleteFunc(slices.Clone(steps), func(s engine.Step) bool { return s.Action != action })
		if render := remedy.Of(action).HCL; render != nil && len(of) > 0 {
			render(b, of, name)
			others -= len(of)
		}
	}
	if others > 0 {
		b.WriteByte('\n')
		remedy.Comment(b, "", "%d further steps on tokens here are beyond Terraform.", others)
	}
}
