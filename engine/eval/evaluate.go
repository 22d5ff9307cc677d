package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync"
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

// evaluation is a job under way.
type evaluation struct {
	job             Job
	set             *Set
	view            *workspaceView
	options         Options
	emit            func(engine.Finding) error
	tallies         map[string]engine.Tally
	own, thirdParty []*assignment // policies as tuned: those judged in this process, and those in a sandbox
	judges          []*judge      // of own
}

// Evaluate gives every resource of a snapshot one result per policy and emits
// those that are findings, from the calling goroutine, in no particular order.
// The tallies count all results by policy id; policies that the tuning
// disables have none.
func (s *Set) Evaluate(ctx context.Context, job Job, emit func(engine.Finding) error) (map[string]engine.Tally, error) {
	e, err := s.start(ctx, job, emit)
	if err != nil {
		return nil, err
	}
	err = e.judgeOwn(ctx)
	if err == nil {
		err = e.judgeThirdParty(ctx, e.thirdParty)
	}
	if err != nil {
		return nil, fmt.Errorf("evaluate workspace %s: %w", job.Snapshot.Workspace.Name, err)
	}
	return e.tallies, nil
}

// start tunes the policies. One whose needs are not covered here is unknown,
// once, and goes no further; one whose needs nobody asked for, or that is about
// tokens where they are off, does not apply.
func (s *Set) start(ctx context.Context, job Job, emit func(engine.Finding) error) (*evaluation, error) {
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
	e := &evaluation{job: job, set: s, view: view, options: s.options, emit: emit, tallies: map[string]engine.Tally{}}
	e.options.Deadline = s.deadline()
	e.options.Workers = min(cmp.Or(s.options.Workers, runtime.GOMAXPROCS(0)), 1+job.Snapshot.Tokens/batchSize)
	for _, p := range s.Resources {
		if job.Tuning[p.ID].Disabled {
			continue
		}
		a, err := newAssignment(p, job.Tuning[p.ID])
		if err != nil {
			return nil, err
		}
		e.tallies[p.ID] = engine.Tally{}
		gaps := view.gaps(p)
		switch {
		case view.notApplicable(p):
			e.tallies[p.ID][engine.NotApplicable]++
		case len(gaps) > 0:
			o := outcome{status: engine.Unknown, message: "not judged: " + strings.Join(gaps, "; ")}
			if err := e.report(view.finding(a, view.itself(), o)); err != nil {
				return nil, err
			}
		case s.options.Sandbox != nil && !p.Trusted:
			e.thirdParty = append(e.thirdParty, a)
		default:
			e.own = append(e.own, a)
		}
	}
	for range e.options.Workers {
		j, err := newJudge(ctx, e.options, view, job.AsOf, e.own)
		if err != nil {
			return nil, err
		}
		e.judges = append(e.judges, j)
	}
	return e, nil
}

var errNoRows = errors.New("the snapshot has tokens, the job has none")

// judgeOwn judges the workspace and its secrets, then its tokens on all judges.
func (e *evaluation) judgeOwn(ctx context.Context) error {
	first := e.judges[0]
	var forTokens []*assignment
	for _, a := range e.own {
		count := func(on target, o outcome) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case o.status.Finding():
				return e.report(e.view.finding(a, on, o))
			}
			e.tallies[a.ID][o.status]++
			return nil
		}
		switch a.Resource {
		case engine.ResourceToken:
			forTokens = append(forTokens, a)
			if !e.options.NoPrefilter {
				a.filter, _ = e.set.filters.prefilter(ctx, a, first.input(a)) // without one it is run on every token
			}
		case engine.ResourceSecret:
			for _, secret := range e.view.secrets {
				if err := count(ofSecret(secret), first.secret(ctx, a, secret)); err != nil {
					return err
				}
			}
		default:
			if err := count(e.view.itself(), first.workspace(ctx, a)); err != nil {
				return err
			}
		}
	}
	if len(forTokens) == 0 {
		return nil
	}
	if e.job.Tokens == nil {
		return errNoRows
	}
	type results struct {
		findings            []engine.Finding
		pass, notApplicable []int // by assignment
	}
	read := fieldsRead(forTokens)
	judge := func(ctx context.Context, j *judge, tokens []engine.Subject) results {
		r := results{pass: make([]int, len(forTokens)), notApplicable: make([]int, len(forTokens))}
		for _, t := range tokens {
			s := j.view.newSubject(t, read)
			for i, a := range forTokens {
				switch o := j.token(ctx, a, s); o.status {
				case engine.Pass:
					r.pass[i]++
				case engine.NotApplicable:
					r.notApplicable[i]++
				default:
					r.findings = append(r.findings, j.view.finding(a, ofToken(t), o))
				}
			}
			if ctx.Err() != nil {
				break
			}
		}
		return r
	}
	return sideBySide(ctx, e.judges, e.job.Tokens(read&peerFields() != 0), judge, func(r results) error {
		for i, a := range forTokens {
			add(e.tallies[a.ID], engine.Pass, r.pass[i])
			add(e.tallies[a.ID], engine.NotApplicable, r.notApplicable[i])
		}
		for _, f := range r.findings {
			if err := e.report(f); err != nil {
				return err
			}
		}
		return nil
	})
}

// sideBySide hands tokens out in batches, a batch to whichever judge is free, and
// takes what comes of each, from the calling goroutine, in no particular order.
// After the first error, or once ctx has ended, nothing more is taken.
func sideBySide[T, R any](
	ctx context.Context, judges []*judge, tokens iter.Seq2[T, error],
	judge func(context.Context, *judge, []T) R, take func(R) error,
) error {
	group, ctx := errgroup.WithContext(ctx)
	batches, results := make(chan []T, len(judges)), make(chan R, len(judges))
	group.Go(func() error {
		defer close(batches)
		next := make([]T, 0, batchSize)
		for t, err := range tokens {
			if err != nil {
				return fmt.Errorf("read tokens: %w", err)
			}
			if next = append(next, t); len(next) == batchSize {
				if err := send(ctx, batches, next); err != nil {
					return err
				}
				next = make([]T, 0, batchSize)
			}
		}
		return send(ctx, batches, next)
	})
	var judging sync.WaitGroup
	for _, j := range judges {
		judging.Add(1)
		group.Go(func() error {
			defer judging.Done()
			for batch := range batches {
				result := judge(ctx, j, batch)
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := send(ctx, results, result); err != nil {
					return err
				}
			}
			return nil
		})
	}
	go func() {
		judging.Wait()
		close(results)
	}()
	var failed error
	for result := range results {
		if failed != nil {
			continue // until the others have stopped
		}
		if failed = take(result); failed != nil {
			group.Go(func() error { return failed })
		}
	}
	if err := group.Wait(); failed == nil {
		return err
	}
	return failed
}

func send[T any](ctx context.Context, to chan<- T, value T) error {
	select {
	case to <- value:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
