package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/store"
)

const snapshotRefHelp = "A snapshot is an id; a day or a time (RFC 3339), which means the newest of each workspace then; or latest, and latest~1 for the one before."

// lookUp finds the snapshots of a reference.
type lookUp func(ctx context.Context, db *store.DB) ([]engine.Snapshot, error)

// parseSnapshotRef says how to find the snapshots that a reference names: one by
// its id, else one of each workspace. An error means that it names none.
func parseSnapshotRef(ref string) (lookUp, error) {
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil {
		return func(ctx context.Context, db *store.DB) ([]engine.Snapshot, error) {
			s, err := db.Snapshot(ctx, id)
			return []engine.Snapshot{s}, err
		}, nil
	}
	var find lookUp
	if rest, ok := strings.CutPrefix(ref, "latest"); ok {
		if n, err := strconv.ParseUint(strings.TrimPrefix(rest, "~"), 10, 31); err == nil && rest[0] == '~' {
			find = func(ctx context.Context, db *store.DB) ([]engine.Snapshot, error) { return db.Back(ctx, int(n)) }
		} else if rest == "" {
			find = func(ctx context.Context, db *store.DB) ([]engine.Snapshot, error) { return db.Latest(ctx) }
		}
	} else {
		at, err := time.Parse(time.DateOnly, ref)
		if err == nil {
			at = at.Add(24*time.Hour - time.Millisecond) // the whole day counts
		} else {
			at, err = time.Parse(time.RFC3339, ref)
		}
		if err == nil {
			find = func(ctx context.Context, db *store.DB) ([]engine.Snapshot, error) { return db.AsOf(ctx, at) }
		}
	}
	if find == nil {
		return nil, engine.UsageError("read reference", ref, snapshotRefHelp, fmt.Errorf("names no snapshot"))
	}
	return func(ctx context.Context, db *store.DB) ([]engine.Snapshot, error) {
		found, err := find(ctx, db)
		if err == nil && len(found) == 0 {
			err = &engine.Error{Class: engine.ClassUsage, Reason: "no_snapshot", Op: "find snapshot", Target: ref,
				Hint: "`patrol snapshots list` shows which there are.", Err: fmt.Errorf("no workspace has one")}
		}
		return found, err
	}, nil
}

// snapshotsOf finds the snapshots that a reference names.
func snapshotsOf(ctx context.Context, db *store.DB, ref string) ([]engine.Snapshot, error) {
	find, err := parseSnapshotRef(ref)
	if err != nil {
		return nil, err
	}
	return find(ctx, db)
}
