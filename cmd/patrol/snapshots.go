package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"patrol/engine"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

// Snapshots shows what the database remembers.
func (c commands) Snapshots() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshots",
		Short: "Show the snapshots in the database",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.snapshotsList(), c.snapshotsShow(), c.snapshotsDiff(), c.snapshotsVerify(), c.snapshotsPrune(), c.snapshotsBackup(), c.snapshotsMerge())
	return cmd
}

func (a *app) snapshotsList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all snapshots, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				snapshots, err := db.Snapshots(cmd.Context())
				if err != nil {
					return err
				}
				return a.printSnapshots(snapshots)
			})
		},
	}
}

func (a *app) printSnapshots(snapshots []engine.Snapshot) error {
	w := tabwriter.NewWriter(a.env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tWORKSPACE\tCOLLECTED\tTOKENS\tINCOMPLETE\tDIGEST")
	for _, s := range snapshots {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%.12s\n", s.ID, engine.SafeText(s.Workspace.Name),
			s.CollectedAt.UTC().Format(time.RFC3339), tokenCount(s), len(s.Incomplete()), s.Digest)
	}
	return w.Flush()
}

// tokenCount is the number of tokens of a snapshot; unknown where they were not
// read, which is not none.
func tokenCount(s engine.Snapshot) string {
	if !s.Coverage[engine.SectionTokens].Usable() {
		return "unknown"
	}
	return strconv.Itoa(s.Tokens)
}

func (a *app) snapshotsShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show a snapshot: workspace, coverage, digest",
		Example: "  patrol snapshots show 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSnapshot(cmd.Context(), args[0], func(_ *store.DB, s engine.Snapshot) error { return a.printSnapshot(s) })
		},
	}
}

func (a *app) snapshotsVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [ID]",
		Short: "Compute the digests of all snapshots, or one, anew and compare",
		Long: "Computes digests anew from the rows, and holds each against the one that the snapshot was sealed with. Without an ID all snapshots\n" +
			"are verified, and that none is missing between them, pruned ones included. Only that the newest were removed cannot be told\n" +
			"from the database itself: note the newest digest elsewhere.\n\n" + exitHelp(),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.withSnapshot(cmd.Context(), args[0], func(db *store.DB, s engine.Snapshot) error { return a.verify(cmd.Context(), db, s) })
			}
			db, err := a.openStore(cmd.Context(), store.ReadOnly)
			if err != nil {
				return err
			}
			return errors.Join(a.verifyStored(cmd.Context(), db), db.Close())
		},
	}
}

func (a *app) verify(ctx context.Context, db *store.DB, s engine.Snapshot) error {
	err := db.VerifySnapshot(ctx, s.ID)
	if err == nil {
		a.tellVerified(s, nil)
	}
	return err
}

func (a *app) tellVerified(s engine.Snapshot, damaged error) {
	state := "intact"
	if damaged != nil {
		state = "DAMAGED"
	}
	fmt.Fprintf(a.env.stdout, "snapshot %d of %s: %s\n", s.ID, engine.SafeText(s.Workspace.Name), state)
}

func (a *app) withSnapshot(ctx context.Context, text string, work func(*store.DB, engine.Snapshot) error) error {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return engine.UsageError("read argument", text, "See `patrol snapshots list` for the ids.", fmt.Errorf("not the id of a snapshot"))
	}
	return a.withStore(ctx, store.ReadOnly, func(db *store.DB) error {
		snapshot, err := db.Snapshot(ctx, id)
		if err != nil {
			return err
		}
		return work(db, snapshot)
	})
}

func (a *app) printSnapshot(s engine.Snapshot) error {
	s = engine.Pseudonymised(a.names, s)
	w := tabwriter.NewWriter(a.env.stdout, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"snapshot", strconv.FormatInt(s.ID, 10)},
		{"workspace", s.Workspace.Name},
		{"workspace id", s.Workspace.ID},
		{"host", s.Workspace.Host},
		{"cloud", s.Workspace.Cloud},
		{"collected", s.CollectedAt.UTC().Format(time.RFC3339)},
		{"tokens", tokenCount(s)},
		{"digest", s.Digest},
		{"digest before", s.Previous},
	} {
		fmt.Fprintf(w, "%s\t%s\n", row[0], engine.SafeText(row[1]))
	}
	fmt.Fprintln(w, "\nSECTION\tSTATUS\tROWS\tREASON\tDETAIL")
	for _, name := range engine.SortedKeys(s.Coverage) {
		c := s.Coverage[name]
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", name, c.Status, c.Count, c.Reason, engine.SafeText(c.Detail))
	}
	return w.Flush()
}
