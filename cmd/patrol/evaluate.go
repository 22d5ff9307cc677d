package main

import (
	"context"

	"patrol/cmd/internal/pipeline"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

// evaluateOptions choose the snapshots and the policies.
type evaluateOptions struct {
	snapshots []string
	judge     pipeline.Judging
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
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.app.evaluateStored(cmd.Context(), &o) },
	}
	cmd.Flags().StringSliceVar(&o.snapshots, "snapshot", nil, "snapshots to judge: `ids`, days, or latest~1 (default: the newest of each workspace)")
	addJudgeFlags(cmd.Flags(), &o.judge)
	o.report.addDigestFlags(cmd.Flags())
	o.report.addNotifyFlag(cmd.Flags())
	return cmd
}

func (a *app) evaluateStored(ctx context.Context, o *evaluateOptions) error {
	if err := a.checkRunDigest(ctx, &o.report); err != nil {
		return err
	}
	receivers, err := a.receivers(&o.report)
	if err != nil {
		return err
	}
	set, err := a.loadPolicies(ctx, &o.judge)
	if err != nil {
		return err
	}
	return a.WithExisting(ctx, func(db *store.DB) error {
		snapshots, err := a.StoredSnapshots(ctx, db, o.snapshots)
		if err != nil {
			return err
		}
		evaluation, err := a.Evaluate(ctx, db, set, snapshots, &o.judge)
		if err != nil {
			return err
		}
		return ended(a.Deliver(ctx, db, evaluation, a.judgedOutput(&o.report), receivers))
	})
}
