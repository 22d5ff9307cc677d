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

// verifySnapshots holds snapshots against their digests: what somebody edited in
// the database must not become a verdict, a report or a plan. The error is that
// of the first.
func verifySnapshots(ctx context.Context, db *store.DB, snapshots []engine.Snapshot) error {
	list := slices.SortedFunc(slices.Values(snapshots), func(a, b engine.Snapshot) int { return cmp.Compare(a.ID, b.ID) })
	list = slices.CompactFunc(list, func(a, b engine.Snapshot) bool { return a.ID == b.ID })
	return cmp.Or(append([]error{ctx.Err()}, verified(ctx, db, list)...)...)
}

// verified is what is found of each snapshot. Some are held against their digests
// at once, those of a workspace in one pass.
func verified(ctx context.Context, db *store.DB, snapshots []engine.Snapshot) []error {
	found := make([]error, len(snapshots))
	var verifying errgroup.Group
	verifying.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for _, group := range together(snapshots) {
		verifying.Go(func() error {
			list := make([]int64, len(group))
			for i, place := range group {
				list[i] = snapshots[place].ID
			}
			for i, err := range db.VerifySnapshots(ctx, list...) {
				found[group[i]] = err
			}
			return nil
		})
	}
	_ = verifying.Wait()
	return found
}

// mostTogether is how many snapshots are verified in one pass at most.
const mostTogether = 8

// together groups the places of snapshots by their workspace.
func together(snapshots []engine.Snapshot) (groups [][]int) {
	current := map[string]int{}
	for i, s := range snapshots {
		group, known := current[s.Workspace.ID]
		if !known || len(groups[group]) == mostTogether {
			group = len(groups)
			current[s.Workspace.ID], groups = group, append(groups, nil)
		}
		groups[group] = append(groups[group], i)
	}
	return groups
}

// judged are the snapshots that a report is of.
func judged(r engine.Report) []engine.Snapshot {
	list := make([]engine.Snapshot, len(r.Workspaces))
	for i, w := range r.Workspaces {
		list[i] = w.Snapshot
	}
	return list
}
