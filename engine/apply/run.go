package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// run is a job under way.
type run struct {
	job      Job
	remedies map[engine.Action]remedy.Remedy
	entries  map[string]engine.Entry // by step id, as the journal has them
	expired  bool                    // settle what is in hand, begin nothing
	before   map[string]ids          // tokens at the beginning, by workspace id
	latest   map[string]ids          // and when they were listed last
	acted    int                     // steps that this run sent a request for
	asked    bool                    // whether to go on after the first of them
	refusals int                     // in a row
}

// Run carries the job out. Whatever happens, the report tells what is known;
// the error tells how it ended: nil when every approved step came to its
// purpose.
//
//	ClassRefused  a gate; nothing was sent
//	ClassPartial  some step was not carried out, or the run stopped
//	ClassStorage  the journal cannot be written; nothing is sent after that
//
// When ctx ends the step in hand is brought to rest first.
func (j Job) Run(ctx context.Context) (engine.OutcomeReport, error) {
	r := newRun(j)
	err := r.reload(ctx)
	if err == nil {
		err = r.gates(ctx)
	}
	if err != nil {
		report, failed := r.report(ctx)
		return report, errors.Join(err, failed)
	}
	if r.job.Options.DryRun {
		return r.rehearse(ctx)
	}
	return r.perform(ctx)
}

func newRun(j Job) *run {
	j.Options.Rate, j.Options.Canary = cmp.Or(j.Options.Rate, 5), cmp.Or(j.Options.Canary, 3)
	if j.Tell == nil {
		j.Tell = func(Event) {}
	}
	r := &run{job: j, remedies: map[engine.Action]remedy.Remedy{}, before: map[string]ids{}, latest: map[string]ids{}}
	for _, one := range j.Remedies {
		r.remedies[one.Name] = one
	}
	return r
}

// reload reads where the steps stand.
func (r *run) reload(ctx context.Context) error {
	r.entries = map[string]engine.Entry{}
	if r.job.Journal == nil {
		return nil
	}
	entries, err := r.job.Journal.Entries(ctx, r.job.SHA)
	for _, entry := range entries {
		r.entries[entry.Step] = entry
	}
	return err
}

// gates passes everything that must hold before the first write, and lists the
// tokens of each workspace that has steps on them.
func (r *run) gates(ctx context.Context) error {
	if err := r.offline(); err != nil {
		return err
	}
	if err := r.signedIn(); err != nil {
		return err
	}
	for _, w := range r.involved() {
		if slices.ContainsFunc(r.steps(), func(s engine.Step) bool { return s.WorkspaceID == w.ID && remedy.OnToken(s) }) {
			found, err := r.list(ctx, w.ID)
			if err != nil {
				return refused("unreadable", w.Name, "Run it again when the workspace can be read.", "list tokens: %w", err)
			}
			r.before[w.ID] = found
			if err := r.checkPopulation(w, len(found)); err != nil {
				return err
			}
		}
		r.job.Tell(Event{Kind: EventGates, Workspace: w.Name, Of: len(r.openIn(w.ID))})
	}
	return nil
}

// perform is the part that writes. It asks for each workspace in which something will
// be done before the first write anywhere, and takes the plan into the journal, and
// with it the right to write.
func (r *run) perform(ctx context.Context) (engine.OutcomeReport, error) {
	for _, w := range r.involved() {
		q := r.question(w, r.openIn(w.ID))
		if q.Steps == 0 || r.expired {
			continue
		}
		if err := r.job.Confirm(ctx, q); err != nil {
			report, failed := r.report(ctx)
			return report, errors.Join(err, failed)
		}
	}
	durable := context.WithoutCancel(ctx)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	err = r.job.Journal.Begin(durable, engine.Registration{
		SHA: r.job.SHA, Bytes: r.job.Bytes, Approval: r.job.Approval.Bytes, By: r.job.Approval.By,
		Steps: r.steps(), Host: host, PID: os.Getpid(),
	})
	if err == nil {
		err = r.reload(durable)
	}
	if err == nil {
		for _, w := range r.involved() {
			if err = r.workspace(ctx, w); err != nil {
				break
			}
		}
	}
	err = errors.Join(err, r.conclude(durable, err))
	report, failed := r.report(durable)
	if err = errors.Join(err, failed); err == nil {
		err = verdict(report)
	}
	return report, explain(err, report.PlanID)
}

func (r *run) question(w engine.PlanWorkspace, open []engine.Step) Question {
	q := Question{Workspace: w, Done: r.acted, Recently: r.job.Plan.Limits.RecentlyUsedDays}
	owners := map[string]bool{}
	for _, step := range changingOf(open) {
		q.Steps++
		if step.Risk.RecentlyUsed && remedy.Of(step.Action).Safe == "" {
			q.Recent++
		}
		if step.OwnerID != "" {
			owners[step.OwnerID] = true
		}
	}
	q.Owners = len(owners)
	q.Dangers = remedy.Dangers(r.job.Plan, func(id string) bool { return slices.ContainsFunc(open, func(s engine.Step) bool { return s.ID == id }) })
	return q
}

// stopped ends a run before its time.
type stopped struct {
	reason string
	detail string
}

func (s stopped) Error() string { return s.reason + ": " + s.detail }

// explain turns the end of a run before its time into what a user is told.
func explain(err error, plan string) error {
	var s stopped
	if _, told := engine.AsError(err); told || !errors.As(err, &s) {
		return err
	}
	hint := "What was in hand is in the journal; see to the cause, then run `patrol apply --resume`."
	switch s.reason {
	case string(engine.FaultUnauthenticated):
		hint = "Sign in again, then run `patrol apply --resume`."
	case reasonExpired:
		hint = "Approve what is left again and run `patrol apply --resume`; if the plan itself has expired, plan again."
	}
	return &engine.Error{Class: engine.ClassPartial, Reason: s.reason, Op: "apply", Target: plan, Hint: hint, Err: errors.New("stopped: " + s.detail)}
}

// workspace carries out the open steps of a workspace.
func (r *run) workspace(ctx context.Context, w engine.PlanWorkspace) error {
	open := r.openIn(w.ID)
	pace := newPacer(r.job)
	place, changing := 0, len(changingOf(open))
	for n, step := range open {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := r.canary(ctx, w, open[n:]); err != nil {
			return err
		}
		if remedy.Changes(step) {
			place++
		}
		if err := pace.before(ctx, step); err != nil {
			return err
		}
		err := r.step(ctx, step)
		entry := r.entries[step.ID]
		r.job.Tell(Event{Kind: EventStep, Workspace: w.Name, Step: step, State: entry.State, Reason: entry.Reason, Detail: entry.Detail, N: place, Of: changing})
		if err != nil {
			return err
		}
	}
	return nil
}

// canary asks once more when the first few steps of a run were carried out.
func (r *run) canary(ctx context.Context, w engine.PlanWorkspace, left []engine.Step) error {
	if r.asked || r.acted < r.job.Options.Canary {
		return nil
	}
	r.asked = true
	q := r.question(w, left)
	q.Canary = true
	if err := r.job.Confirm(ctx, q); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return stopped{"declined", "stopped after the first steps, on request"}
	}
	return nil
}

// step brings one step to rest.
func (r *run) step(ctx context.Context, s engine.Step) error {
	live := r.job.Workspaces[s.WorkspaceID]
	it := &item{run: r, step: s, live: live, remedy: r.remedies[s.Action], entry: r.entries[s.ID]}
	attempts := it.entry.Attempt
	err := it.settle(ctx)
	r.entries[s.ID] = it.entry
	if it.entry.Attempt > attempts {
		r.acted++
	}
	if err != nil {
		return err
	}
	if it.entry.State != engine.StateRefused && it.entry.Reason != reasonForbidden {
		r.refusals = 0
		return nil
	}
	r.refusals++
	if r.refusals < maxRefusals { // the rights of this run seem to have gone
		return nil
	}
	return stopped{reasonForbidden, fmt.Sprintf("%d steps in a row were refused", r.refusals)}
}

const maxRefusals = 3

// approved are the approved steps in the order of the plan.
func (r *run) approved() []engine.Step {
	var steps []engine.Step
	for _, step := range r.job.Plan.Steps {
		if r.job.Approval.Steps[step.ID] {
			steps = append(steps, step)
		}
	}
	return steps
}

// steps are those that this run is about: the approved ones, and those that
// the journal knows although their approval was withdrawn since.
func (r *run) steps() []engine.Step {
	var steps []engine.Step
	for _, step := range r.job.Plan.Steps {
		if _, known := r.entries[step.ID]; known || r.job.Approval.Steps[step.ID] {
			steps = append(steps, step)
		}
	}
	return steps
}

// changingOf are the steps that send something.
func changingOf(steps []engine.Step) []engine.Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s engine.Step) bool { return !remedy.Changes(s) })
}

// involved are the workspaces in which something is left to do.
func (r *run) involved() []engine.PlanWorkspace {
	var found []engine.PlanWorkspace
	for _, w := range r.job.Plan.Workspaces {
		if len(r.openIn(w.ID)) > 0 {
			found = append(found, w)
		}
	}
	return found
}

// openIn are the steps of a workspace that have not ended, in the order in
// which they are carried out: the plan's, but our own tokens after all others,
// and switching tokens off last of all.
func (r *run) openIn(workspace string) []engine.Step {
	var open []engine.Step
	for _, step := range r.steps() {
		entry, known := r.entries[step.ID]
		if step.WorkspaceID == workspace && (!known || !entry.State.Terminal()) {
			open = append(open, step)
		}
	}
	me := r.job.Workspaces[workspace].Caller.ID
	rank := func(s engine.Step) int {
		switch {
		case remedy.DisablesTokens(s):
			return 2
		case remedy.OnToken(s) && me != "" && (s.OwnerID == me || s.Precondition.Identity["created_by_id"] == me):
			return 1
		}
		return 0
	}
	slices.SortStableFunc(open, func(a, b engine.Step) int { return cmp.Compare(rank(a), rank(b)) })
	return open
}

// Check passes the gates that need no network. Run passes them again; who calls
// Check first need not sign in anywhere for a plan that is refused.
func (j Job) Check(ctx context.Context) error {
	r := newRun(j)
	if err := r.reload(ctx); err != nil {
		return err
	}
	return r.offline()
}

// Needed are the ids of the workspaces in which something is left to do.
func (j Job) Needed(ctx context.Context) ([]string, error) {
	r := newRun(j)
	if err := r.reload(ctx); err != nil {
		return nil, err
	}
	var needed []string
	for _, w := range r.involved() {
		needed = append(needed, w.ID)
	}
	return needed, nil
}

// pacer keeps steps apart, so that a wrong plan does its harm slowly enough to
// be stopped.
type pacer struct {
	clock Clock
	every time.Duration
	next  time.Time
}

func newPacer(j Job) *pacer {
	return &pacer{clock: j.Clock, every: time.Duration(float64(time.Second) / j.Options.Rate)}
}

// before waits until a step may begin. One that sends nothing need not wait.
func (p *pacer) before(ctx context.Context, s engine.Step) error {
	if !remedy.Changes(s) {
		return nil
	}
	now := p.clock.Now()
	if wait := p.next.Sub(now); wait > 0 && !p.next.IsZero() {
		if err := p.clock.Sleep(ctx, min(wait, p.every)); err != nil {
			return context.Cause(ctx)
		}
	}
	p.next = p.clock.Now().Add(p.every)
	return nil
}
