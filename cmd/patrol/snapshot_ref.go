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

// snapshotsOf finds the snapshots that a reference names: one by its id, else one
// of each workspace.
func (a *app) snapshotsOf(ctx context.Context, db *store.DB, ref string) ([]engine.Snapshot, error) {
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil {
		s, err := db.Snapshot(ctx, id)
		return []engine.Snapshot{s}, err
	}
	found, err := a.snapshotsAt(ctx, db, ref)
	if err == nil && len(found) == 0 {
		err = &engine.Error{Class: engine.ClassUsage, Reason: "no_snapshot", Op: "find snapshot", Target: ref,
			Hint: "`patrol snapshots list` shows which there are.", Err: fmt.Errorf("no workspace has one")}
	}
	return found, err
}

func (a *app) snapshotsAt(ctx context.Context, db *store.DB, ref string) ([]engine.Snapshot, error) {
	if rest, ok := strings.CutPrefix(ref, "latest"); ok {
		if rest == "" {
			return db.Latest(ctx)
		}
		if n, err := strconv.ParseUint(strings.TrimPrefix(rest, "~"), 10, 31); err == nil && rest[0] == '~' {
			return db.Back(ctx, int(n))
		}
	}
	if day, err := time.Parse(time.DateOnly, ref); err == nil {
		return db.AsOf(ctx, day.Add(24*time.Hour-time.Millisecond)) // the whole day counts
	}
	if at, err := time.Parse(time.RFC3339, ref); err == nil {
		return db.AsOf(ctx, at)
	}
	return nil, engine.UsageError("read reference", ref, snapshotRefHelp, fmt.Errorf("names no snapshot"))
}
