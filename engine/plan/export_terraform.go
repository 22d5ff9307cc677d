package plan

import (
	"fmt"
	"strings"

	"patrol/engine"
)

// Terraform is HCL of the settings and grants of a plan.
func (exports) Terraform() Export {
	return Export{Name: "terraform", Ending: ".tf", Doc: "HCL of settings and grants; Terraform cannot revoke other people's tokens", Render: renderTerraform}
}

func renderTerraform(p engine.Plan, sha256 string) string {
	var b strings.Builder
	comment(&b, "", "Plan %s, judged as of %s, good until %s.", p.ID, p.AsOf, p.ExpiresAt)
	comment(&b, "", "sha256 of the plan file: %s", sha256)
	b.WriteString(`#
# patrol never runs Terraform. Before you apply this:
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
	comment(b, "", "Workspace %s (%s)", w.Name, w.ID)
	fmt.Fprintf(b, "provider \"databricks\" {\n  alias = %s\n  host  = %s\n}\n", hclQuote(name), hclQuote(w.Host))
	others := 0
	var settings []engine.Step
	for _, s := range steps {
		switch s.Action {
		case engine.SetSetting:
			settings = append(settings, s)
		case engine.ChangeGrant:
			terraformGrants(b, s, name)
		default:
			others++
		}
	}
	terraformSettings(b, settings, name)
	if others > 0 {
		b.WriteByte('\n')
		comment(b, "", "%d further steps on tokens here are beyond Terraform.", others)
	}
}

func terraformSettings(b *strings.Builder, steps []engine.Step, name string) {
	if len(steps) == 0 {
		return
	}
	fmt.Fprintf(b, "\nresource \"databricks_workspace_conf\" %s {\n  provider = databricks.%s\n  custom_config = {\n", hclQuote(name), name)
	for _, s := range steps {
		comment(b, "    ", "%s %s: %s", s.ID, strings.Join(s.Policies, ", "), s.Risk.Why)
		fmt.Fprintf(b, "    %s = %s\n", hclQuote(s.Target), hclQuote(fmt.Sprint(s.Expected["value"])))
	}
	b.WriteString("  }\n}\n")
}

func terraformGrants(b *strings.Builder, s engine.Step, name string) {
	b.WriteByte('\n')
	comment(b, "", "%s %s takes %s from %s: %s", s.ID, strings.Join(s.Policies, ", "), levelUse, s.Target, s.Risk.Why)
	kept := keptGrants(s)
	if len(kept) == 0 {
		comment(b, "", "Nobody but admins would be left: databricks_permissions cannot say so. Use patrol apply or the API.")
		return
	}
	fmt.Fprintf(b, "resource \"databricks_permissions\" %s {\n  provider      = databricks.%s\n  authorization = \"tokens\"\n", hclQuote(name+"_tokens"), name)
	for _, grant := range kept {
		fmt.Fprintf(b, "  access_control {\n    %s = %s\n    permission_level = %s\n  }\n", principalField(grant), hclQuote(fmt.Sprint(grant["principal"])), hclQuote(levelUse))
	}
	b.WriteString("}\n")
}

// hclQuote quotes a string so that nothing in it is a template.
func hclQuote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range text {
		next := text[i+len(string(r)):]
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case (r == '$' || r == '%') && strings.HasPrefix(next, "{"):
			b.WriteRune(r)
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case r >= 0x80:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
