package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/store"
	"patrol/reports/table"

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
	cmd.AddCommand(c.app.snapshotsList(), c.app.snapshotsShow(), c.app.snapshotsDiff(), c.app.snapshotsVerify(), c.app.snapshotsPrune(), c.app.snapshotsBackup(), c.app.snapshotsMerge())
	return cmd
}

func (a *app) snapshotsList() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all snapshots, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				snapshots, err := db.Snapshots(cmd.Context())
				if err != nil {
					return err
				}
				snapshots = slices.DeleteFunc(snapshots, func(s engine.Snapshot) bool { return !o.wants(s.Workspace) })
				return writeList(cmd.Context(), a, o.format, []table.Column[engine.Snapshot]{
					table.Number("id", 8, func(s engine.Snapshot) any { return s.ID }).Rank(1, 0),
					table.Plain("workspace", 20, func(s engine.Snapshot) any { return s.Workspace.Name }).Rank(2, 12),
					table.ID("workspace_id", 20, func(s engine.Snapshot) any { return s.Workspace.ID }),
					table.Date("collected_at", 22, func(s engine.Snapshot) any { return table.InstantOf(s.CollectedAt) }).Rank(3, 0),
					table.Number("tokens", 8, func(s engine.Snapshot) any {
						if !s.Coverage[engine.SectionTokens].Usable() {
							return table.Unknown{}
						}
						return s.Tokens
					}).Rank(4, 0),
					table.Number("incomplete", 8, func(s engine.Snapshot) any { return len(s.Incomplete()) }).Rank(5, 0),
					table.ID("digest", 64, func(s engine.Snapshot) any { return s.Digest }).Rank(6, 12).As(func(s engine.Snapshot) string { return fmt.Sprintf("%.12s", s.Digest) }),
				}, snapshots)
			})
		},
	}
	o.addWorkspace(cmd.Flags())
	o.addFlags(cmd.Flags())
	return cmd
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
	format := oneOf("text", "json")
	cmd := &cobra.Command{
		Use:     "show SNAPSHOT",
		Short:   "Show a snapshot: workspace, coverage, digest",
		Long:    "Shows what a snapshot is of, and how much of it was read. " + pipeline.SnapshotRefHelp,
		Example: "  patrol snapshots show 3\n  patrol snapshots show latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := pipeline.CheckSnapshotRef(args[0]); err != nil {
				return err
			}
			return a.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				found, err := pipeline.SnapshotsOf(cmd.Context(), db, args[0])
				if err != nil {
					return err
				}
				found = engine.Pseudonymised(a.Names, found)
				if format.word == jsonFormat {
					shown := []map[string]any{}
					for _, s := range found {
						shown = append(shown, map[string]any{"id": s.ID, "workspace": s.Workspace.Name, "workspace_id": s.Workspace.ID, "host": s.Workspace.Host,
							"cloud": s.Workspace.Cloud, "collected_at": s.CollectedAt.UTC().Format(time.RFC3339), "tokens": s.Tokens, "digest": s.Digest,
							"digest_before": s.Previous, "coverage": s.Coverage})
					}
					return a.writeJSON(shown)
				}
				for i, s := range found {
					if i > 0 {
						fmt.Fprintln(a.env.stdout)
					}
					if err := a.printSnapshot(cmd.Context(), s); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().Var(&format, "format", "how to write it: text, json")
	ofWords(cmd.Flags(), "format", format.of...)
	return cmd
}

func (a *app) snapshotsVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [SNAPSHOT]",
		Short: "Compute the digests of all snapshots, or one, anew and compare",
		Long: "Computes digests anew from the rows, and holds each against the one that the snapshot was sealed with. Without an argument all snapshots\n" +
			"are verified, and that none is missing between them, pruned ones included. Only that the newest were removed cannot be told\n" +
			"from the database itself: note the newest digest elsewhere.\n\n" + exitHelp(),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
					found, err := pipeline.SnapshotsOf(cmd.Context(), db, args[0])
					for _, s := range found {
						if err == nil {
							err = db.VerifySnapshot(cmd.Context(), s.ID)
						}
						if err == nil {
							a.tellVerified(s, nil)
						}
					}
					return err
				})
			}
			db, err := a.OpenStore(cmd.Context(), store.ReadOnly)
			if err != nil {
				return err
			}
			return errors.Join(a.verifyStored(cmd.Context(), db), db.Close())
		},
	}
}

func (a *app) tellVerified(s engine.Snapshot, damaged error) {
	state := "intact"
	if damaged != nil {
		state = "DAMAGED"
	}
	fmt.Fprintf(a.env.stdout, "snapshot %d of %s: %s\n", s.ID, engine.SafeText(s.Workspace.Name), state)
}

func (a *app) printSnapshot(ctx context.Context, s engine.Snapshot) error {
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
		fmt.Fprintf(a.env.stdout, "%-13s  %s\n", row[0], engine.SafeText(row[1]))
	}
	fmt.Fprintln(a.env.stdout)
	return writeList(ctx, a, oneOf("table"), []table.Column[engine.SectionName]{
		table.Plain("section", 20, func(n engine.SectionName) any { return string(n) }).Rank(1, 0),
		table.Plain("status", 12, func(n engine.SectionName) any { return string(s.Coverage[n].Status) }).Rank(2, 0),
		table.Number("rows", 8, func(n engine.SectionName) any { return s.Coverage[n].Count }).Rank(3, 0),
		table.Plain("reason", 16, func(n engine.SectionName) any { return s.Coverage[n].Reason }).Rank(4, 10),
		table.Plain("detail", 40, func(n engine.SectionName) any { return s.Coverage[n].Detail }).Rank(5, 12),
	}, engine.SortedKeys(s.Coverage))
}
