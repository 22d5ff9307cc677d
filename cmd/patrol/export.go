package main

import (
	"context"
	"fmt"
	"iter"

	"patrol/engine"
	"patrol/engine/store"
	"patrol/reports/parquet"

	"github.com/spf13/cobra"
)

type exportOptions struct{ format, dir string }

// Export writes tables for other systems.
func (c commands) Export() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write tokens, results and changes as tables for a lakehouse",
		Long: "Writes what the latest evaluation judged and found as Parquet: tokens, results, and changes since each workspace's snapshot\n" +
			"before, partitioned by the day of the snapshot (UTC), as Spark and Delta read them. Each run adds its files to the directory;\n" +
			"the same evaluation writes the same files. docs/parquet.md lists the columns.",
		Example: "  patrol export --output-dir /data/patrol",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.export(cmd.Context(), &o) },
	}
	cmd.Flags().StringVar(&o.format, "format", "parquet", "`format` of the tables: parquet")
	cmd.Flags().StringVar(&o.dir, "output-dir", "patrol-tables", "write the tables below this `directory`")
	return cmd
}

func (a *app) export(ctx context.Context, o *exportOptions) error {
	if o.format != "parquet" {
		return engine.UsageError("read flag", "--format", "Use parquet; reports are written by `patrol report`.", fmt.Errorf("unknown format %q", o.format))
	}
	return a.withStore(ctx, store.ReadOnly, func(db *store.DB) error {
		evaluation, err := db.LatestEvaluation(ctx)
		if err != nil {
			return err
		}
		report, err := db.Report(ctx, evaluation)
		if err != nil {
			return err
		}
		paths, err := parquet.Write(ctx, o.dir, parquet.Source{Report: report.Redacted(), Changes: changesSince(ctx, db)})
		if err == nil && !a.quiet {
			fmt.Fprintf(a.env.stdout, "%s below %s\n", plural(len(paths), "file"), engine.SafeText(o.dir))
		}
		return err
	})
}

// changesSince finds the snapshot before by the digest that a snapshot is
// chained to.
func changesSince(ctx context.Context, db *store.DB) func(engine.Snapshot) (engine.Snapshot, iter.Seq2[engine.TokenChange, error], error) {
	var all []engine.Snapshot // read once
	return func(s engine.Snapshot) (before engine.Snapshot, changes iter.Seq2[engine.TokenChange, error], err error) {
		if s.Previous == "" {
			return before, nil, nil
		}
		if all == nil {
			if all, err = db.Snapshots(ctx); err != nil {
				return before, nil, err
			}
		}
		for _, candidate := range all {
			if candidate.Digest == s.Previous && candidate.Workspace.ID == s.Workspace.ID {
				before = candidate
			}
		}
		if !before.Coverage[engine.SectionTokens].Usable() || !s.Coverage[engine.SectionTokens].Usable() {
			return before, nil, nil
		}
		return before, db.TokenChanges(ctx, before, s), nil
	}
}
