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
	"strconv"
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

func (a *app) apply(ctx context.Context, path string, o *applyOptions) error {
	if o.rate <= 0 {
		return engine.UsageError("read flag", "--rate", "Give a number of steps per second, such as 5.", errors.New("is not above zero"))
	}
	defer a.BoundForPlan(path)()
	job, err := a.applyJob(ctx, path, o)
	if err != nil {
		return err
	}
	if !o.dryRun {
		if err := outfile.Check(outcomePath(path, ".json")); err != nil {
			return err
		}
	}
	journal, noted, err := a.openApplyJournal(ctx, job, o)
	if err != nil {
		return err
	}
	if journal == nil {
		return a.runApply(ctx, path, job, o)
	}
	job.Journal = journal
	if !noted {
		job.Journal = notingJournal{journal, func(ctx context.Context) error {
			db, err := a.OpenStore(ctx, store.ReadWrite)
			if err != nil {
				return err
			}
			return errors.Join(db.BeginApply(ctx, job.SHA, journal.Path()), db.Close())
		}}
	}
	if !o.dryRun {
		err = job.Judge.(*pipeline.FreshJudge).SettleIn(journal.Path())
	}
	if err == nil {
		a.warnOfRegress(ctx, path, job.Plan, journal)
		err = a.runApply(ctx, path, job, o)
	}
	return errors.Join(err, journal.Close())
}

// applyJob is the job without what the network and the journal bring.
func (a *app) applyJob(ctx context.Context, path string, o *applyOptions) (apply.Job, error) {
	p, content, err := readPlan(path)
	if err != nil {
		return apply.Job{}, err
	}
	approval, err := a.applyApproval(path, p, content, o.resume)
	if err != nil {
		return apply.Job{}, err
	}
	if err := a.resolveSource(ctx, &o.source); err != nil {
		return apply.Job{}, err
	}
	set, err := a.loadPolicies(ctx, &o.judge)
	if err != nil {
		return apply.Job{}, err
	}
	parsers := remedy.Parsers{
		Token:  func(row []byte) (engine.Token, error) { return collectors.ParseToken(row, a.env.now()) },
		Grants: collectors.ParseGrants, Principal: collectors.ParsePrincipal,
	}
	grounds := plan.Grounds(p.Steps, set.Policy)
	return apply.Job{
		Plan: p, SHA: plan.Digest(content), Bytes: content, Approval: approval,
		Judge:  a.JudgeAfresh(set, p, parsers),
		Clock:  apply.Clock{Now: a.env.now, Sleep: sleep},
		Engine: policy.EngineVersion(), Policies: engine.PolicyDigest(grounds),
		Protected: a.Config.Remediation.Protected,
		Options:   apply.Options{DryRun: o.dryRun, Resume: o.resume, IncludeSelf: o.includeSelf, Rate: o.rate},
		Remedies:  remedy.All(parsers),
		Confirm:   func(ctx context.Context, q apply.Question) error { return a.confirm(ctx, q, o.yes) },
		Tell:      a.tellApply,
	}, nil
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
	known, ok := engine.AsError(err)
	switch {
	case err == nil:
	case resume && ok && (known.Reason == "expired" || known.Reason == "unapproved"):
		a.say("%s: what an earlier run had in hand will be settled, nothing new is begun", err)
		return apply.Approval{Bytes: file, Steps: map[string]bool{}}, nil
	default:
		return apply.Approval{}, on(path, err)
	}
	if approved.OnlyPlanner() {
		a.say("%s", onlyPlanner(p.Planner))
	}
	var by []string
	for _, approver := range approved.By {
		by = append(by, approver.Name)
	}
	return apply.Approval{Bytes: file, By: by, Steps: approved.Steps, Until: approved.ExpiresAt}, nil
}

// openApplyJournal opens the journal. A dry run only reads one that is there.
// One that does not know a plan which the database has noted as begun is refused,
// unless a new one is asked for; noted tells that nothing needs to be noted.
func (a *app) openApplyJournal(ctx context.Context, job apply.Job, o *applyOptions) (j *journal.Journal, noted bool, err error) {
	path, mode := a.JournalPath(o.journal), store.ReadWrite
	if o.dryRun {
		mode = store.ReadOnly
	}
	before, err := a.appliedWith(ctx, job.SHA, mode)
	if err != nil {
		return nil, false, err
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

// appliedWith is the journal with which a plan was begun, as the database has it noted.
func (a *app) appliedWith(ctx context.Context, plan string, mode store.Mode) (string, error) {
	if _, err := os.Stat(a.DBPath); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	db, err := a.OpenStore(ctx, mode)
	if err != nil {
		return "", err
	}
	with, err := db.AppliedWith(ctx, plan)
	return with, errors.Join(err, db.Close())
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

// runApply signs in, carries the job out, and tells what became of it.
func (a *app) runApply(ctx context.Context, path string, job apply.Job, o *applyOptions) error {
	judge := job.Judge.(*pipeline.FreshJudge)
	defer judge.Close()
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
		a.refresh(context.WithoutCancel(ctx), judge, &o.source)
	}
	if ctx.Err() != nil {
		a.say("Stopped. What was in hand is in the journal; go on with: patrol apply %s --resume", path)
	}
	if applied && o.idempotent {
		return nil
	}
	return err
}

// refresh snapshots the workspaces again, so that the next audit starts from
// what apply left. That it fails changes nothing about what was applied.
func (a *app) refresh(ctx context.Context, judge *pipeline.FreshJudge, o *pipeline.Source) {
	err := a.WithStore(ctx, store.ReadWrite, func(db *store.DB) error {
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
	if err != nil {
		a.say("warning: the snapshots were not refreshed: %s", err)
	}
}

// outcomePath names a file beside the plan: plan.outcome.json for plan.json.
func outcomePath(plan, ending string) string {
	return strings.TrimSuffix(plan, filepath.Ext(plan)) + ".outcome" + ending
}

// interactive reports whether somebody can answer questions.
func (e *env) interactive() bool {
	file, ok := e.stdin.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
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
	var failed error
	for _, target := range byName(a.Targets(&o.source), job.Plan.Workspaces) {
		if len(job.Workspaces) == len(wanted) {
			return nil
		}
		session, err := collectors.SignIn(ctx, target, a.CollectOptions(&o.source))
		if err != nil {
			a.say("%s: %s", target.Label(), err)
			failed = err
			continue
		}
		id := session.Workspace().ID
		if _, served := job.Workspaces[id]; served || !slices.Contains(wanted, id) {
			a.detail("%s: leads to workspace %s, in which nothing is to be done", target.Label(), id)
			if err := session.Close(); err != nil {
				return err
			}
			continue
		}
		judge.Sessions[id] = session
		job.Workspaces[id] = applyWorkspace(session)
	}
	if len(job.Workspaces) == len(wanted) {
		return nil
	}
	return refusedSignIn(failed)
}

// refusedSignIn is why a workspace could not be signed in to. Nothing was sent,
// so that it counts as a refusal; a wrong configuration stays one. Without any
// failure the gates tell which workspace nobody leads to.
func refusedSignIn(failed error) error {
	known, ok := engine.AsError(failed)
	if !ok || known.Class == engine.ClassUsage {
		return failed
	}
	told := *known
	told.Class, told.Op = engine.ClassRefused, "sign in to"
	return &told
}

func byName(targets []collectors.Target, workspaces []engine.PlanWorkspace) []collectors.Target {
	named := func(t collectors.Target) int {
		for _, w := range workspaces {
			if t.Label() == w.Name {
				return 0
			}
		}
		return 1
	}
	sorted := slices.Clone(targets)
	slices.SortStableFunc(sorted, func(x, y collectors.Target) int { return named(x) - named(y) })
	return sorted
}

func applyWorkspace(s *collectors.Session) apply.Workspace {
	caller := s.Caller()
	return apply.Workspace{
		Workspace: s.Workspace(), Client: s, Skew: s.Skew(), Now: s.Now,
		Caller: apply.Caller{ID: caller.ID, Name: caller.Name, Admin: caller.Admin, PAT: caller.AuthType == "pat", TokenID: caller.TokenID},
		Tokens: func(ctx context.Context) (iter.Seq2[engine.Token, error], error) {
			section, err := s.Tokens(ctx)
			return section.Tokens, err
		},
	}
}

// confirm asks before anything is sent, and once more after the first steps.
// Where nobody can answer, nothing is sent.
func (a *app) confirm(ctx context.Context, q apply.Question, yes bool) error {
	if q.Canary {
		return a.confirmCanary(ctx, q, yes)
	}
	line := fmt.Sprintf("%s (%s): %s, of %s", engine.SafeText(q.Workspace.Name), q.Workspace.ID, plural(q.Steps, "step"), plural(q.Owners, "owner"))
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

func (a *app) confirmCanary(ctx context.Context, q apply.Question, yes bool) error {
	if yes || !a.env.interactive() {
		return nil
	}
	answer, err := a.ask(ctx, fmt.Sprintf("%s done, %d left in %s. Does everything still work? Type yes to go on: ", plural(q.Done, "step"), q.Steps, engine.SafeText(q.Workspace.Name)))
	if err == nil && !strings.EqualFold(answer, "yes") {
		err = errors.New("declined")
	}
	return err
}

// ask reads a line from the terminal, or gives up when ctx ends.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(a.env.stderr, question)
	type line struct {
		text string
		err  error
	}
	lines := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(a.env.stdin).ReadString('\n')
		lines <- line{strings.TrimSpace(text), err}
	}()
	select {
	case got := <-lines:
		if errors.Is(got.err, io.EOF) {
			got.err = nil // the end of input is an answer: not yes
		}
		return got.text, got.err
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
		text := fmt.Sprintf("[%d/%d] %s %s %s", e.N, e.Of, e.Workspace, e.Step.Action, targetOf(e.Step))
		if e.Step.Owner != "" {
			text += " of " + e.Step.Owner
		}
		text += ": " + strings.ReplaceAll(string(e.State), "_", " ")
		if e.Reason != "" {
			text += " (" + e.Reason + ")"
		}
		a.say("%s", text)
		if e.Detail != "" {
			a.detail("  %s", e.Detail)
		}
	case apply.EventWaiting:
		a.detail("%s: waiting %s for %s", e.Workspace, e.Detail, targetOf(e.Step))
	case apply.EventWarning:
		a.say("warning: %s: %s", e.Workspace, e.Detail)
	}
}

func targetOf(s engine.Step) string {
	if len(s.Target) == 64 { // of a token: enough to tell it apart
		return s.Target[:12] + "…"
	}
	return engine.SafeText(s.Target)
}

// deliverOutcome writes what became of the plan beside it, and shows it.
func (a *app) deliverOutcome(ctx context.Context, path string, report engine.OutcomeReport, rehearsed bool) error {
	var files []string
	if !rehearsed {
		files = []string{outcomePath(path, ".json"), outcomePath(path, ".csv"), outcomePath(path, ".xlsx")}
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

// warnOfRegress tells when the journal is older than the outcome beside the
// plan says: it was restored from a copy, or is another one. Every step is
// looked at again before anything is sent, so that it may go on.
func (a *app) warnOfRegress(ctx context.Context, path string, p engine.Plan, journal *journal.Journal) {
	content, err := os.ReadFile(outcomePath(path, ".json"))
	var before engine.OutcomeReport
	if err != nil || json.Unmarshal(content, &before) != nil || before.PlanID != p.ID {
		return
	}
	for _, w := range before.Workspaces {
		epoch, err := journal.LastEpoch(ctx, w.ID)
		if err == nil && epoch < w.Epoch {
			a.say("warning: journal_regressed: %s knows %s of %s, the outcome beside the plan knows %s: it is another journal, or an old copy",
				journal.Path(), plural(int(epoch), "run"), w.Name, strconv.FormatInt(w.Epoch, 10))
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
