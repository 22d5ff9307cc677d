package main

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	"patrol/cmd/internal/config"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports/parquet"

	"github.com/spf13/cobra"
)

type exportOptions struct {
	format       choice
	dir, journal string
	evaluation   int64
}

// Export writes tables for other systems.
func (c commands) Export() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write tokens, results and changes as tables for a lakehouse",
		Long: "Writes what the latest evaluation judged and found as Parquet: tokens, results, and changes since each workspace's snapshot\n" +
			"before, partitioned by the day of the snapshot (UTC), as Spark and Delta read them. Each run adds its files to the directory;\n" +
			"the same evaluation and journal write the same files. docs/parquet.md lists the columns.",
		Example: "  patrol export --output-dir /data/patrol",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.app.export(cmd.Context(), &o) },
	}
	o.format = oneOf("parquet")
	cmd.Flags().Var(&o.format, "format", "how to write the tables: parquet")
	cmd.Flags().StringVar(&o.dir, "output-dir", "patrol-tables", "write the tables below this `directory`")
	config.OwnPlace(cmd.Flags(), "output-dir")
	addEvaluationFlag(cmd.Flags(), &o.evaluation)
	addJournalFlag(cmd.Flags(), &o.journal)
	return cmd
}

func (a *app) export(ctx context.Context, o *exportOptions) error {
	if err := outfile.CheckDir(o.dir); err != nil {
		return err
	}
	return a.WithStore(ctx, store.ReadOnly, func(db *store.DB) error {
		report, err := a.Evaluation(ctx, db, o.evaluation)
		if err != nil {
			return err
		}
		all, err := db.Snapshots(ctx)
		if err != nil {
			return err
		}
		removals, err := a.Removals(ctx, db, o.journal)
		if err != nil {
			return err
		}
		read := judged(report)
		for _, s := range read {
			if before := snapshotBefore(all, s); before.ID != 0 {
				read = append(read, before)
			}
		}
		// What changed since the snapshot before, and why tokens vanished.
		changes := func(s engine.Snapshot) (engine.Snapshot, iter.Seq2[engine.TokenChange, error], error) {
			before := snapshotBefore(all, s)
			if !before.Coverage[engine.SectionTokens].Usable() || !s.Coverage[engine.SectionTokens].Usable() {
				return before, nil, nil
			}
			return before, func(yield func(engine.TokenChange, error) bool) {
				for change, err := range db.TokenChanges(ctx, before, s) {
					if err == nil {
						removals.Explain(&change, s)
					}
					if !yield(engine.Pseudonymised(a.Names, change), err) || err != nil {
						return
					}
				}
			}, nil
		}
		paths, err := parquet.Write(ctx, o.dir, parquet.Source{
			Report: report.Redacted().Pseudonymised(a.Names), Changes: changes,
			Files: outfile.Files{}.OnlyIf(func() error { return cmp.Or(report.Intact(), db.Intact(ctx, read...)) }),
		})
		if err == nil && !a.quiet {
			fmt.Fprintf(a.env.stdout, "%s below %s\n", plural(len(paths), "file"), engine.SafeText(o.dir))
		}
		return err
	})
}

// snapshotBefore finds the snapshot before by the digest that a snapshot is
// chained to; its zero value where there is none.
func snapshotBefore(all []engine.Snapshot, s engine.Snapshot) (before engine.Snapshot) {
	for _, candidate := range all {
		if s.Previous != "" && candidate.Digest == s.Previous && candidate.Workspace.ID == s.Workspace.ID {
			before = candidate
		}
	}
	return before
}
