package eval

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"patrol/engine"
	"patrol/engine/policy"
)

// Job is one snapshot to judge.
type Job struct {
	Snapshot engine.Snapshot
	// Previous is settings and grants as they were before; nil when nobody knows.
	Previous *engine.State
	AsOf     time.Time
	// Tokens may be nil when the section is not usable. Peers may be left out where
	// they are not asked for. It is ranged over once
	// for the policies judged in this process and once for those in a sandbox,
	// each time from a goroutine of its own or the calling one.
	Tokens func(peers bool) iter.Seq2[engine.Subject, error] `json:"-"`
	// Tuning is per policy id, already resolved for this workspace.
	Tuning map[string]policy.Tuning
	// Except may change the status of a failed finding to waived or baselined
	// and say by which waiver. It is called where emit is; nil changes nothing.
	Except func(engine.Finding) engine.Finding `json:"-"`
}

// batchSize is the number of tokens that go to a worker at once: enough to
// make the hand-over cheap, few enough to keep memory small.
const batchSize = 128

// batch is what a worker made of some tokens.
type batch struct {
	findings []engine.Finding
	counts   []counts // by assignment
}

// counts are the results that are no findings.
type counts struct{ pass, notApplicable int }

// evaluation is a job under way.
type evaluation struct {
	job     Job
	set     *Set
	view    *workspaceView
	options Options
	clock   clock
	emit    func(engine.Finding) error
	tallies map[string]engine.Tally
}

// Evaluate gives every resource of a snapshot one result per policy and emits
// those that are findings, from the calling goroutine, in no particular order.
// The tallies count all results by policy id; policies that the tuning
// disables have none.
func (s *Set) Evaluate(ctx context.Context, job Job, emit func(engine.Finding) error) (map[string]engine.Tally, error) {
	e, err := s.prepare(job, emit)
	if err != nil {
		return nil, err
	}
	if err := e.run(ctx, s.Resources); err != nil {
		return nil, fmt.Errorf("evaluate workspace %s: %w", job.Snapshot.Workspace.Name, err)
	}
	return e.tallies, nil
}

func (s *Set) prepare(job Job, emit func(engine.Finding) error) (*evaluation, error) {
	if err := s.CheckTuning(job.Tuning); err != nil {
		return nil, err
	}
	view, err := newWorkspaceView(job.Snapshot, job.Previous, job.AsOf)
	if err != nil {
		return nil, &engine.Error{
			Class: engine.ClassStorage, Reason: "corrupt", Op: "evaluate", Target: job.Snapshot.Workspace.Name,
			Hint: "Run patrol snapshots verify, and collect the workspace again.", Err: err,
		}
	}
	options := s.options
	options.Deadline = cmp.Or(options.Deadline, defaultDeadline)
	options.Workers = min(cmp.Or(options.Workers, runtime.GOMAXPROCS(0)), 1+job.Snapshot.Tokens/batchSize)
	return &evaluation{
		job: job, set: s, view: view, options: options, emit: emit,
		clock: clock{time.Now()}, tallies: map[string]engine.Tally{},
	}, nil
}

// run judges the workspace, then its tokens.
func (e *evaluation) run(ctx context.Context, policies []*policy.Compiled) error {
	return e.guarded(ctx, policies, func(ctx context.Context, judges []*judge, own, thirdParty []*assignment) error {
		if err := e.judgeAll(ctx, judges, own); err != nil {
			return err
		}
		return e.judgeThirdParty(ctx, thirdParty)
	})
}

// guarded does work by policies, of which third-party ones run in a sandbox, under the
// deadline.
func (e *evaluation) guarded(ctx context.Context, policies []*policy.Compiled, work func(ctx context.Context, judges []*judge, own, thirdParty []*assignment) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	assignments, err := e.assign(policies)
	if err != nil {
		return err
	}
	var own, thirdParty []*assignment
	for _, a := range assignments {
		if e.isThirdParty(a) {
			thirdParty = append(thirdParty, a)
		} else {
			own = append(own, a)
		}
	}
	judges, err := e.judges(ctx, own)
	if err != nil {
		return err
	}
	guarded := make(chan struct{})
	go func() {
		defer close(guarded)
		guard(ctx, e.clock, e.options.Deadline, judges)
	}()
	err = work(ctx, judges, own, thirdParty)
	cancel()
	<-guarded
	return err
}

// assign tunes the policies. One whose needs are not covered here is unknown,
// once, and goes no further; one whose needs nobody asked for, or that is about
// tokens where they are off, does not apply.
func (e *evaluation) assign(policies []*policy.Compiled) ([]*assignment, error) {
	var assignments []*assignment
	for _, p := range policies {
		if e.job.Tuning[p.ID].Disabled {
			continue
		}
		a, err := newAssignment(p, e.job.Tuning[p.ID])
		if err != nil {
			return nil, err
		}
		e.tallies[p.ID] = engine.Tally{}
		if e.view.notApplicable(p) {
			e.tallies[p.ID][engine.NotApplicable]++
			continue
		}
		gaps := e.view.gaps(p)
		if len(gaps) == 0 {
			assignments = append(assignments, a)
			continue
		}
		o := outcome{status: engine.Unknown, message: "not judged: " + strings.Join(gaps, "; ")}
		if err := e.report(e.view.finding(a, e.view.itself(), o)); err != nil {
			return nil, err
		}
	}
	return assignments, nil
}

func (e *evaluation) judges(ctx context.Context, assignments []*assignment) ([]*judge, error) {
	judges := make([]*judge, e.options.Workers)
	for i := range judges {
		j, err := newJudge(ctx, e, assignments)
		if err != nil {
			return nil, err
		}
		judges[i] = j
	}
	return judges, nil
}

func (e *evaluation) judgeAll(ctx context.Context, judges []*judge, assignments []*assignment) error {
	var forTokens []*assignment
	for _, a := range assignments {
		var err error
		switch a.Resource {
		case engine.ResourceToken:
			forTokens = append(forTokens, a)
		case engine.ResourceSecret:
			err = e.judgeSecrets(ctx, judges[0], a)
		default:
			err = e.judgeWorkspace(ctx, judges[0], a)
		}
		if err != nil {
			return err
		}
	}
	if len(forTokens) == 0 {
		return nil
	}
	if e.job.Tokens == nil {
		return errNoRows
	}
	if !e.options.NoPrefilter {
		for _, a := range forTokens {
			a.filter, _ = e.set.filters.prefilter(ctx, a, judges[0].input(a)) // without one it is run on every token
		}
	}
	return e.judgeTokens(ctx, judges, forTokens)
}

func (e *evaluation) judgeWorkspace(ctx context.Context, j *judge, a *assignment) error {
	o := j.workspace(ctx, a)
	if err := ctx.Err(); err != nil {
		return err
	}
	if !o.status.Finding() {
		e.tallies[a.ID][o.status]++
		return nil
	}
	return e.report(e.view.finding(a, e.view.itself(), o))
}

// judgeTokens runs reader → workers → this goroutine, which alone emits.
func (e *evaluation) judgeTokens(ctx context.Context, judges []*judge, assignments []*assignment) error {
	group, ctx := errgroup.WithContext(ctx)
	rows := make(chan []engine.Subject, len(judges))
	results := make(chan batch, len(judges))
	group.Go(func() error { defer close(rows); return hand(ctx, e.job.Tokens(comparesTokens(assignments)), rows) })
	workers, workCtx := errgroup.WithContext(ctx)
	for _, j := range judges {
		workers.Go(func() error { return j.work(workCtx, assignments, rows, results) })
	}
	group.Go(func() error { defer close(results); return workers.Wait() })
	emitted := e.collect(assignments, results, group)
	if err := group.Wait(); emitted == nil {
		return err
	}
	return emitted
}

// hand hands tokens out in batches.
func hand[T any](ctx context.Context, tokens iter.Seq2[T, error], to chan<- []T) error {
	next := make([]T, 0, batchSize)
	for t, err := range tokens {
		if err != nil {
			return fmt.Errorf("read tokens: %w", err)
		}
		if next = append(next, t); len(next) < batchSize {
			continue
		}
		if err := send(ctx, to, next); err != nil {
			return err
		}
		next = make([]T, 0, batchSize)
	}
	return send(ctx, to, next)
}

func send[T any](ctx context.Context, to chan<- T, value T) error {
	select {
	case to <- value:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work judges batches until there are no more.
func (j *judge) work(ctx context.Context, assignments []*assignment, rows <-chan []engine.Subject, results chan<- batch) error {
	for tokens := range rows {
		b := batch{counts: make([]counts, len(assignments))}
		for _, t := range tokens {
			j.judgeToken(ctx, assignments, t, &b)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := send(ctx, results, b); err != nil {
			return err
		}
	}
	return nil
}

func (j *judge) judgeToken(ctx context.Context, assignments []*assignment, t engine.Subject, b *batch) {
	s := j.view.newSubject(t)
	for i, a := range assignments {
		switch o := j.token(ctx, a, s); o.status {
		case engine.Pass:
			b.counts[i].pass++
		case engine.NotApplicable:
			b.counts[i].notApplicable++
		default:
			b.findings = append(b.findings, j.view.finding(a, ofToken(t), o))
		}
	}
}

// collect emits and counts. After an error it makes the others stop and drains.
func (e *evaluation) collect(assignments []*assignment, results <-chan batch, group *errgroup.Group) error {
	var failed error
	for b := range results {
		if failed != nil {
			continue
		}
		if failed = e.take(assignments, b); failed != nil {
			group.Go(func() error { return failed })
		}
	}
	return failed
}

func (e *evaluation) take(assignments []*assignment, b batch) error {
	for i, a := range assignments {
		add(e.tallies[a.ID], engine.Pass, b.counts[i].pass)
		add(e.tallies[a.ID], engine.NotApplicable, b.counts[i].notApplicable)
	}
	for _, f := range b.findings {
		if err := e.report(f); err != nil {
			return err
		}
	}
	return nil
}

// add keeps zeros out of a tally, so that equal tallies are equal maps.
func add(t engine.Tally, status engine.Status, n int) {
	if n > 0 {
		t[status] += n
	}
}

// report emits a finding after exceptions had their say.
func (e *evaluation) report(f engine.Finding) error {
	if f.Status == engine.Fail && e.job.Except != nil {
		f = e.job.Except(f)
	}
	e.tallies[f.Policy][f.Status]++
	return e.emit(f.AsAccountKnows())
}
