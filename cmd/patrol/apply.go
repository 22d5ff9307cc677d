package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/apply"
	"patrol/engine/journal"
	"patrol/engine/outfile"
	"patrol/engine/plan"
	"patrol/engine/policy"
	"patrol/engine/remedy"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// applyOptions say how a plan is carried out.
type applyOptions struct {
	source      pipeline.Source
	judge       pipeline.Judging // packs and waivers
	journal     string
	yes         bool
	dryRun      bool
	resume      bool
	newJournal  bool
	idempotent  bool
	includeSelf bool
	rate        float64
}

// Apply carries out the approved steps of a plan.
func (c commands) Apply() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "apply PLAN",
		Short: "Carry out the approved steps of a plan, and nothing else",
		Long: "Checks plan, approval, limits, workspaces and rights, asks, and then carries out each approved step: looks at its target,\n" +
			"skips it if it is not what was approved or its policies no longer find fault, writes to the journal what it is about to\n" +
			"do, does it, and looks again. The first steps are a canary: on a terminal it asks once more after them.\n\n" +
			"An interrupt lets the step in hand come to rest; a second one kills at once. Either way, and after any crash,\n" +
			"--resume goes on where the journal says. Applying a finished plan again sends nothing.\n\n" + exitHelp(exitIncomplete, exitRefused, exitPartial),
		Example: "  patrol apply plan.json --profile prod --dry-run\n  patrol apply plan.json --profile prod\n  patrol apply plan.json --profile prod --resume --yes",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.app.apply(cmd.Context(), args[0], &o) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.source.Profiles, "profile", nil, "act through these profiles of .databrickscfg: `names` (repeatable)")
	addConnectionFlags(flags, &o.source)
	flags.DurationVar(&o.source.RetryBudget, "retry-budget", pipeline.DefaultRetryBudget, "longest waiting for reads when a workspace is busy or fails; changes are never repeated")
	addRequestFlags(flags, &o.source)
	addPackFlags(flags, &o.judge)
	addWaiversFlag(flags, &o.judge.Exceptions)
	addJournalFlag(flags, &o.journal)
	flags.BoolVar(&o.yes, "yes", false, "answer every question with yes")
	flags.BoolVar(&o.dryRun, "dry-run", false, "pass every check and look at every target; send and write nothing")
	flags.BoolVar(&o.resume, "resume", false, "go on with a plan that was begun")
	flags.BoolVar(&o.newJournal, "new-journal", false, "go on without the journal that knew this plan: look at every step again")
	flags.BoolVar(&o.idempotent, "idempotent", false, "exit 0 when the plan is finished already")
	flags.BoolVar(&o.includeSelf, "include-self", false, "also act on tokens of the principal that applies, last; never on the token in use")
	flags.Float64Var(&o.rate, "rate", 5, "steps per second at most")
	return cmd
}

func (a *app) apply(ctx context.Context, path string, o *applyOptions) (err error) {
	if o.rate <= 0 {
		return engine.UsageError("read flag", "--rate", "Give a number of steps per second, such as 5.", errors.New("is not above zero"))
	}
	defer a.BoundForPlan(path)()
	p, content, err := readPlan(path)
	if err != nil {
		return err
	}
	approval, err := a.applyApproval(path, p, content, o.resume)
	if err != nil {
		return err
	}
	if err := a.ResolveSource(ctx, &o.source); err != nil {
		return err
	}
	set, err := a.loadPolicies(ctx, &o.judge)
	if err != nil {
		return err
	}
	if !o.dryRun {
		if err := outfile.Check(beside(path, ".outcome.json")); err != nil {
			return err
		}
	}
	parsers := remedy.Parsers{
		Token:  func(row []byte) (engine.Token, error) { return collectors.ParseToken(row, a.env.now()) },
		Grants: collectors.ParseGrants, Principal: collectors.ParsePrincipal,
	}
	job := apply.Job{
		Plan: p, SHA: plan.Digest(content), Bytes: content, Approval: approval,
		Clock:  apply.Clock{Now: a.env.now, Sleep: sleep},
		Engine: policy.EngineVersion(), Policies: engine.PolicyDigest(plan.Grounds(p.Steps, set.Policy)),
		Protected: a.Config.Remediation.Protected,
		Options:   apply.Options{DryRun: o.dryRun, Resume: o.resume, IncludeSelf: o.includeSelf, Rate: o.rate},
		Remedies:  remedy.All(parsers),
		Confirm:   func(ctx context.Context, q apply.Question) error { return a.confirm(ctx, q, o.yes) },
		Tell:      a.tellApply,
	}
	journal, noted, err := a.openApplyJournal(ctx, job, o)
	if err != nil {
		return err
	}
	if journal != nil {
		defer func() { err = errors.Join(err, journal.Close()) }()
		job.Journal = journal
	}
	if journal != nil && !noted {
		job.Journal = notingJournal{journal, func(ctx context.Context) error {
			return a.WithStore(ctx, store.ReadWrite, func(db *store.DB) error { return db.BeginApply(ctx, job.SHA, journal.Path()) })
		}}
	}
	judge := a.JudgeAfresh(set, p, parsers)
	defer judge.Close() // before the journal, whose lock makes the directory of the judge ours
	job.Judge = judge
	if journal != nil && !o.dryRun {
		if err := judge.SettleIn(journal.Path()); err != nil {
			return err
		}
	}
	if journal != nil {
		a.warnOfRegress(ctx, path, p, journal)
	}
	if job.Check(ctx) == nil { // Run tells what is wrong otherwise, and shows what a finished plan came to
		if err := a.signInto(ctx, &job, judge, o); err != nil {
			return err
		}
	}
	report, err := job.Run(ctx)
	known, isKnown := engine.AsError(err)
	refused := isKnown && known.Class == engine.ClassRefused
	applied := refused && known.Reason == "already_applied"
	if !refused || applied {
		err = errors.Join(err, a.deliverOutcome(context.WithoutCancel(ctx), path, report, o.dryRun))
	}
	if !refused && !o.dryRun {
		if err := a.refresh(context.WithoutCancel(ctx), judge, &o.source); err != nil { // changes nothing about what was applied
			a.say("warning: the snapshots were not refreshed: %s", err)
		}
	}
	if ctx.Err() != nil {
		a.say("Stopped. What was in hand is in the journal; go on with: patrol apply %s --resume", path)
	}
	if applied && o.idempotent {
		return nil
	}
	return err
}

// applyApproval verifies the approval. When a run is to be gone on with whose
// plan or approval has lapsed since, nothing counts as approved: what was in
// hand is settled, and nothing new is begun.
func (a *app) applyApproval(path string, p engine.Plan, content []byte, resume bool) (apply.Approval, error) {
	file, err := readApprovals(path)
	if err != nil {
		return apply.Approval{}, err
	}
	approved, err := a.verifyPlan(p, content, file)
	if known, ok := engine.AsError(err); resume && ok && (known.Reason == "expired" || known.Reason == "unapproved") {
		a.say("%s: what an earlier run had in hand will be settled, nothing new is begun", err)
		return apply.Approval{Bytes: file, Steps: map[string]bool{}}, nil
	}
	if err != nil {
		return apply.Approval{}, on(path, err)
	}
	if approved.OnlyPlanner() {
		a.say("%s", onlyPlanner(p.Planner))
	}
	approval := apply.Approval{Bytes: file, Steps: approved.Steps, Until: approved.ExpiresAt}
	for _, approver := range approved.By {
		approval.By = append(approval.By, approver.Name)
	}
	return approval, nil
}

// openApplyJournal opens the journal; nil: a dry run has none to read. A journal
// that does not know a plan which the database has noted as begun is refused,
// unless a new one is asked for; noted tells that nothing needs to be noted.
func (a *app) openApplyJournal(ctx context.Context, job apply.Job, o *applyOptions) (j *journal.Journal, noted bool, err error) {
	path, mode := a.JournalPath(o.journal), store.ReadWrite
	if o.dryRun {
		mode = store.ReadOnly
	}
	before := "" // the journal with which the plan was begun
	if _, err := os.Stat(a.DBPath); !errors.Is(err, os.ErrNotExist) {
		db, err := a.OpenStore(ctx, mode)
		if err != nil {
			return nil, false, err
		}
		before, err = db.AppliedWith(ctx, job.SHA)
		if err := errors.Join(err, db.Close()); err != nil {
			return nil, false, err
		}
	}
	noted = before != "" && !o.newJournal
	lost := &engine.Error{
		Class: engine.ClassRefused, Reason: "journal_missing", Op: "apply", Target: path,
		Hint: "Bring back that journal, or name it with --journal. If it is lost, --new-journal looks at every step again and goes on; what was done before is then told as gone before.",
		Err:  fmt.Errorf("the journal does not know plan %s, which was begun with %s", job.Plan.ID, before),
	}
	_, err = os.Stat(path)
	switch missing := errors.Is(err, os.ErrNotExist); {
	case missing && noted:
		return nil, false, lost
	case missing && o.dryRun:
		return nil, false, nil
	}
	if j, err = journal.Open(ctx, path, journal.Options{Mode: mode, Now: a.env.now}); err != nil {
		return nil, false, err
	}
	_, err = j.Verify(ctx) // before apply believes what it says
	if err == nil && noted {
		var known *journal.PlanRecord
		if known, err = j.LastPlan(ctx, job.SHA); err == nil && known == nil {
			err = lost
		}
	}
	if err != nil {
		return nil, false, errors.Join(err, j.Close())
	}
	return j, noted, nil
}

// notingJournal has the database note a plan as soon as the journal knows it:
// the other way round, a crash between the two would leave a plan that can never
// be begun; and after the first request, one whose journal nobody would miss.
type notingJournal struct {
	*journal.Journal
	note func(context.Context) error
}

func (n notingJournal) Begin(ctx context.Context, r engine.Registration) error {
	if err := n.Journal.Begin(ctx, r); err != nil {
		return err
	}
	return n.note(ctx)
}

// signInto signs in to the workspaces of the plan in which something is to be
// done. Which target leads to which workspace only signing in tells; those of
// the same name are tried first, and no more than it takes.
func (a *app) signInto(ctx context.Context, job *apply.Job, judge *pipeline.FreshJudge, o *applyOptions) error {
	job.Workspaces = map[string]apply.Workspace{}
	wanted, err := job.Needed(ctx)
	if err != nil {
		return err
	}
	if err := a.Discover(ctx, &o.source); err != nil {
		return err
	}
	var first, others []collectors.Target
	for _, target := range a.Targets(&o.source) {
		if slices.ContainsFunc(job.Plan.Workspaces, func(w engine.PlanWorkspace) bool { return w.Name == target.Label() }) {
			first = append(first, target)
		} else {
			others = append(others, target)
		}
	}
	var failed error
	for _, target := range append(first, others...) {
		if len(job.Workspaces) == len(wanted) {
			return nil
		}
		session, err := collectors.SignIn(ctx, target, a.CollectOptions(&o.source))
		if err != nil {
			a.say("%s: %s", target.Label(), err)
			failed = err
			continue
		}
		id, caller := session.Workspace().ID, session.Caller()
		if _, served := job.Workspaces[id]; served || !slices.Contains(wanted, id) {
			a.detail("%s: leads to workspace %s, in which nothing is to be done", target.Label(), id)
			if err := session.Close(); err != nil {
				return err
			}
			continue
		}
		judge.Sessions[id] = session
		job.Workspaces[id] = apply.Workspace{
			Workspace: session.Workspace(), Client: session, Skew: session.Skew(), Now: session.Now,
			Caller: apply.Caller{ID: caller.ID, Name: caller.Name, Admin: caller.Admin, PAT: caller.AuthType == "pat", TokenID: caller.TokenID},
			Tokens: func(ctx context.Context) (iter.Seq2[engine.Token, error], error) {
				section, err := session.Tokens(ctx)
				return section.Tokens, err
			},
		}
	}
	if len(job.Workspaces) == len(wanted) {
		return nil
	}
	// Without a failure the gates tell which workspace nobody leads to. Nothing was
	// sent, so that a failure counts as a refusal; a wrong configuration stays one.
	known, ok := engine.AsError(failed)
	if !ok || known.Class == engine.ClassUsage {
		return failed
	}
	refusal := *known
	refusal.Class, refusal.Op = engine.ClassRefused, "sign in to"
	return &refusal
}

// refresh snapshots the workspaces again, so that the next audit starts from
// what apply left.
func (a *app) refresh(ctx context.Context, judge *pipeline.FreshJudge, o *pipeline.Source) error {
	return a.WithStore(ctx, store.ReadWrite, func(db *store.DB) error {
		before, err := pipeline.CountsBefore(ctx, db)
		if err != nil {
			return err
		}
		for _, id := range engine.SortedKeys(judge.Sessions) {
			// Apply knows why tokens are fewer.
			snapshot, err := a.Save(ctx, db, o, judge.Sessions[id].Capture(ctx), before[id], []engine.SectionName{engine.SectionTokens})
			if err != nil {
				return err
			}
			a.say("Collected again:")
			a.saySnapshot(snapshot)
		}
		return nil
	})
}

// interactive reports whether somebody can answer questions.
func (e *env) interactive() bool {
	file, ok := e.stdin.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// confirm asks before anything is sent, and once more after the first steps.
// Where nobody can answer, nothing is sent.
func (a *app) confirm(ctx context.Context, q apply.Question, yes bool) error {
	name := engine.SafeText(q.Workspace.Name)
	if q.Canary {
		if yes || !a.env.interactive() {
			return nil
		}
		answer, err := a.ask(ctx, fmt.Sprintf("%s done, %d left in %s. Does everything still work? Type yes to go on: ", plural(q.Done, "step"), q.Steps, name))
		if err == nil && !strings.EqualFold(answer, "yes") {
			err = errors.New("declined")
		}
		return err
	}
	line := fmt.Sprintf("%s (%s): %s, of %s", name, q.Workspace.ID, plural(q.Steps, "step"), plural(q.Owners, "owner"))
	if q.Recent > 0 {
		line += fmt.Sprintf(", %d on tokens USED within %d days of the plan", q.Recent, q.Recently)
	}
	for _, danger := range q.Dangers {
		a.say("%s", strings.ToUpper(danger[:1])+danger[1:])
	}
	a.say("%s", line)
	if yes {
		return nil
	}
	if !a.env.interactive() {
		return &engine.Error{Class: engine.ClassRefused, Reason: "unconfirmed", Op: "apply", Target: q.Workspace.Name,
			Hint: "Run it on a terminal, or answer with --yes; --dry-run shows what would be done.", Err: errors.New("nobody is there to confirm; nothing was sent")}
	}
	want := fmt.Sprintf("%s %d", q.Workspace.Name, q.Steps)
	answer, err := a.ask(ctx, fmt.Sprintf("This cannot be undone for tokens. Type %q to go on: ", engine.SafeText(want)))
	if err == nil && answer != want {
		err = &engine.Error{Class: engine.ClassRefused, Reason: "declined", Op: "apply", Target: q.Workspace.Name, Hint: "Nothing was sent.", Err: errors.New("not confirmed")}
	}
	return err
}

// ask reads a line from the terminal, or gives up when ctx ends.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.env.stderr, question)
	read := make(chan error, 1)
	text := ""
	go func() {
		var err error
		text, err = bufio.NewReader(a.env.stdin).ReadString('\n')
		read <- err
	}()
	select {
	case err := <-read:
		if errors.Is(err, io.EOF) {
			err = nil // the end of input is an answer: not yes
		}
		return strings.TrimSpace(text), err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// tellApply says what a run is doing, in one line per step.
func (a *app) tellApply(e apply.Event) {
	switch e.Kind {
	case apply.EventGates:
		a.detail("%s: every check passed, %s open", e.Workspace, plural(e.Of, "step"))
	case apply.EventStep:
		if !remedy.Changes(e.Step) {
			return // the outcome counts them
		}
		text := fmt.Sprintf("[%d/%d] %s %s %s", e.N, e.Of, e.Workspace, e.Step.Action, targetOf(e.Step.Target))
		if e.Step.Owner != "" {
			text += " of " + e.Step.Owner
		}
		switch state := strings.ReplaceAll(string(e.State), "_", " "); e.Reason {
		case "":
			text += ": " + state
		case "would_be_done":
			text += ": would be done"
		default:
			text += ": " + state + " (" + e.Reason + ")"
		}
		a.say("%s", text)
		if e.Detail != "" {
			a.detail("  %s", e.Detail)
		}
	case apply.EventWaiting:
		a.detail("%s: waiting %s for %s", e.Workspace, e.Detail, targetOf(e.Step.Target))
	case apply.EventWarning:
		a.say("warning: %s: %s", e.Workspace, e.Detail)
	}
}

// targetOf is the target of a step; of a token, enough to know it by.
func targetOf(target string) string {
	if len(target) == 64 {
		return target[:12] + "…"
	}
	return engine.SafeText(target)
}

// deliverOutcome writes what became of the plan beside it, and shows it.
func (a *app) deliverOutcome(ctx context.Context, path string, report engine.OutcomeReport, rehearsed bool) error {
	var files []string
	if !rehearsed {
		files = []string{beside(path, ".outcome.json"), beside(path, ".outcome.csv"), beside(path, ".outcome.xlsx")}
		err := outfile.Write(files[0], func(w io.Writer) error {
			encoder := json.NewEncoder(w)
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", "  ")
			return encoder.Encode(report)
		})
		err = errors.Join(err, outfile.Write(files[1], func(w io.Writer) error { return reports.OutcomeCSV(w, report) }))
		err = errors.Join(err, outfile.Write(files[2], func(w io.Writer) error { return reports.OutcomeXLSX(ctx, w, report) }))
		if err != nil {
			return err
		}
	}
	if a.quiet {
		return nil
	}
	view := reports.OutcomeView{Report: engine.Pseudonymised(a.Names, report), Rehearsed: rehearsed, Files: files}
	return reports.OutcomeTable(a.env.stdout, view, a.tableOptions())
}

// beside names a file beside the plan: plan.outcome.json for plan.json.
func beside(plan, ending string) string {
	return strings.TrimSuffix(plan, filepath.Ext(plan)) + ending
}

// warnOfRegress tells when the journal is older than the outcome beside the
// plan says: it was restored from a copy, or is another one. Every step is
// looked at again before anything is sent, so that it may go on.
func (a *app) warnOfRegress(ctx context.Context, path string, p engine.Plan, journal *journal.Journal) {
	content, err := os.ReadFile(beside(path, ".outcome.json"))
	var before engine.OutcomeReport
	if err != nil || json.Unmarshal(content, &before) != nil || before.PlanID != p.ID {
		return
	}
	for _, w := range before.Workspaces {
		epoch, err := journal.LastEpoch(ctx, w.ID)
		if err == nil && epoch < w.Epoch {
			a.say("warning: journal_regressed: %s knows %s of %s, the outcome beside the plan knows %d: it is another journal, or an old copy",
				journal.Path(), plural(int(epoch), "run"), w.Name, w.Epoch)
		}
	}
}

// sleep waits, or gives up when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
