package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/notice"
	"patrol/engine/outfile"
	"patrol/engine/plan"
	"patrol/engine/policy"
	"patrol/engine/remedy"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
)

// planOptions say what to plan and where to write it.
type planOptions struct {
	evaluation int64
	judge      pipeline.Judging // packs and selection
	selection  selection
	within     bool
	output     string
	formats    []string
	planner    string

	notices        string
	noticeTemplate string
	replies        string
}

// Plan turns the findings of the latest evaluation into steps.
func (c commands) Plan() *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Turn findings into a plan of changes for approval",
		Long: "Makes a plan of the failed findings of the latest evaluation: which tokens to revoke or narrow, which settings and grants\n" +
			"to change, whom to notify; each with its evidence and with what must still hold when it is applied. Nothing is sent\n" +
			"anywhere. The same evaluation and configuration give the same bytes, so that a plan made again keeps its approval.\n\n" +
			"docs/remediation.md is the guide, docs/plan-format.md defines the file.\n\n" + exitHelp(exitRefused),
		Example: "  patrol plan -o plan.json\n  patrol plan --only PAT-010,PAT-011 --format xlsx\n  patrol plan --workspace 'prod-*' --severity critical,high --within-limits",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.app.makePlan(cmd.Context(), &o) },
	}
	flags := cmd.Flags()
	addEvaluationFlag(flags, &o.evaluation)
	flags.StringVarP(&o.output, "output", "o", "plan.json", "write the plan to this `file`")
	config.OwnPlace(flags, "output")
	flags.StringArrayVarP(&o.judge.Packs, "policy", "p", nil, "load this `directory` or bundle of policies too; or plan for these ids or patterns (PAT-01*) only")
	flags.StringVar(&o.judge.PackKey, "policy-key", "", "bundles must be signed by this public key (PEM `file`)")
	o.selection.addFlags(flags)
	flags.BoolVar(&o.within, "within-limits", false, "take the riskiest findings first until a limit is reached")
	flags.StringSliceVar(&o.judge.Only, "only", nil, "plan for findings of these policies only: `ids` or aliases")
	flags.StringSliceVar(&o.judge.Exclude, "exclude", nil, "plan for findings of all policies but these: `ids` or aliases")
	flags.StringSliceVar(&o.formats, "format", nil, "write these `forms` beside it too: "+strings.Join(planFormats(), ", ")+" (the workbook is for reviewers)")
	config.OwnPlace(flags, "format") // the file's is that of reports
	flags.StringVar(&o.notices, "notices", "", "write a message to each owner into this `directory`")
	flags.StringVar(&o.noticeTemplate, "notice-template", "", "write notices by this template `file` instead of the standard one")
	flags.StringVar(&o.replies, "replies", "", "revoke what owners gave up, by the `file` that notices read wrote")
	flags.StringVar(&o.planner, "by", "", "`name` of who plans (default: the user of this machine)")
	return cmd
}

func (a *app) makePlan(ctx context.Context, o *planOptions) error {
	if err := o.selection.check(); err != nil {
		return err
	}
	var forms []string // of --format or the environment, where what is no form of a plan is meant for reports
	for _, name := range o.formats {
		name = strings.TrimSpace(name)
		switch {
		case slices.Contains(planFormats(), name):
			forms = append(forms, name)
		case a.origins["format"] == "flag --format":
			return engine.UsageError("read flag", "--format", "Use "+strings.Join(planFormats(), ", ")+".", fmt.Errorf("a plan has no form %q", name))
		}
	}
	var packs []string // --policy names directories and bundles, or ids and patterns
	for _, value := range o.judge.Packs {
		if _, err := os.Stat(value); err == nil || strings.ContainsAny(value, `/\.`) {
			packs = append(packs, value)
		} else {
			o.selection.policies = append(o.selection.policies, strings.Split(value, ",")...)
		}
	}
	o.judge.Packs = packs
	if err := outfile.Check(o.output); err != nil {
		return err
	}
	if o.notices != "" {
		if err := outfile.CheckDir(o.notices); err != nil {
			return err
		}
	}
	template := "" // the standard one
	if o.noticeTemplate != "" {
		if o.notices == "" {
			return engine.UsageError("read flag", "--notice-template", "Say with --notices where to write the notices.", errors.New("there are none to write"))
		}
		content, err := readInput("read template of notices", o.noticeTemplate)
		if err != nil {
			return err
		}
		template = string(content)
	}
	replies, err := repliesFor(o.replies)
	if err != nil {
		return err
	}
	set, err := a.loadPolicies(ctx, &o.judge)
	if err != nil {
		return err
	}
	settings, err := a.Config.Plan(set.Policy)
	if err != nil {
		return err
	}
	return a.WithStore(ctx, store.ReadOnly, func(db *store.DB) error {
		report, err := a.Evaluation(ctx, db, o.evaluation)
		if err != nil {
			return err
		}
		if err := knownPolicies(report, o.selection.policies); err != nil {
			return err
		}
		defer a.BoundPlanning(report.Summary.Statuses[engine.Fail])()
		made, err := plan.Build(ctx, plan.Input{
			Report: report.Pseudonymised(a.Names), Tuning: set.Retuning(report), Config: settings, Replies: replies,
			Choice: plan.Choice{
				Workspace: o.selection.workspace, Most: o.selection.limit, WithinLimits: o.within,
				Step: func(s engine.Step) bool { return o.selection.step(s, engine.Workspace{}, true) },
				Policy: func(p engine.Policy) bool {
					return pipeline.Selects(o.judge.Only, o.judge.Exclude, p) &&
						anyGlob(o.selection.policies, append(slices.Clone(p.Aliases), p.ID)...)
				},
			},
			Version: a.env.version, Engine: policy.EngineVersion(), Planner: a.person(o.planner),
		})
		if err := cmp.Or(report.Intact(), err); err != nil { // nothing of a plan counts before; what was read whole is not read again
			return err
		}
		for _, step := range made.Steps { // a plan must not look for a pseudonym in a workspace
			if a.Names != nil && step.Action == engine.ChangeGrant && strings.HasPrefix(step.Target, engine.PseudonymPrefix) {
				return engine.UsageError("plan for", "workspace "+step.Workspace, "Leave the policies on grants out with --exclude "+strings.Join(step.Policies, ",")+", or plan without --pseudonymise.",
					errors.New("a grant can be changed under the real name only"))
			}
		}
		a.tellUnused(replies, made)
		messages, err := notice.Messages(made, template)
		if err != nil {
			return err
		}
		digest, err := a.deliverPlan(ctx, made, o.output, forms)
		if err != nil || o.notices == "" {
			return err
		}
		return a.writeNotices(ctx, made, digest, messages, o.notices)
	})
}

// knownPolicies refuses ids and patterns that no policy of an evaluation matches.
func knownPolicies(report engine.Report, patterns []string) error {
	var known []string
	for _, p := range report.Policies {
		known = append(append(known, p.Policy.ID), p.Policy.Aliases...)
	}
	for _, pattern := range patterns {
		if !anyGlob([]string{pattern}, known...) {
			return engine.UsageError("read flag", "--policy", "Name a directory, a bundle, or policies that the evaluation ran.",
				fmt.Errorf("%q is neither a directory nor a policy of the evaluation: %s", pattern, engine.DidYouMean(pattern, known)))
		}
	}
	return nil
}

// person is who acts: as told, else the user of this machine.
func (a *app) person(told string) string {
	if told != "" {
		return told
	}
	for _, name := range []string{"USER", "LOGNAME", "USERNAME"} {
		if account, set := a.env.lookup(name); set && account != "" {
			return account
		}
	}
	if account, err := user.Current(); err == nil && account.Username != "" {
		return account.Username
	}
	return "unknown"
}

// deliverPlan writes the plan and its other forms, shows it, and returns the
// digest of its file.
func (a *app) deliverPlan(ctx context.Context, p engine.Plan, path string, forms []string) (digest string, err error) {
	if digest, err = plan.Save(path, p); err != nil {
		return "", err
	}
	a.WarnExposed(filepath.Dir(path))
	steps := "nothing to do"
	if len(p.Steps) > 0 {
		steps = plural(len(p.Steps), "step")
	}
	a.say("%s: %s", path, steps)
	if slices.Contains(forms, bookFormat) {
		file := beside(path, "."+bookFormat)
		if err := outfile.Write(file, func(w io.Writer) error { return reports.PlanXLSX(ctx, w, p, digest) }); err != nil {
			return digest, err
		}
		a.say("%s: written", file)
	}
	for _, export := range plan.Exports() {
		if !slices.Contains(forms, export.Name) {
			continue
		}
		file := beside(path, export.Ending)
		if err := plan.Write(file, []byte(export.Render(p, digest))); err != nil {
			return digest, err
		}
		a.say("%s: written", file)
	}
	if a.quiet {
		return digest, nil
	}
	var v reports.PlanView
	if untimely := a.untimely(p); untimely != "" {
		v.Next = []string{untimely, "Audit again and make the plan anew for one that can be applied now."}
	} else if len(p.Steps) > 0 {
		v.Next = []string{"Next:", "  patrol show " + path, "  " + approveCommand(p, path)}
	}
	return digest, a.showPlan(p, digest, v)
}

// untimely says why a plan cannot be applied now, whoever approves it: it was
// made from what was judged for another day.
func (a *app) untimely(p engine.Plan) string {
	now := a.env.now()
	ends, err := time.Parse(time.RFC3339, p.ExpiresAt)
	if err == nil && now.After(ends) {
		return "This plan is over since " + p.ExpiresAt + ": approve and apply refuse it."
	}
	judged, err := time.Parse(time.RFC3339, p.AsOf)
	if err == nil && judged.After(now.Add(time.Hour)) { // clocks differ a little
		return "This plan was judged as of " + p.AsOf + ", which is still to come: approve and apply refuse it."
	}
	if p.WhatIf != "" {
		return "This plan says what would be, not what is: approve and apply refuse it."
	}
	return ""
}

// approveCommand is the command that approves a plan: all of it, unless apply
// would refuse all of it together.
func approveCommand(p engine.Plan, path string) string {
	if len(remedy.Exceeds(p, remedy.Every)) > 0 {
		return fmt.Sprintf("patrol approve %s --step ID,…", path)
	}
	return fmt.Sprintf("patrol approve %s --all", path)
}

func (a *app) showPlan(p engine.Plan, digest string, v reports.PlanView) error {
	for _, step := range p.Steps {
		a.Learn(step.Owner, step.OwnerName)
	}
	v.Plan, v.Steps, v.SHA256 = engine.Pseudonymised(a.Names, p), engine.Pseudonymised(a.Names, v.Steps), digest
	v.Over = remedy.Exceeds(p, remedy.Every)
	return reports.PlanTable(a.env.stdout, v, a.tableOptions())
}

// bookFormat is the workbook in which reviewers decide.
const bookFormat = "xlsx"

// planFormats are the forms of a plan beside plan.json.
func planFormats() []string {
	names := []string{bookFormat}
	for _, export := range plan.Exports() {
		names = append(names, export.Name)
	}
	slices.Sort(names)
	return names
}

// writeNotices writes a file and a workbook for each owner, and a mail where
// there is an address. Nothing is sent.
func (a *app) writeNotices(ctx context.Context, p engine.Plan, digest string, messages []notice.Message, dir string) error {
	if err := outfile.MakeDir(dir); err != nil {
		return err
	}
	asOf, err := time.Parse(time.RFC3339, p.AsOf)
	if err != nil {
		return err
	}
	mails := 0
	for _, m := range messages {
		var workbook bytes.Buffer
		if err := reports.ReplyXLSX(ctx, &workbook, p, digest, m.Steps); err != nil {
			return err
		}
		files := map[string][]byte{".md": []byte(m.Body), ".xlsx": workbook.Bytes()}
		if content := m.Mail(asOf, workbook.Bytes()); content != nil {
			files[".eml"] = content
			mails++
		}
		for _, ending := range engine.SortedKeys(files) {
			if err := plan.Write(filepath.Join(dir, m.Name+ending), files[ending]); err != nil {
				return err
			}
		}
	}
	a.say("%s: %s, %d of them as mails ready to send", dir, plural(len(messages), "notice"), mails)
	return nil
}

// tellUnused names tokens that owners gave up and that this plan does not revoke.
func (a *app) tellUnused(replies plan.Replies, p engine.Plan) {
	planned := map[string]bool{}
	for _, step := range p.Steps {
		planned[step.WorkspaceID+" "+step.Target] = planned[step.WorkspaceID+" "+step.Target] || step.Action == engine.Revoke
	}
	for _, reply := range replies.Replies {
		if reply.Reply == engine.ReplyRevoke && !planned[reply.WorkspaceID+" "+reply.Token] {
			a.say("token %s of %s was given up, and has no step that revokes it: see not_planned, or it breaks no policy any more", engine.SafeText(reply.Token), engine.SafeText(reply.Workspace))
		}
	}
}

// repliesFor reads the file of --replies.
func repliesFor(path string) (plan.Replies, error) {
	if path == "" {
		return plan.Replies{}, nil
	}
	content, err := readInput("read replies", path)
	if err != nil {
		return plan.Replies{}, err
	}
	replies, err := plan.ReadReplies(content)
	if err == nil && len(replies.Replies) == 0 {
		err = engine.UsageError("read replies", "", "Leave --replies out.", errors.New("nobody answered"))
	}
	return replies, on(path, err)
}
