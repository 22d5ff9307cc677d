package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"patrol/engine"
	"patrol/engine/store"
)

// SnapshotPair is two snapshots of one workspace, the earlier one first.
type SnapshotPair struct{ From, To engine.Snapshot }

// Pairs joins the snapshots that two references name, by workspace.
func (r *Run) Pairs(ctx context.Context, db *store.DB, from, to string) ([]SnapshotPair, error) {
	earlier, err := SnapshotsOf(ctx, db, from)
	if err != nil {
		return nil, err
	}
	later, err := SnapshotsOf(ctx, db, to)
	if err != nil {
		return nil, err
	}
	before := map[string]engine.Snapshot{}
	for _, s := range earlier {
		before[s.Workspace.ID] = s
	}
	var pairs []SnapshotPair
	for _, s := range later {
		first, known := before[s.Workspace.ID]
		switch {
		case !known && len(earlier) > 1:
			r.Log.Say("%s: has no snapshot at %s", s.Workspace.Name, from)
		case known && first.ID > s.ID:
			return nil, engine.UsageError("compare snapshots", fmt.Sprintf("%d and %d", first.ID, s.ID), "Name the earlier one first.", errors.New("the first was taken after the second"))
		case known:
			pairs = append(pairs, SnapshotPair{first, s})
		}
	}
	if len(pairs) == 0 {
		return nil, engine.UsageError("compare snapshots", from+" and "+to, SnapshotRefHelp, errors.New("no workspace has both"))
	}
	return pairs, nil
}

// Changes are the rows of what changed in pairs of snapshots. incomplete becomes
// true where something could not be compared, which the log says.
func (r *Run) Changes(ctx context.Context, db *store.DB, pairs []SnapshotPair, removals Removals, incomplete *bool) iter.Seq2[engine.ChangeRow, error] {
	return func(yield func(engine.ChangeRow, error) bool) {
		for _, p := range pairs {
			more := true
			err := r.compare(ctx, db, p, removals, incomplete, func(row engine.ChangeRow) bool {
				row.Workspace, row.From, row.To = p.To.Workspace, p.From.ID, p.To.ID
				more = yield(row, nil)
				return more
			})
			if err != nil && more {
				more = yield(engine.ChangeRow{}, err)
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// compare emits what changed in a pair of snapshots, as long as emit wants more:
// settings and grants, principals, tokens.
func (r *Run) compare(ctx context.Context, db *store.DB, p SnapshotPair, removals Removals, incomplete *bool, emit func(engine.ChangeRow) bool) error {
	changes, unread, err := engine.StateChanges(p.From, p.To)
	log, damaged := p.To.ChangeLog()
	if err := errors.Join(err, damaged); err != nil {
		return err
	}
	for _, name := range unread {
		*incomplete = true
		r.Log.Say("%s: %s cannot be compared: one of the snapshots did not read them whole", p.To.Workspace.Name, name)
	}
	for _, change := range changes {
		row := change.Row()
		row.ChangedBy = log.Of(change, p.From, p.To)
		if !emit(row) {
			return nil
		}
	}
	readWhole := func(name engine.SectionName) bool {
		for _, s := range []engine.Snapshot{p.From, p.To} {
			if c := s.Coverage[name]; !c.Complete() {
				*incomplete = true
				r.Log.Say("%s: %s cannot be compared: snapshot %d has them %s (%s)", s.Workspace.Name, name, s.ID, c.Status, c.Reason)
				return false
			}
		}
		return true
	}
	if readWhole(engine.SectionPrincipals) {
		changes, err := db.PrincipalChanges(ctx, p.From, p.To)
		if err != nil {
			return err
		}
		for _, change := range changes {
			if !emit(change.Row()) {
				return nil
			}
		}
	}
	if !readWhole(engine.SectionTokens) {
		return nil
	}
	var names map[string]string // of principals, by id; read once the first is needed
	for change, err := range db.TokenChanges(ctx, p.From, p.To) {
		if err != nil {
			return err
		}
		if names == nil {
			names = map[string]string{}
			for _, s := range []engine.Snapshot{p.From, p.To} {
				for principal, err := range db.Principals(ctx, s.ID) {
					if err != nil {
						return err
					}
					names[principal.ID] = principal.Name
				}
			}
		}
		removals.Explain(&change, p.To)
		row := change.Row()
		row.Owner = cmp.Or(names[row.OwnerID], row.OwnerID)
		if !emit(row) {
			return nil
		}
	}
	used, err := db.UsedBetween(ctx, p.From, p.To)
	if err == nil {
		r.Log.Say("%s: %s seen in use between snapshots %d and %d", p.To.Workspace.Name, engine.Plural(used, "token"), p.From.ID, p.To.ID)
	}
	return err
}
