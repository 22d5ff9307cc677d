package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"patrol/engine"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

func (a *app) snapshotsMerge() *cobra.Command {
	return &cobra.Command{
		Use:   "merge DATABASE…",
		Short: "Take over the snapshots of other databases, such as those of shards",
		Long: "Copies the snapshots of other databases into the one of --db, which is made when it is missing. The rows of each snapshot\n" +
			"must have the digest that it was sealed with; a snapshot that is here already is passed over, so that merging again changes\n" +
			"nothing. A snapshot that follows others here is sealed anew behind them, so that each workspace keeps one chain. Evaluations\n" +
			"and journals are not merged: run `patrol evaluate` afterwards. Merge in the order of collection; docs/scale-out.md shows how.",
		Example: "  patrol snapshots merge shard-0.db shard-1.db --db account.db",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.merge(cmd.Context(), args) },
	}
}

func (a *app) merge(ctx context.Context, paths []string) error {
	for _, path := range paths {
		if err := a.otherFile(path); err != nil {
			return err
		}
	}
	return a.WithStore(ctx, store.ReadWrite, func(db *store.DB) error {
		for _, path := range paths {
			if err := a.mergeFile(ctx, db, path); err != nil {
				return err
			}
		}
		return nil
	})
}

// otherFile refuses what cannot be merged before anything is.
func (a *app) otherFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return engine.UsageError("merge", path, "Name databases that `patrol collect` wrote.", err)
	}
	if own, err := os.Stat(a.DBPath); err == nil && os.SameFile(info, own) {
		return engine.UsageError("merge", path, "Name another database with --db.", errors.New("is the database to merge into"))
	}
	return nil
}

func (a *app) mergeFile(ctx context.Context, db *store.DB, path string) (err error) {
	other, err := store.Open(ctx, path, store.Options{Mode: store.ReadOnly, Now: a.env.now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	var merged, known, resealed int
	for m, err := range db.MergeSnapshots(ctx, other) {
		switch {
		case err != nil:
			return err
		case m.Known:
			known++
			continue
		case m.Resealed:
			resealed++
		}
		merged++
		a.detail("snapshot %d of %s is snapshot %d here", m.From.ID, m.From.Workspace.Name, m.Into.ID)
	}
	text := fmt.Sprintf("%s: %s merged, %d known", path, plural(merged, "snapshot"), known)
	if resealed > 0 {
		text += fmt.Sprintf("; %d sealed anew behind earlier ones", resealed)
	}
	fmt.Fprintln(a.env.stdout, engine.SafeText(text))
	return nil
}
