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
		comment(b, "    ", "%s %s, not before %s: %s", s.ID, strings.Join(s.Policies, ", "), s.NotBefore, s.Risk.Why)
		mark := ""
		if s.Critical {
			comment(b, "    ", "CRITICAL: remove the # when you are sure.")
			mark = "# "
		}
		fmt.Fprintf(b, "    %s%s = %s\n", mark, hclQuote(s.Target), hclQuote(fmt.Sprint(s.Expected["value"])))
	}
	b.WriteString("  }\n}\n")
}

func terraformGrants(b *strings.Builder, s engine.Step, name string) {
	b.WriteByte('\n')
	comment(b, "", "%s %s takes %s from %s, not before %s: %s", s.ID, strings.Join(s.Policies, ", "), levelUse, s.Target, s.NotBefore, s.Risk.Why)
	kept := keptGrants(s)
	if len(kept) == 0 {
		comment(b, "", "Nobody but admins would be left: databricks_permissions cannot say so. Use patrol apply or the API.")
		return
	}
	mark := ""
	if s.Critical {
		comment(b, "", "CRITICAL: remove the # when you are sure.")
		mark = "# "
	}
	lines := []string{
		fmt.Sprintf("resource \"databricks_permissions\" %s {", hclQuote(name+"_tokens")),
		"  provider      = databricks." + name, `  authorization = "tokens"`,
	}
	for _, grant := range kept {
		lines = append(lines, "  access_control {",
			fmt.Sprintf("    %s = %s", principalField(grant), hclQuote(fmt.Sprint(grant["principal"]))),
			"    permission_level = "+hclQuote(levelUse), "  }")
	}
	for _, line := range append(lines, "}") {
		b.WriteString(mark + line + "\n")
	}
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
