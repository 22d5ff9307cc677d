package plan

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/remedy"
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
