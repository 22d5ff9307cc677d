package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/plan"
	"patrol/engine/remedy"
	"patrol/reports"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	v.Steps, v.All = o.of(p)
	// That a plan is not approved yet is no error for who only looks.
	file, err := readApprovals(path)
	var approved plan.Approved
	if err == nil && file != nil {
		approved, err = a.verifyPlan(p, content, file)
	}
	switch {
	case err != nil:
		v.Standing = []string{"Not approved: " + describe(err).Reason + ": " + err.Error()}
	case file == nil:
		v.Standing = []string{"Not approved yet: " + approveCommand(p, path)}
	default:
		v.Standing, v.Verdicts = tellApproved(approved), map[string]string{}
		maps.Copy(v.Verdicts, approved.Others)
		for id := range approved.Steps {
			v.Verdicts[id] = "approved"
		}
	}
	return a.showPlan(p, plan.Digest(content), v)
}

// tellApproved says who approved what, and what keeps steps from being approved.
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
			lines = append(lines, fmt.Sprintf("  not %s %s of %s: %s", step.Action, targetOf(step.Target), engine.SafeText(step.Workspace), why))
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
	return plan.Verify(p, content, approvals, trust, a.env.now())
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

// selection chooses steps of a plan. plan, show and approve share it.
type selection struct {
	filter
	risks, severities, actions []string
}

// addFlags adds the flags but --policy, which means more in `plan`. They count on
// the command line only: elsewhere they choose what is judged, and nothing but a
// command line approves anything.
func (s *selection) addFlags(all *pflag.FlagSet) {
	s.filter.addFlags(all, "the riskiest `number` of the steps that are chosen (0: all)")
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		for _, list := range s.words() {
			flags.StringSliceVar(list.words, list.name, nil, list.usage+strings.Join(list.known, ", "))
			ofWords(flags, list.name, list.known...)
		}
	})
	for _, name := range []string{"workspace", "label", "owner", "risk", "severity", "action", "limit"} {
		config.CommandLineOnly(all, name)
	}
}

func (s *selection) addPolicies(all *pflag.FlagSet) {
	inGroup(all, flagsSelection, func(flags *pflag.FlagSet) {
		flags.StringSliceVar(&s.policies, "policy", nil, "steps that rest on one of these policies: `ids` or patterns such as PAT-01*")
	})
	config.CommandLineOnly(all, "policy")
}

// stepWords is a flag that takes some of a closed set of words.
type stepWords struct {
	name, usage string
	words       *[]string
	known       []string
}

func (s *selection) words() []stepWords {
	var actions []string
	for _, action := range remedy.Names() {
		actions = append(actions, string(action))
	}
	return []stepWords{
		{"risk", "steps of these `risks`: ", &s.risks, remedy.Levels()},
		{"severity", "steps whose worst finding has one of these `severities`: ", &s.severities, severityWords()},
		{"action", "steps of these `actions`: ", &s.actions, actions},
	}
}

// given reports whether anything but a number is asked for.
func (s *selection) given() bool {
	return len(s.workspaces)+len(s.labels)+len(s.owners)+len(s.policies)+len(s.risks)+len(s.severities)+len(s.actions) > 0
}

// check refuses words that name nothing.
func (s *selection) check() error {
	for _, list := range s.words() {
		for i, word := range *list.words {
			word = strings.ToLower(strings.TrimSpace(word))
			if err := checkWord("--"+list.name, cmp.Or(word, "nothing"), list.known...); err != nil {
				return err
			}
			(*list.words)[i] = word
		}
	}
	return s.filter.check()
}

// step reports whether a step is chosen; placed says that its workspace and its
// policies are, of which then only this command knows enough.
func (s *selection) step(step engine.Step, w engine.Workspace, placed bool) bool {
	among := func(words []string, word string) bool { return len(words) == 0 || slices.Contains(words, word) }
	return (placed || s.workspace(w) && anyGlob(s.policies, step.Policies...)) &&
		anyGlob(s.owners, step.Owner, step.OwnerID, step.OwnerName) && among(s.risks, step.Risk.Level) &&
		among(s.severities, string(step.Severity)) && among(s.actions, string(step.Action))
}

// of is a plan with the chosen steps only, the riskiest first where there is a
// limit, and how many there are without that.
func (s *selection) of(p engine.Plan) (chosen []engine.Step, all int) {
	workspaces := map[string]engine.Workspace{}
	for _, w := range p.Workspaces {
		workspaces[w.ID] = engine.Workspace{ID: w.ID, Name: w.Name, Labels: w.Labels}
	}
	for _, step := range p.Steps {
		if s.step(step, workspaces[step.WorkspaceID], false) {
			chosen = append(chosen, step)
		}
	}
	all = len(chosen)
	if s.limit > 0 && s.limit < all {
		slices.SortStableFunc(chosen, func(a, b engine.Step) int { return cmp.Compare(remedy.Danger(b), remedy.Danger(a)) })
		chosen = chosen[:s.limit]
	}
	return chosen, all
}
