package main

import (
	"context"
	"errors"

	"patrol/engine"
	"patrol/engine/store"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// auditOptions are the options of the three steps that an audit chains.
type auditOptions struct {
	source sourceOptions
	judge  judgeOptions
	report reportOptions

	keep      int
	exclusive bool
}

// Audit is the main job: collect, evaluate, report.
func (c commands) Audit() *cobra.Command {
	var o auditOptions
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Collect, evaluate and report: the main job, the CI gate",
		Long: "Reads the tokens and settings of each workspace, judges them by policy, prints the findings and writes the reports.\n\n" +
			"Workspaces come from --profile, else from patrol.yaml, else from the Databricks environment variables or the default\n" +
			"profile; --from reads a file instead.\n\n" + exitHelp(exitViolations, exitIncomplete),
		Example: "  patrol audit --profile prod --profile dev --fail-on high\n" +
			"  patrol audit --from tokens.json --only PAT-001,PAT-002\n" +
			"  patrol audit --format json -o - | jq .summary\n" +
			"  patrol audit -q --exclusive --keep 90 --output-dir 'reports/{date}'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.audit(cmd.Context(), &o, c.origins["format"])
		},
	}
	o.source.addFlags(cmd.Flags())
	o.judge.addFlags(cmd.Flags())
	o.report.addFlags(cmd.Flags())
	inGroup(cmd.Flags(), flagsOutput, func(flags *pflag.FlagSet) {
		flags.IntVar(&o.keep, "keep", 0, "then keep this `number` of snapshots of each workspace, the newest, and remove the others for good (0: all)")
		flags.BoolVar(&o.exclusive, "exclusive", false, "end at once, with exit code 7, while another --exclusive audit uses this database")
	})
	o.report.addNotifyFlag(cmd.Flags())
	return cmd
}

func (a *app) audit(ctx context.Context, o *auditOptions, formatOrigin string) (err error) {
	formats, err := o.report.prepare(formatOrigin, a.env.now())
	if err != nil {
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
	if err := a.checkDatabase(); err != nil {
		return err
	}
	if err := a.checkSources(ctx, &o.source); err != nil {
		return err
	}
	if o.exclusive {
		lock := flock.New(a.dbPath+".audit.lock", flock.SetPermissions(0o600))
		got, err := lock.TryLock()
		if err != nil {
			return &engine.Error{Class: engine.ClassStorage, Reason: "locked", Op: "lock", Target: a.dbPath, Hint: "Make its directory writable.", Err: err}
		}
		if !got {
			return &engine.Error{Class: engine.ClassStorage, Reason: "locked", Op: "audit into", Target: a.dbPath,
				Hint: "Wait for it, or let the audits start further apart.", Err: errors.New("another audit is under way")}
		}
		defer func() { err = errors.Join(err, lock.Close()) }() // the file stays: removing it would let two lock different files of one name
	}
	return a.withStore(ctx, store.ReadWrite, func(db *store.DB) error {
		snapshots, err := a.collect(ctx, db, &o.source)
		if err != nil {
			return err
		}
		evaluation, err := a.evaluate(ctx, db, set, snapshots, &o.judge)
		if err != nil {
			return err
		}
		outcome := a.deliver(ctx, db, evaluation, formats, &o.report, receivers)
		var reached verdictError
		if o.keep > 0 && (outcome == nil || errors.As(outcome, &reached)) {
			if err := a.pruneTo(ctx, db, &pruneOptions{keep: o.keep, yes: true}); err != nil {
				return err
			}
		}
		return outcome
	})
}

// Collect snapshots workspaces and judges nothing.
func (c commands) Collect() *cobra.Command {
	var o sourceOptions
	cmd := &cobra.Command{
		Use:   "collect",
		Short: "Snapshot workspaces into the database",
		Long: "Reads the tokens and settings of each workspace and stores them as a snapshot, which never changes. Only GET requests\n" +
			"are sent. Ends with exit code 4 when a section could not be read whole.",
		Example: "  patrol collect --profile prod\n  patrol collect --from tokens.json --db audit.db",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.checkDatabase(); err != nil {
				return err
			}
			if err := c.checkSources(cmd.Context(), &o); err != nil {
				return err
			}
			return c.withStore(cmd.Context(), store.ReadWrite, func(db *store.DB) error {
				snapshots, err := c.collect(cmd.Context(), db, &o)
				if err != nil {
					return err
				}
				return completeness(snapshots)
			})
		},
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().Var(&o.shard, "shard", "read only this part of the workspaces: `i/n`, from 0/n to n-1/n; merge the databases by patrol snapshots merge")
	return cmd
}

func completeness(snapshots []engine.Snapshot) error {
	for _, s := range snapshots {
		if len(s.Incomplete()) > 0 {
			return verdict(engine.Incomplete)
		}
	}
	return nil
}
