package pipeline

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/store"
)

// WhatIf is the name of an evaluation that says what would be: by the flag, or
// because it judges as of a moment that is not now. "" is an evaluation of what
// is. The day of the newest snapshot, and all since, is now.
func (r *Run) WhatIf(snapshots []engine.Snapshot, o *Judging) string {
	today := AsOf(snapshots, time.Time{}).Truncate(24 * time.Hour)
	if o.WhatIf != "" || o.AsOf.IsZero() || !o.AsOf.Before(today) && !o.AsOf.After(r.Now()) {
		return o.WhatIf
	}
	return "as of " + o.AsOf.UTC().Format(time.RFC3339)
}

// Evaluate judges snapshots, stores the results, and returns the id of the
// evaluation.
func (r *Run) Evaluate(ctx context.Context, db *store.DB, policies *Policies, snapshots []engine.Snapshot, o *Judging) (int64, error) {
	header := store.EvaluationHeader{
		AsOf: AsOf(snapshots, o.AsOf), FailOn: o.FailOn, Narrowed: o.Narrowed(), Version: r.Version,
		Policies: policies.InForce(policies.Chosen.Policies(), snapshots...), MayMiss: Everything - o.MinCoverage, WhatIf: r.WhatIf(snapshots, o),
	}
	if len(o.Only)+len(o.Exclude) == 0 && !o.Severity.Given() {
		header.Framework = o.Framework // all of its policies ran
	}
	tokens := 0
	for _, s := range snapshots {
		header.Snapshots = append(header.Snapshots, s.ID)
		tokens += s.Tokens
	}
	evaluation, err := db.BeginEvaluation(ctx, header)
	if err != nil {
		return 0, err
	}
	defer evaluation.Rollback() // no-op once committed
	chosen, stop := policies.Chosen.Keep()
	defer stop()
	active := policies.Exceptions.Start(header.AsOf)
	defer active.Close()
	defer r.boundMemory(judgeBound + judgeBoundEach*int64(tokens) + judgeBoundWorkspace*int64(len(snapshots)))()
	step, end := r.Log.Stage("judging", "token", tokens)
	defer end()
	var writing sync.Mutex // of the evaluation: workspaces are judged side by side
	err = db.Read(ctx, func(view *store.DB) error {
		err := sideBySide(ctx, snapshots, func(ctx context.Context, s engine.Snapshot) error {
			job := eval.Job{Snapshot: s, AsOf: header.AsOf, Tuning: policies.Effective(s.Workspace)}
			var err error
			if job.Previous, err = view.PreviousState(ctx, s); err != nil {
				return err
			}
			if s.Coverage[engine.SectionTokens].Usable() {
				job.Tokens = func(peers bool) iter.Seq2[engine.Subject, error] {
					return counted(view.Subjects(ctx, s.ID, header.AsOf, peers), step)
				}
			}
			if job.Except, err = active.Exempt(ctx, policies, header.AsOf, job.Tuning); err != nil {
				return err
			}
			tallies, err := chosen.Evaluate(ctx, job, func(f engine.Finding) error {
				active.See(f)
				writing.Lock()
				defer writing.Unlock()
				return evaluation.Add(f, s.ID)
			})
			if err != nil {
				return err
			}
			active.Judged(s, tallies)
			writing.Lock()
			defer writing.Unlock()
			for _, id := range engine.SortedKeys(tallies) {
				if err := evaluation.Tally(s.ID, id, tallies[id]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return view.Intact(ctx, snapshots...)
	})
	if err != nil {
		return 0, err
	}
	if err := evaluation.Exceptions(active.Result()); err != nil {
		return 0, err
	}
	r.sayExceptions(active)
	id, err := evaluation.Commit()
	if err != nil {
		return 0, err
	}
	return id, r.createBaseline(ctx, db, id, o.Exceptions.Create, policies.Exceptions.critical)
}

// smallWorkspace is how many tokens a workspace may have to be judged beside others.
// Larger ones keep all processors busy by themselves, and take memory.
const smallWorkspace = 1000

// sideBySide does work for each snapshot, on all processors where they are small.
func sideBySide(ctx context.Context, snapshots []engine.Snapshot, work func(context.Context, engine.Snapshot) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, snapshot := range snapshots {
		if ctx.Err() != nil {
			break
		}
		if snapshot.Tokens <= smallWorkspace {
			group.Go(func() error { return work(ctx, snapshot) })
		} else if err := work(ctx, snapshot); err != nil {
			group.Go(func() error { return err })
		}
	}
	return group.Wait()
}

// AsOf is the moment to judge at: the one asked for, else when the newest
// snapshot was taken, so that judging again gives the same.
func AsOf(snapshots []engine.Snapshot, asked time.Time) time.Time {
	if !asked.IsZero() {
		return asked
	}
	var newest time.Time
	for _, s := range snapshots {
		if s.CollectedAt.After(newest) {
			newest = s.CollectedAt
		}
	}
	return newest
}
