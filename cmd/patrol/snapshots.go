package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/store"
	"patrol/reports"
	"patrol/reports/table"

	"github.com/spf13/cobra"
)

// Snapshots shows what the database remembers.
func (c commands) Snapshots() *cobra.Command {
	return commandGroup("snapshots", "Show the snapshots in the database", c.app.snapshotsList(), c.app.snapshotsShow(), c.app.snapshotsDiff(), c.app.snapshotsVerify(), c.app.snapshotsPrune(), c.app.snapshotsBackup(), c.app.snapshotsMerge())
}

func (a *app) snapshotsList() *cobra.Command {
	var o listOptions
	columns := []table.Column[engine.Snapshot]{
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
	}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all snapshots, newest first",
		Args:  cobra.NoArgs,
		RunE: a.reading(func(ctx context.Context, db *store.DB, _ []string) error {
			snapshots, err := db.Snapshots(ctx)
			if err != nil {
				return err
			}
			snapshots = slices.DeleteFunc(snapshots, func(s engine.Snapshot) bool { return !anyGlob(o.workspaces, s.Workspace.Name, s.Workspace.ID) })
			return writeRows(ctx, a, o.format.word, columns, snapshots)
		}),
	}
	addWorkspaceFlag(cmd.Flags(), &o.workspaces)
	o.addFlags(cmd.Flags())
	return cmd
}

func (a *app) snapshotsShow() *cobra.Command {
	var format choice
	cmd := &cobra.Command{
		Use:     "show SNAPSHOT",
		Short:   "Show a snapshot: workspace, coverage, digest",
		Long:    "Shows what a snapshot is of, and how much of it was read. " + pipeline.SnapshotRefHelp,
		Example: "  patrol snapshots show 3\n  patrol snapshots show latest",
		Args:    cobra.ExactArgs(1),
		RunE: a.reading(func(ctx context.Context, db *store.DB, args []string) error {
			found, err := pipeline.SnapshotsOf(ctx, db, args[0])
			if err != nil {
				return err
			}
			found = engine.Pseudonymised(a.Names, found)
			shown := []map[string]any{}
			for i, s := range found {
				shown = append(shown, map[string]any{"id": s.ID, "workspace": s.Workspace.Name, "workspace_id": s.Workspace.ID, "host": s.Workspace.Host,
					"cloud": s.Workspace.Cloud, "collected_at": s.CollectedAt.UTC().Format(time.RFC3339), "tokens": s.Tokens, "digest": s.Digest,
					"digest_before": s.Previous, "coverage": s.Coverage})
				if format.word == jsonFormat {
					continue
				}
				if i > 0 {
					fmt.Fprintln(a.env.stdout)
				}
				if err := a.printSnapshot(ctx, s); err != nil {
					return err
				}
			}
			if format.word == jsonFormat {
				return a.writeJSON(shown)
			}
			return nil
		}),
	}
	addFormatFlag(cmd.Flags(), &format, "text", "json")
	return cmd
}

func (a *app) snapshotsVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [SNAPSHOT]",
		Short: "Compute the digests of all snapshots, or one, anew and compare",
		Long: "Computes digests anew from the rows and compares them with those that the snapshots were sealed with. Without an argument it\n" +
			"checks all snapshots, and that none is missing between two. No database can show that its newest snapshots were removed: note\n" +
			"the newest digest elsewhere.\n\n" + exitHelp(),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 0 {
				db, err := a.OpenStore(ctx, store.ReadOnly)
				if err != nil {
					return err
				}
				return errors.Join(a.verifyStored(ctx, db), db.Close())
			}
			return a.WithStore(ctx, store.ReadOnly, func(db *store.DB) error {
				found, err := pipeline.SnapshotsOf(ctx, db, args[0])
				if err != nil {
					return err
				}
				for _, s := range found {
					if err := db.VerifySnapshot(ctx, s.ID); err != nil {
						return err
					}
					a.printVerified(s, nil)
				}
				return nil
			})
		},
	}
}

func (a *app) printVerified(s engine.Snapshot, damaged error) {
	state := "intact"
	if damaged != nil {
		state = "DAMAGED"
	}
	fmt.Fprintf(a.env.stdout, "snapshot %d of %s: %s\n", s.ID, engine.SafeText(s.Workspace.Name), state)
}

func (a *app) printSnapshot(ctx context.Context, s engine.Snapshot) error {
	tokens := "unknown" // not read, which is not none
	if s.Coverage[engine.SectionTokens].Usable() {
		tokens = strconv.Itoa(s.Tokens)
	}
	for _, row := range [][2]string{
		{"snapshot", strconv.FormatInt(s.ID, 10)},
		{"workspace", s.Workspace.Name},
		{"workspace id", s.Workspace.ID},
		{"host", s.Workspace.Host},
		{"cloud", s.Workspace.Cloud},
		{"collected", s.CollectedAt.UTC().Format(time.RFC3339)},
		{"tokens", tokens},
		{"digest", s.Digest},
		{"digest before", s.Previous},
	} {
		fmt.Fprintf(a.env.stdout, "%-13s  %s\n", row[0], engine.SafeText(row[1]))
	}
	fmt.Fprintln(a.env.stdout)
	return writeRows(ctx, a, "table", []table.Column[engine.SectionName]{
		table.Plain("section", 20, func(n engine.SectionName) any { return string(n) }).Rank(1, 0),
		table.Plain("status", 12, func(n engine.SectionName) any { return string(s.Coverage[n].Status) }).Rank(2, 0),
		table.Number("rows", 8, func(n engine.SectionName) any { return s.Coverage[n].Count }).Rank(3, 0),
		table.Plain("reason", 16, func(n engine.SectionName) any { return s.Coverage[n].Reason }).Rank(4, 10),
		table.Plain("detail", 40, func(n engine.SectionName) any { return s.Coverage[n].Detail }).Rank(5, 12),
	}, engine.SortedKeys(s.Coverage))
}

type pruneOptions struct {
	keep, keepDays int
	dryRun, yes    bool
}

func (a *app) snapshotsPrune() *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove old snapshots for good, and the evaluations that judged them",
		Long: "Removes the oldest snapshots of each workspace that neither --keep nor --keep-days keeps. It asks first; without a terminal it\n" +
			"wants --yes. The newest stays, and so does the newest whose tokens were read whole, with all since. Removed rows are\n" +
			"overwritten and the file is rewritten, which takes room for a second one. Digests stay, so that a broken chain is still found.\n" +
			"Snapshots that do not verify are not pruned: they may be evidence.\n\n" + exitHelp(),
		Example: "  patrol snapshots prune --keep-days 400 --dry-run\n  patrol snapshots prune --keep 30 --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			none := func(flag string, n int) bool { return n < 0 || n == 0 && cmd.Flags().Changed(flag) }
			if o.keep+o.keepDays < 1 || none("keep", o.keep) || none("keep-days", o.keepDays) {
				return engine.UsageError("prune snapshots", "", "Say what to keep: --keep or --keep-days, 1 or more; what either keeps stays.", errors.New("nothing says what to keep"))
			}
			return a.WithStore(cmd.Context(), store.ReadWrite, func(db *store.DB) error { return a.pruneTo(cmd.Context(), db, &o) })
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.keep, "keep", 0, "keep this `number` of snapshots of each workspace, the newest ones")
	flags.IntVar(&o.keepDays, "keep-days", 0, "keep the snapshots of so many `days`")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would be removed")
	flags.BoolVar(&o.yes, "yes", false, "remove it without asking")
	return cmd
}

// pruneTo removes what the options do not keep.
func (a *app) pruneTo(ctx context.Context, db *store.DB, o *pruneOptions) error {
	all, err := db.Snapshots(ctx)
	if err != nil {
		return err
	}
	old := pipeline.Outdated(all, o.keep, o.keepDays, a.env.now())
	if len(old) == 0 {
		a.say("nothing to prune: all of %s stay", plural(len(all), "snapshot"))
		return nil
	}
	first := old[len(old)-1].CollectedAt.UTC().Format(time.DateOnly)
	if o.dryRun || !o.yes {
		a.say("would remove %s of %d, the oldest of %s, with the evaluations that judged them, for good:", plural(len(old), "snapshot"), len(all), first)
		of := map[string]int{}
		for _, s := range old {
			a.detail("  snapshot %d of %s, %s", s.ID, s.Workspace.Name, s.CollectedAt.UTC().Format(time.RFC3339))
			of[s.Workspace.Name]++
		}
		for i, name := range engine.SortedKeys(of) {
			if i == mostNamed {
				a.say("  and those of %s", plural(len(of)-i, "more workspace"))
				break
			}
			a.say("  %d of %s", of[name], name)
		}
	}
	if o.dryRun {
		return nil
	}
	if !o.yes {
		if !a.env.interactive() {
			return engine.UsageError("prune snapshots", "", "Give --yes to remove them, or --dry-run to look.", errors.New("nobody is there to confirm; nothing was removed"))
		}
		if answer, err := a.ask(ctx, "Type yes to remove them: "); err != nil || answer != "yes" {
			a.say("nothing was removed")
			return err
		}
	}
	if err := verifyAll(ctx, db, old); err != nil {
		return err
	}
	evaluations, err := db.Prune(ctx, old)
	if err == nil || evaluations > 0 {
		a.say("pruned %s of %d, the oldest of %s, and %s", plural(len(old), "snapshot"), len(all), first, plural(evaluations, "evaluation"))
	}
	return err
}

func verifyAll(ctx context.Context, db *store.DB, snapshots []engine.Snapshot) error {
	if err := db.VerifyChain(ctx); err != nil {
		return err
	}
	for _, s := range snapshots {
		if err := db.VerifySnapshot(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) snapshotsBackup() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the database into a new file, and verify the copy",
		Long: "Copies the database as it is at one moment into a new file, readable by its owner alone, while others may go on writing to it.\n" +
			"Then verifies the digests and the chain of the copy. To restore, put the copy where the database was.\n\n" + exitHelp(),
		Example: "  patrol snapshots backup patrol-2026-11-24.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, path := cmd.Context(), args[0]
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
			snapshots, err := taken.Snapshots(ctx)
			if err == nil {
				err = verifyAll(ctx, taken, snapshots)
			}
			if err := errors.Join(err, taken.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.env.stdout, "%s: intact\n", plural(len(snapshots), "snapshot"))
			return err
		},
	}
}

func (a *app) snapshotsMerge() *cobra.Command {
	return &cobra.Command{
		Use:   "merge DATABASE…",
		Short: "Take over the snapshots of other databases, such as those of shards",
		Long: "Copies the snapshots of other databases into the one of --db, which is made when it is missing. The rows of each snapshot\n" +
			"must have the digest that it was sealed with; a snapshot that is here already is passed over, so that merging again changes\n" +
			"nothing. A snapshot that follows others here is sealed anew behind them, so that each workspace keeps one chain. Evaluations\n" +
			"and journals are not merged: run `patrol evaluate` afterwards. Merge in the order of collection; docs/account.md shows how.",
		Example: "  patrol snapshots merge shard-0.db shard-1.db --db account.db",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			for _, path := range paths { // what cannot be merged is refused before anything is
				info, err := os.Stat(path)
				if err != nil {
					return engine.UsageError("merge", path, "Name databases that `patrol collect` wrote.", err)
				}
				if own, err := os.Stat(a.DBPath); err == nil && os.SameFile(info, own) {
					return engine.UsageError("merge", path, "Name another database with --db.", errors.New("is the database to merge into"))
				}
			}
			return a.WithStore(cmd.Context(), store.ReadWrite, func(db *store.DB) error {
				for _, path := range paths {
					if err := a.mergeFile(cmd.Context(), db, path); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func (a *app) mergeFile(ctx context.Context, db *store.DB, path string) (err error) {
	other, err := store.Open(ctx, path, store.Options{Mode: store.ReadOnly, Now: a.env.now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	var merged, known, resealed int
	for m, err := range db.MergeSnapshots(ctx, other) {
		if err != nil {
			return err
		}
		if m.Known {
			known++
			continue
		}
		merged++
		if m.Resealed {
			resealed++
		}
		a.detail("snapshot %d of %s is snapshot %d here", m.From.ID, m.From.Workspace.Name, m.Into.ID)
	}
	text := fmt.Sprintf("%s: %s merged, %d known", path, plural(merged, "snapshot"), known)
	if resealed > 0 {
		text += fmt.Sprintf("; %d sealed anew behind earlier ones", resealed)
	}
	fmt.Fprintln(a.env.stdout, engine.SafeText(text))
	return nil
}

func (a *app) snapshotsDiff() *cobra.Command {
	var journal string
	var product productOptions
	cmd := &cobra.Command{
		Use:   "diff [FROM [TO]]",
		Short: "Show what changed between two snapshots: tokens, principals, settings, grants",
		Long: "Tells what appeared, changed and vanished between two snapshots of a workspace, or of each workspace, and why tokens vanished:\n" +
			"revoked by patrol, as its journal says; expired; unused for so long that the platform revokes them; or by somebody else. The\n" +
			"last two are conclusions: the platform keeps no record of tokens that are gone. Last use is no change; it is counted.\n\n" +
			pipeline.SnapshotRefHelp + " Without TO it is latest, without FROM the one before it.\n\n" + exitHelp(exitIncomplete),
		Example: "  patrol snapshots diff\n  patrol snapshots diff 2026-11-01 2026-11-24 --format csv -o changes.csv\n  patrol snapshots diff 12 15",
		Args:    cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			refs := []string{"latest~1", "latest"}
			copy(refs, args)
			return a.withProduct(cmd.Context(), &product, func(db *store.DB) error {
				return a.diff(cmd.Context(), db, refs[0], refs[1], journal, &product)
			})
		},
	}
	flags := cmd.Flags()
	product.addFlags(flags, "table", "csv", "json")
	addJournalFlag(flags, &journal)
	return cmd
}

func (a *app) diff(ctx context.Context, db *store.DB, from, to, journal string, o *productOptions) error {
	pairs, err := a.Pairs(ctx, db, from, to)
	if err != nil {
		return err
	}
	removals, err := a.Removals(ctx, db, journal)
	if err != nil {
		return err
	}
	var snapshots []engine.Snapshot
	for _, p := range pairs {
		snapshots = append(snapshots, p.From, p.To)
	}
	incomplete, changes := false, 0
	rows := func(yield func(engine.ChangeRow, error) bool) {
		for row, err := range a.Changes(ctx, db, pairs, removals, &incomplete) {
			changes++
			if !yield(engine.Pseudonymised(a.Names, row), err) {
				return
			}
		}
	}
	err = a.writeProduct(ctx, db, o, snapshots, func(w io.Writer, options table.Options) error {
		err := reports.Changes(ctx, w, o.format.word, rows, options)
		if err == nil && changes == 0 && !incomplete && o.format.word == "table" {
			_, err = fmt.Fprintln(w, "Nothing changed.")
		}
		return err
	})
	if err == nil && incomplete {
		err = verdict(engine.Incomplete)
	}
	return err
}
