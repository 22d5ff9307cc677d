package main

import (
	"context"
	"errors"
	"os"
	"time"

	"patrol/engine"
	"patrol/engine/journal"
	"patrol/engine/store"
)

// removals is what the journal says of revoked tokens.
type removals struct {
	found map[[2]string]engine.Removal  // by workspace and token
	known bool                          // there is a journal to ask
	logs  map[string][]engine.ChangeLog // by workspace: what snapshots have of the audit log
}

// removals reads the journal that was told, else the one beside the database
// where there is one.
func (a *app) removals(ctx context.Context, db *store.DB, told string) (removals, error) {
	snapshots, err := db.Snapshots(ctx)
	if err != nil {
		return removals{}, err
	}
	logs := map[string][]engine.ChangeLog{}
	for _, s := range snapshots { // newest first
		log, err := s.ChangeLog()
		if err != nil {
			return removals{}, err
		}
		if log != nil && log.Unread == "" {
			logs[s.Workspace.ID] = append(logs[s.Workspace.ID], engine.Pseudonymised(a.names, *log))
		}
	}
	path := a.journalPath(told)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && told == "" {
		return removals{logs: logs}, nil
	}
	journal, err := journal.Open(ctx, path, journal.Options{Mode: store.ReadOnly, Now: a.env.now})
	if err != nil {
		return removals{}, err
	}
	found, err := journal.Removals(ctx)
	return removals{found, true, logs}, errors.Join(err, journal.Close())
}

// why tells why a token of a workspace was gone at a moment.
func (r removals) why(workspace string, t *engine.Token, at time.Time) (engine.Cause, string) {
	var removal *engine.Removal
	if found, ok := r.found[[2]string{workspace, t.ID}]; ok {
		removal = &found
	}
	var logged *engine.ChangeEvent
	for _, log := range r.logs[workspace] {
		if logged = log.Removal(t.ID, at.UnixMilli()); logged != nil {
			break
		}
	}
	return engine.WhyVanished(t, at, removal, r.known, logged)
}

// explain tells why a token vanished between a snapshot and the one given.
func (r removals) explain(change *engine.TokenChange, to engine.Snapshot) {
	if change.Kind == engine.Vanished {
		change.Cause, change.Detail = r.why(to.Workspace.ID, change.Before, to.CollectedAt)
	}
}
