package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"patrol/engine"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

func (a *app) snapshotsBackup() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the database into a new file, and verify the copy",
		Long: "Copies the database as it is at one moment into a new file, readable by its owner alone, while others may go on writing to it.\n" +
			"Then verifies the digests and the chain of the copy. To restore, put the copy where the database was.\n\n" + exitHelp(),
		Example: "  patrol snapshots backup patrol-2026-11-24.db",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), args[0]) },
	}
}

func (a *app) backup(ctx context.Context, path string) error {
	err := a.WithStore(ctx, store.ReadOnly, func(db *store.DB) error { return db.Backup(ctx, path) })
	if errors.Is(err, fs.ErrExist) {
		return engine.UsageError("back up database into", path, "Name a new file.", errors.New("exists already"))
	}
	if err != nil {
		return err
	}
	taken, err := store.Open(ctx, path, store.Options{Mode: store.ReadOnly, Now: a.env.now})
	if err != nil {
		return err
	}
	return errors.Join(a.verifyBackup(ctx, taken), taken.Close())
}

func (a *app) verifyBackup(ctx context.Context, taken *store.DB) error {
	snapshots, err := taken.Snapshots(ctx)
	if err != nil {
		return err
	}
	if err := verifyAll(ctx, taken, snapshots); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.env.stdout, "%s: intact\n", plural(len(snapshots), "snapshot"))
	return err
}
