package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/journal"
	"patrol/engine/store"
)

// SnapshotRefHelp says what a reference of a snapshot may be.
const SnapshotRefHelp = "A snapshot is an id; a day or a time (RFC 3339), which means the newest of each workspace then; or latest, and latest~1 for the one before."

// SnapshotsOf finds the snapshots that a reference names, at least one: one by
// its id, else one of each workspace.
func SnapshotsOf(ctx context.Context, db *store.DB, ref string) (found []engine.Snapshot, err error) {
	if id, notID := strconv.ParseInt(ref, 10, 64); notID == nil {
		one, err := db.Snapshot(ctx, id)
		return []engine.Snapshot{one}, err
	}
	back, notBack := strconv.ParseUint(strings.TrimPrefix(ref, "latest~"), 10, 31)
	at, notTime := time.Parse(time.RFC3339, ref)
	if day, err := time.Parse(time.DateOnly, ref); err == nil {
		at, notTime = day.Add(24*time.Hour-time.Millisecond), nil // the whole day counts
	}
	switch {
	case ref == "latest":
		found, err = db.Latest(ctx)
	case notBack == nil:
		found, err = db.Back(ctx, int(back))
	case notTime == nil:
		found, err = db.AsOf(ctx, at)
	default:
		return nil, engine.UsageError("read reference", ref, SnapshotRefHelp, errors.New("names no snapshot"))
	}
	if err == nil && len(found) == 0 {
		err = noSnapshot("find snapshot", ref, "`patrol snapshots list` shows which there are.", "no workspace has one")
	}
	return found, err
}

func noSnapshot(op, target, hint, message string) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "no_snapshot", Op: op, Target: target, Hint: hint, Err: errors.New(message)}
}

// StoredSnapshots are those that references name, else the newest of each
// workspace, with the labels that the configuration has for them now.
func (r *Run) StoredSnapshots(ctx context.Context, db *store.DB, refs []string) ([]engine.Snapshot, error) {
	var snapshots []engine.Snapshot
	if len(refs) == 0 {
		var err error
		if snapshots, err = db.Latest(ctx); err != nil {
			return nil, err
		}
		if len(snapshots) == 0 {
			return nil, noSnapshot("read snapshots of", r.DBPath, "Run `patrol collect` or `patrol audit` first, or name another database with --db.", "there are none")
		}
	}
	for _, ref := range refs {
		found, err := SnapshotsOf(ctx, db, ref)
		if err != nil {
			return nil, err
		}
		for _, snapshot := range found {
			if !slices.ContainsFunc(snapshots, func(s engine.Snapshot) bool { return s.ID == snapshot.ID }) {
				snapshots = append(snapshots, snapshot)
			}
		}
	}
	for i := range snapshots {
		r.Relabel(&snapshots[i].Workspace)
	}
	return snapshots, nil
}

// Removals is what the journal and the audit log say of revoked tokens.
type Removals struct {
	found map[[2]string]engine.Removal  // by workspace and token
	known bool                          // there is a journal to ask
	logs  map[string][]engine.ChangeLog // by workspace: what snapshots have of the audit log
}

// JournalPath is where the journal lies: as asked for, else beside the database.
func (r *Run) JournalPath(asked string) string {
	if asked != "" {
		return asked
	}
	return filepath.Join(filepath.Dir(r.DBPath), "patrol-journal.db")
}

// Removals reads the journal that was asked for, else the one beside the
// database where there is one.
func (r *Run) Removals(ctx context.Context, db *store.DB, asked string) (Removals, error) {
	snapshots, err := db.Snapshots(ctx)
	if err != nil {
		return Removals{}, err
	}
	logs := map[string][]engine.ChangeLog{}
	for _, s := range snapshots { // newest first
		log, err := s.ChangeLog()
		if err != nil {
			return Removals{}, err
		}
		if log != nil && log.Unread == "" {
			logs[s.Workspace.ID] = append(logs[s.Workspace.ID], engine.Pseudonymised(r.Names, *log))
		}
	}
	path := r.JournalPath(asked)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && asked == "" {
		return Removals{logs: logs}, nil
	}
	journal, err := journal.Open(ctx, path, journal.Options{Mode: store.ReadOnly, Now: r.Now})
	if err != nil {
		return Removals{}, err
	}
	found, err := journal.Removals(ctx)
	return Removals{found, true, logs}, errors.Join(err, journal.Close())
}

// Why says why a token of a workspace was gone at a moment.
func (r Removals) Why(workspace string, t *engine.Token, at time.Time) (engine.Cause, string) {
	var removal *engine.Removal
	if found, ok := r.found[[2]string{workspace, t.ID}]; ok {
		removal = &found
	}
	var logged *engine.ChangeEvent
	for _, log := range r.logs[workspace] {
		if logged = log.Removal(t.ID, at.UnixMilli()+999); logged != nil { // the time of a snapshot may be that of an answer's Date: whole seconds
			break
		}
	}
	return engine.WhyVanished(t, at, removal, r.known, logged)
}

// Explain notes why a token vanished between a snapshot and the one given.
func (r Removals) Explain(change *engine.TokenChange, to engine.Snapshot) {
	if change.Kind == engine.Vanished {
		change.Cause, change.Detail = r.Why(to.Workspace.ID, change.Before, to.CollectedAt)
	}
}

// Outdated are the snapshots to remove of all, newest first: of each workspace those
// that are older than the oldest one that is kept. The newest whose tokens were
// read whole is kept too: it is the last that tells all.
func Outdated(all []engine.Snapshot, keep, keepDays int, now time.Time) (old []engine.Snapshot) {
	oldestKept := map[string]int64{}
	seen := map[string]int{}
	whole := map[string]bool{}
	for _, s := range all {
		id := s.Workspace.ID
		seen[id]++
		lastWhole := !whole[id] && s.Coverage[engine.SectionTokens].Complete()
		whole[id] = whole[id] || lastWhole
		young := keepDays > 0 && now.Sub(s.CollectedAt) < time.Duration(keepDays)*24*time.Hour
		if seen[id] <= max(keep, 1) || young || lastWhole {
			oldestKept[id] = s.ID
		}
	}
	for _, s := range all {
		if s.ID < oldestKept[s.Workspace.ID] {
			old = append(old, s)
		}
	}
	return old
}
