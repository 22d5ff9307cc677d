package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/store"
)

// Collect snapshots the workspaces or files of a source and returns the
// snapshots in the order of the request, those before an error too. A workspace
// that cannot be read is a snapshot that says so, not an error.
func (r *Run) Collect(ctx context.Context, db *store.DB, s *Source) ([]engine.Snapshot, error) {
	defer r.boundMemory(collectBound)()
	s.ReadDirectory(ctx)
	options := r.CollectOptions(s)
	tell, end := r.Log.Collecting(len(r.Targets(s)))
	defer end()
	options.Progress = tell
	var shrunk []engine.SectionName
	for _, name := range s.AcceptShrink {
		if !slices.Contains(Shrinkable(), name) {
			return nil, engine.UsageError("read --accept-shrink", name, "Name the list that may be shorter: "+strings.Join(Shrinkable(), ", ")+".", errors.New("is no list that is held against the snapshot before"))
		}
		shrunk = append(shrunk, engine.SectionName(name))
	}
	before, err := CountsBefore(ctx, db)
	if err != nil {
		return nil, err
	}
	var snapshots []engine.Snapshot
	save := func(outcome collectors.Outcome) error {
		w := outcome.Capture.Workspace
		for _, read := range snapshots { // its findings would count twice
			if read.Workspace.ID == w.ID {
				err := engine.UsageError("read", w.Name, "Name each workspace once; give imported files different names.",
					fmt.Errorf("is the workspace %s that was read as %s", w.ID, read.Workspace.Name))
				return errors.Join(err, outcome.Close())
			}
		}
		snapshot, err := r.Save(ctx, db, s, outcome, before[w.ID], shrunk)
		if err == nil {
			snapshots = append(snapshots, snapshot)
		}
		return err
	}
	for _, path := range s.From {
		imported, err := collectors.Import(ctx, path, collectors.ImportOptions{Options: options, Stdin: r.Stdin, AcceptEmpty: s.AcceptEmpty})
		if err != nil {
			return snapshots, err
		}
		for _, outcome := range imported {
			if err := save(outcome); err != nil {
				return snapshots, err
			}
		}
	}
	if len(s.From) == 0 {
		for outcome := range collectors.Collect(ctx, r.Targets(s), options) {
			if err := save(outcome); err != nil {
				return snapshots, err
			}
		}
	}
	if err := r.learnNames(ctx, db); err != nil {
		return snapshots, err
	}
	return snapshots, ctx.Err()
}

// CountsBefore are the lengths of the lists of each workspace, as they were when
// they were last read whole, by the workspace's id.
func CountsBefore(ctx context.Context, db *store.DB) (map[string]collectors.Counts, error) {
	before := map[string]collectors.Counts{}
	all, err := db.Snapshots(ctx)
	for _, s := range all { // newest first
		known := before[s.Workspace.ID]
		if known == nil {
			known = collectors.Counts{}
			before[s.Workspace.ID] = known
		}
		for list, n := range collectors.CountsOf(s.Coverage, s.Documents) {
			if _, newer := known[list]; !newer {
				known[list] = n
			}
		}
	}
	return before, err
}

// Save stores what an outcome brought, held against how long its lists were
// before; those of shrunk may be shorter. A wrong configuration is the user's to
// correct before anything is judged; a workspace that cannot be read is a
// snapshot that says why. What an interrupt cut short is not stored.
func (r *Run) Save(ctx context.Context, db *store.DB, s *Source, outcome collectors.Outcome, before collectors.Counts, shrunk []engine.SectionName) (snapshot engine.Snapshot, err error) {
	defer func() { err = errors.Join(err, outcome.Close()) }()
	if known, ok := engine.AsError(outcome.Err); ok && known.Class != engine.ClassIncomplete {
		return snapshot, outcome.Err
	}
	if err := ctx.Err(); err != nil {
		return snapshot, err
	}
	c := outcome.Capture
	r.Relabel(&c.Workspace)
	if s.account != nil { // so that whoever judges it later knows what else there should be
		section, err := s.account.listing.Section()
		if err != nil {
			return snapshot, errors.Join(errors.New("note the account's workspaces"), err)
		}
		c.Sections[engine.SectionAccount] = section
		if s.account.directory != nil {
			if c.Sections[engine.SectionAccountPrincipals], err = s.account.directory.Section(c); err != nil {
				return snapshot, err
			}
		}
		for _, target := range s.account.targets {
			if target.WorkspaceID == c.Workspace.ID {
				c.Workspace.Labels = target.Labels
			}
		}
	}
	collectors.HoldAgainst(c, before, shrunk)
	return db.SaveSnapshot(ctx, c)
}

// Relabel gives a workspace the labels that the configuration has for it now.
func (r *Run) Relabel(w *engine.Workspace) {
	for _, configured := range r.Config.Workspaces {
		if configured.Name == w.Name && configured.Labels != nil {
			w.Labels = configured.Labels
		}
	}
}
