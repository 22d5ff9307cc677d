package main

import (
	"cmp"
	"context"
	"runtime"
	"slices"

	"patrol/engine"
	"patrol/engine/store"

	"golang.org/x/sync/errgroup"
)

// whileVerifying does work while the snapshots that it reads are held against
// their digests, each once. What work makes must not count before intact, which
// waits for the end of that, returns nil. An edited snapshot is told in place of
// what it made work stumble over.
func whileVerifying(ctx context.Context, db *store.DB, snapshots []engine.Snapshot, work func(intact func() error) error) error {
	verifying, cancel := context.WithCancel(ctx)
	defer cancel()
	var found error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		found = verifySnapshots(verifying, db, snapshots)
	}()
	intact := func() error {
		<-ended
		return found
	}
	err := work(intact)
	if known, ok := engine.AsError(err); ok && known.Class == engine.ClassStorage && damage(intact()) {
		return found
	}
	cancel()
	<-ended
	return err
}

// verifySnapshots holds snapshots against their digests, some at once: what
// somebody edited in the database must not become a verdict, a report or a plan.
// The error is that of the first.
func verifySnapshots(ctx context.Context, db *store.DB, snapshots []engine.Snapshot) error {
	ids := ids(snapshots)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	found := make([]error, len(ids))
	var verifying errgroup.Group
	verifying.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for i, id := range ids {
		verifying.Go(func() error {
			found[i] = db.VerifySnapshot(ctx, id)
			return nil
		})
	}
	_ = verifying.Wait()
	return cmp.Or(append([]error{ctx.Err()}, found...)...)
}

// judged are the snapshots that a report is of.
func judged(r engine.Report) []engine.Snapshot {
	list := make([]engine.Snapshot, len(r.Workspaces))
	for i, w := range r.Workspaces {
		list[i] = w.Snapshot
	}
	return list
}
