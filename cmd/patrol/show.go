package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"patrol/engine"
	"patrol/engine/plan"
	"patrol/reports"

	"github.com/spf13/cobra"
)

// Show shows a plan to a reviewer.
func (c commands) Show() *cobra.Command {
	o := selection{}
	cmd := &cobra.Command{
		Use:   "show PLAN",
		Short: "Show a plan: counts, limits, and each step with what could break",
		Long: "Shows a plan file: counts by workspace, action, owner and risk, the limits it goes beyond, its steps by workspace and owner\n" +
			"with their grounds and their tokens, and where the approval stands. A plan that was changed is refused.",
		Example: "  patrol show plan.json\n  patrol show plan.json --workspace 'prod-*' --risk high --limit 0",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return c.app.show(args[0], &o) },
	}
	o.addFlags(cmd.Flags())
	o.addPolicies(cmd.Flags())
	limit := cmd.Flags().Lookup("limit")
	limit.DefValue, limit.Usage = "50", "show the riskiest `number` of steps one by one (0: all)"
	o.limit = 50
	return cmd
}

func (a *app) show(path string, o *selection) error {
	if err := o.check(); err != nil {
		return err
	}
	defer a.BoundForPlan(path)()
	p, content, err := readPlan(path)
	if err != nil {
		return err
	}
	v := reports.PlanView{Of: len(p.Steps)}
	a.standing(&v, p, content, path)
	v.Steps, v.All = o.of(p)
	return a.showPlan(p, plan.Digest(content), v)
}

// standing tells where the approval of a plan stands. That it is not approved
// yet is no error for who only looks.
func (a *app) standing(v *reports.PlanView, p engine.Plan, content []byte, path string) {
	file, err := readApprovals(path)
	if err == nil && file == nil {
		v.Standing = []string{"Not approved yet: " + approveCommand(p, path)}
		return
	}
	var approved plan.Approved
	if err == nil {
		approved, err = a.verifyPlan(p, content, file)
	}
	if err != nil {
		v.Standing = []string{"Not approved: " + describe(err).Reason + ": " + err.Error()}
		return
	}
	v.Verdicts = map[string]string{}
	for id := range approved.Steps {
		v.Verdicts[id] = "approved"
	}
	for id, why := range approved.Others {
		v.Verdicts[id] = why
	}
	v.Standing = tellApproved(approved)
}

func tellApproved(approved plan.Approved) []string {
	lines := []string{fmt.Sprintf("Approved: %d of %s, until %s.", len(approved.Steps), plural(len(approved.Plan.Steps), "step"), approved.ExpiresAt.UTC().Format("2006-01-02T15:04:05Z"))}
	for _, by := range approved.By {
		line := "  by " + engine.SafeText(by.Name) + " at " + by.At
		switch {
		case by.Signed:
			line += ", signed with key " + by.Key
		case by.Key != "":
			line += ", signed with key " + by.Key + ", which no allowed_signers vouches for"
		default:
			line += ", unsigned"
		}
		if by.Reason != "" {
			line += ": " + engine.SafeText(by.Reason)
		}
		lines = append(lines, line)
	}
	for _, step := range approved.Plan.Steps {
		if why := approved.Others[step.ID]; strings.HasPrefix(why, "critical: ") {
			if len(lines) > 20 {
				lines = append(lines, "  … and more, each as `patrol show` lists it")
				break
			}
			lines = append(lines, fmt.Sprintf("  not %s %s of %s: %s", step.Action, targetOf(step), engine.SafeText(step.Workspace), why))
		}
	}
	if approved.OnlyPlanner() {
		lines = append(lines, onlyPlanner(approved.Plan.Planner))
	}
	if approved.Unsigned {
		lines = append(lines, "No signature was asked for: the configuration names no allowed_signers.")
	}
	return lines
}

func onlyPlanner(planner string) string {
	return "NOBODY ELSE HAS APPROVED IT: " + engine.SafeText(planner) + " made the plan and approved it, and nothing is signed."
}

// verifyPlan asks of approvals what the configuration asks.
func (a *app) verifyPlan(p engine.Plan, content, approvals []byte) (plan.Approved, error) {
	trust, err := a.Config.Trust()
	if err != nil {
		return plan.Approved{}, err
	}
	return plan.VerifyRead(p, content, approvals, trust, a.env.now())
}

func readPlan(path string) (engine.Plan, []byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return engine.Plan{}, nil, engine.UsageError("read plan", path, "Make one with `patrol plan -o "+path+"`.", err)
	}
	p, err := plan.Read(content)
	return p, content, on(path, err)
}

// on tells which file a refusal is about.
func on(path string, err error) error {
	known, ok := engine.AsError(err)
	if !ok {
		return err
	}
	told := *known
	told.Target = strings.TrimSpace(path + " " + known.Target)
	return &told
}

// approvalPath is the file of a plan's approvals: plan.approval.json beside plan.json.
func approvalPath(path string) string {
	return beside(path, ".approval.json")
}

// readApprovals returns nil when there is no approval yet.
func readApprovals(path string) ([]byte, error) {
	content, err := os.ReadFile(approvalPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &engine.Error{Class: engine.ClassStorage, Reason: "input", Op: "read approval", Target: approvalPath(path), Hint: "See the cause.", Err: err}
	}
	return content, nil
}
