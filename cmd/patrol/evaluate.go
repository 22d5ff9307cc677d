package main

import (
	"context"
	"fmt"
	"slices"

	"patrol/engine"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

// evaluateOptions choose the snapshots and the policies.
type evaluateOptions struct {
	snapshots []string
	judge     judgeOptions
	report    reportOptions
}

// Evaluate judges stored snapshots, offline.
func (c commands) Evaluate() *cobra.Command {
	var o evaluateOptions
	cmd := &cobra.Command{
		Use:   "evaluate",
		Short: "Judge snapshots by policy, offline, as of any moment",
		Long: "Judges the newest snapshot of each workspace, or those of --snapshot, and stores the results for `patrol report`.\n" +
			"A day judges a past state by today's policies, --as-of a coming moment: 2026-11-01 is the newest snapshot of each workspace then.\n" +
			"Nothing is sent anywhere. The same snapshot, policies and --as-of give the same results.\n\n" + exitHelp(exitViolations, exitIncomplete),
		Example: "  patrol evaluate --as-of 2027-01-01\n  patrol evaluate --snapshot 2026-11-01 --fail-on none",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.evaluateStored(cmd.Context(), &o) },
	}
	cmd.Flags().StringSliceVar(&o.snapshots, "snapshot", nil, "snapshots to judge: `ids`, days, or latest~1 (default: the newest of each workspace)")
	o.judge.addFlags(cmd.Flags())
	o.report.addNotifyFlag(cmd.Flags())
	return cmd
}

func (a *app) evaluateStored(ctx context.Context, o *evaluateOptions) error {
	receivers, err := a.receivers(&o.report)
	if err != nil {
		return err
	}
	set, err := a.loadPolicies(ctx, &o.judge)
	if err != nil {
		return err
	}
	return a.withExisting(ctx, func(db *store.DB) error {
		snapshots, err := a.storedSnapshots(ctx, db, o.snapshots)
		if err != nil {
			return err
		}
		evaluation, err := a.evaluate(ctx, db, set, snapshots, &o.judge)
		if err != nil {
			return err
		}
		return a.deliver(ctx, db, evaluation, nil, &o.report, receivers)
	})
}

// storedSnapshots are those asked for, else the newest of each workspace, with
// the labels that the configuration has for them now.
func (a *app) storedSnapshots(ctx context.Context, db *store.DB, wanted []string) ([]engine.Snapshot, error) {
	var snapshots []engine.Snapshot
	for _, ref := range wanted {
		found, err := snapshotsOf(ctx, db, ref)
		if err != nil {
			return nil, err
		}
		for _, snapshot := range found {
			if !slices.ContainsFunc(snapshots, func(s engine.Snapshot) bool { return s.ID == snapshot.ID }) {
				snapshots = append(snapshots, snapshot)
			}
		}
	}
	if len(wanted) == 0 {
		latest, err := db.Latest(ctx)
		if err != nil {
			return nil, err
		}
		snapshots = latest
	}
	if len(snapshots) == 0 {
		return nil, &engine.Error{Class: engine.ClassUsage, Reason: "no_snapshot", Op: "read snapshots of", Target: a.dbPath,
			Hint: "Run `patrol collect` or `patrol audit` first, or name another database with --db.", Err: fmt.Errorf("there are none")}
	}
	for i := range snapshots {
		a.relabel(&snapshots[i].Workspace)
	}
	return snapshots, nil
}

func (a *app) relabel(w *engine.Workspace) {
	for _, configured := range a.config.Workspaces {
		if configured.Name == w.Name && configured.Labels != nil {
			w.Labels = configured.Labels
		}
	}
}

// Report writes the reports of the latest evaluation, offline.
func (c commands) Report() *cobra.Command {
	var o reportOptions
	var evaluation int64
	cmd := &cobra.Command{
		Use:     "report",
		Short:   "Write reports of the latest evaluation, offline",
		Long:    "Writes the reports of the latest evaluation in the database again, in any format. Ends with the exit code of that evaluation.\n\n" + exitHelp(exitViolations, exitIncomplete),
		Example: "  patrol report --format xlsx --output-dir auditors\n  patrol report -o findings.csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			formats, err := o.prepare(c.origins["format"], c.env.now())
			if err != nil {
				return err
			}
			return c.withStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				return c.redeliver(cmd.Context(), db, evaluation, formats, &o)
			})
		},
	}
	o.addFlags(cmd.Flags())
	addEvaluationFlag(cmd.Flags(), &evaluation)
	cmd.Flags().StringVar(&o.framework, "framework", "", "show where this framework, or one control of it, stands: `name[:control]`")
	return cmd
}
