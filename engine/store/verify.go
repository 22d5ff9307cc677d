package store

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"

	"patrol/engine"
	"patrol/engine/sqlite"

	"golang.org/x/sync/errgroup"
)

const opVerify = "verify snapshot"

// VerifySnapshot computes the digest of a snapshot from the stored rows. The
// reason of the error is digest_mismatch when it is not the digest that the
// snapshot was sealed with: something changed it since.
func (db *DB) VerifySnapshot(ctx context.Context, id int64) error {
	s, err := db.Snapshot(ctx, id)
	if err != nil {
		return damagedRow(id, err)
	}
	err = db.verify(ctx, s)
	if e, ok := engine.AsError(err); ok && e.Reason == "digest_mismatch" {
		if _, err := db.Snapshot(ctx, id); err != nil {
			return damagedRow(id, err) // pruned meanwhile
		}
	}
	return err
}

// Intact says whether snapshots are what was sealed. Those that a complete
// reading of this view found intact are not read again. Whoever publishes what
// it read, a file or a verdict, asks this first. The error is that of the first.
func (db *DB) Intact(ctx context.Context, snapshots ...engine.Snapshot) error {
	var left []engine.Snapshot
	for _, s := range snapshots {
		known := db.verified.has(snapshotsIn, s.ID) || slices.ContainsFunc(left, func(o engine.Snapshot) bool { return o.ID == s.ID })
		if !known {
			left = append(left, s)
		}
	}
	slices.SortFunc(left, func(a, b engine.Snapshot) int { return cmp.Compare(a.ID, b.ID) })
	for i, err := range db.VerifySnapshots(ctx, left...) {
		if err != nil {
			return err
		}
		db.verified.add(snapshotsIn, left[i].ID)
	}
	return ctx.Err()
}

// mostTogether is how many snapshots are verified in one pass at most.
const mostTogether = 8

// VerifySnapshots is VerifySnapshot for some snapshots, in their order. Rows that
// those of one workspace share are read once; workspaces are verified side by side.
func (db *DB) VerifySnapshots(ctx context.Context, snapshots ...engine.Snapshot) []error {
	if db.shapes == nil { // snapshots that are there have their shapes
		sharing := *db
		sharing.shapes = &viewShapes{}
		db = &sharing
	}
	groups := map[string][]int{}
	errs := make([]error, len(snapshots))
	var verifying errgroup.Group
	verifying.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for i, s := range snapshots {
		groups[s.Workspace.ID] = append(groups[s.Workspace.ID], i)
	}
	for _, workspace := range engine.SortedKeys(groups) {
		for places := range slices.Chunk(groups[workspace], mostTogether) {
			verifying.Go(func() error {
				db.verifyTogether(ctx, snapshots, places, errs)
				return nil
			})
		}
	}
	_ = verifying.Wait()
	return errs
}

// verifyTogether verifies snapshots of one workspace, at some places of a list.
func (db *DB) verifyTogether(ctx context.Context, all []engine.Snapshot, places []int, errs []error) {
	list := make([]engine.Snapshot, len(places))
	for i, place := range places {
		var err error
		if list[i], err = db.Snapshot(ctx, all[place].ID); err != nil {
			list = nil // each by itself tells which
			break
		}
	}
	if list != nil && db.verify(ctx, list...) == nil {
		return
	}
	for _, place := range places {
		errs[place] = db.VerifySnapshot(ctx, all[place].ID)
	}
}

// verify holds snapshots of one workspace against their digests. The error
// names the first, whatever was found.
func (db *DB) verify(ctx context.Context, list ...engine.Snapshot) error {
	sums, err := db.digests(ctx, list)
	if err != nil {
		return damagedRow(list[0].ID, sqlite.Failure(opVerify, db.Path, err))
	}
	for i, s := range list {
		if err := (&reader{db: db, snapshot: s, digest: sums[i]}).err(); err != nil {
			return err
		}
	}
	return nil
}

func mismatch(id int64, err error) error {
	return sqlite.Refusal(opVerify, strconv.FormatInt(id, 10), "digest_mismatch",
		"Something other than patrol changed the database: restore it from a copy, or collect again into a new one.", err)
}

// damagedRow turns a row that cannot be decoded into what it means here.
func damagedRow(id int64, err error) error {
	if e, ok := engine.AsError(err); ok && e.Reason == sqlite.Unexplained {
		return mismatch(id, e.Err)
	}
	return err
}

// VerifyChain checks that each snapshot of each workspace names the digest of
// the one before, those that were pruned included: none is missing, none was
// slipped in. The reason of the error is chain_broken. Whether the newest ones
// were removed no database can tell of itself: keep the newest digest elsewhere.
func (db *DB) VerifyChain(ctx context.Context) error {
	var workspace int64
	last := ""
	query := `SELECT workspace_key, id, previous, digest FROM snapshot
		UNION ALL SELECT workspace_key, id, previous, digest FROM pruned_snapshot ORDER BY 1, 2`
	for c, err := range sqlite.Scan(ctx, db.q, query) {
		if err != nil {
			return sqlite.Failure(opVerify, db.Path, err)
		}
		key, id, previous, digest := c.Int(), c.Int(), c.Text(), c.Text()
		if c.Err != nil {
			return damagedRow(id, sqlite.Failure(opVerify, db.Path, c.Err))
		}
		if key != workspace {
			workspace, last = key, ""
		}
		if previous != last {
			return sqlite.Refusal(opVerify, strconv.FormatInt(id, 10), "chain_broken",
				"Something other than patrol removed or added a snapshot of that workspace: restore the database from a copy.",
				fmt.Errorf("names %.12s as the digest before, which is %.12s", orNone(previous), orNone(last)))
		}
		last = digest
	}
	return nil
}

func orNone(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest
}
