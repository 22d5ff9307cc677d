package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports"
	"patrol/reports/table"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	cmd.Flags().StringSliceVar(&o.snapshots, "snapshot", nil, "snapshots to judge: `ids`, days, or latest~1 (default: the newest)")
	addJudgeFlags(cmd.Flags(), &o.judge)
	o.report.addDigestFlags(cmd.Flags())
	o.report.addDeliveryFlags(cmd.Flags())
	o.report.addNotifyFlag(cmd.Flags())
	return cmd
}

func (a *app) evaluateStored(ctx context.Context, o *evaluateOptions) error {
	if err := o.report.checkDelivery(); err != nil {
		return err
	}
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
		if (o.report.metrics != "" || o.report.tickets != "") && a.WhatIf(snapshots, &o.judge) != "" {
			return pipeline.RefuseWhatIf()
		}
		evaluation, err := a.Evaluate(ctx, db, set, snapshots, &o.judge)
		if err != nil {
			return err
		}
		return ended(a.Deliver(ctx, db, evaluation, a.judgedOutput(&o.report), receivers))
	})
}

// addEvaluationFlag adds the flag that names an evaluation; 0 is the latest of what is.
func addEvaluationFlag(flags *pflag.FlagSet, id *int64) {
	flags.Var(parsedFlag[int64]{id, "id", func(text string) (int64, error) {
		if text == "latest" {
			return 0, nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 {
			return 0, fmt.Errorf("%q is not the id of an evaluation, nor latest", text)
		}
		return n, nil
	}, func(id int64) string {
		if id == 0 {
			return ""
		}
		return strconv.FormatInt(id, 10)
	}}, "evaluation", "the evaluation of this `id`, what-if runs included, or latest (default: the latest that is none; see `patrol evaluations list`)")
}

// Evaluations shows what was judged.
func (c commands) Evaluations() *cobra.Command {
	return commandGroup("evaluations", "Show the evaluations in the database, what-if runs included", c.app.evaluationsList(), c.app.evaluationsShow())
}

func (a *app) evaluationsList() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all evaluations, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				list, err := db.Evaluations(cmd.Context())
				if err != nil {
					return err
				}
				if len(o.workspaces) > 0 {
					if list, err = evaluationsOf(cmd.Context(), db, list, &o); err != nil {
						return err
					}
				}
				return writeList(cmd.Context(), a, o.format, []table.Column[store.EvaluationSummary]{
					table.Number("id", 8, func(e store.EvaluationSummary) any { return e.ID }).Rank(1, 0),
					table.Date("as_of", 22, func(e store.EvaluationSummary) any { return table.InstantOf(e.AsOf) }).Rank(2, 0),
					table.Number("workspaces", 10, func(e store.EvaluationSummary) any { return e.Workspaces }).Rank(5, 0),
					table.Number("failed", 8, func(e store.EvaluationSummary) any { return e.Findings[engine.Fail] }).Rank(3, 0),
					table.Number("unknown", 8, func(e store.EvaluationSummary) any {
						return e.Findings[engine.Unknown] + e.Findings[engine.Errored]
					}).Rank(6, 0),
					table.Plain("kind", 20, func(e store.EvaluationSummary) any {
						switch {
						case e.WhatIf != "":
							return "WHAT IF: " + e.WhatIf
						case e.Narrowed:
							return "part of the policies"
						}
						return "whole"
					}).Rank(4, 12),
					table.ID("digest", 64, func(e store.EvaluationSummary) any { return e.Digest }).Rank(7, 12).As(func(e store.EvaluationSummary) string { return fmt.Sprintf("%.12s", e.Digest) }),
				}, list)
			})
		},
	}
	o.addFlags(cmd.Flags())
	addWorkspaceFlag(cmd.Flags(), &o.workspaces)
	return cmd
}

// evaluationsOf are those that judged a workspace which is listed.
func evaluationsOf(ctx context.Context, db *store.DB, list []store.EvaluationSummary, o *listOptions) ([]store.EvaluationSummary, error) {
	var kept []store.EvaluationSummary
	for _, e := range list {
		report, err := db.Report(ctx, e.ID)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(judged(report), func(s engine.Snapshot) bool { return anyGlob(o.workspaces, s.Workspace.Name, s.Workspace.ID) }) {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

func (a *app) evaluationsShow() *cobra.Command {
	var list listOptions
	cmd := &cobra.Command{
		Use:     "show ID|latest",
		Short:   "Show an evaluation: what it judged, by what, and what it came to",
		Example: "  patrol evaluations show 3\n  patrol report --evaluation 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if args[0] == "latest" {
				id, err = 0, nil
			}
			if err != nil {
				return engine.UsageError("read argument", args[0], "See `patrol evaluations list` for the ids, or say latest.", fmt.Errorf("not the id of an evaluation"))
			}
			return a.WithStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				report, err := a.Evaluation(cmd.Context(), db, id)
				if err == nil {
					err = report.Intact()
				}
				if err != nil {
					return err
				}
				if list.format.word == "table" {
					if id != 0 {
						fmt.Fprintf(a.env.stdout, "evaluation  %d\n", id)
					}
					if report.WhatIf != "" {
						fmt.Fprintf(a.env.stdout, "what if     %s\n", engine.SafeText(report.WhatIf))
					}
					fmt.Fprintf(a.env.stdout, "as of       %s\nfail on     %s\npatrol      %s\n", report.AsOf.Format(time.RFC3339), report.FailOn, report.Version)
					for _, s := range judged(report) {
						fmt.Fprintf(a.env.stdout, "snapshot    %d of %s, digest %s\n", s.ID, engine.SafeText(s.Workspace.Name), s.Digest)
					}
					fmt.Fprintln(a.env.stdout)
				}
				count := func(name string, rank int, of ...engine.Status) table.Column[engine.PolicyReport] {
					return table.Number(name, 10, func(p engine.PolicyReport) any {
						n := 0
						for _, status := range of {
							n += p.Tally[status]
						}
						return n
					}).Rank(rank, 0)
				}
				return writeList(cmd.Context(), a, list.format, []table.Column[engine.PolicyReport]{
					table.Plain("policy", 12, func(p engine.PolicyReport) any { return p.Policy.ID }).Rank(1, 0),
					table.Plain("severity", 10, func(p engine.PolicyReport) any { return string(p.Policy.Severity) }).Rank(2, 0),
					count("failed", 3, engine.Fail), count("waived", 6, engine.Waived), count("baselined", 7, engine.Baselined),
					count("unknown", 4, engine.Unknown, engine.Errored), count("passed", 5, engine.Pass),
				}, report.Policies)
			})
		},
	}
	list.addFlags(cmd.Flags())
	return cmd
}

type forecastOptions struct {
	span      pipeline.Forecasting
	snapshots []string
	judge     pipeline.Judging
	product   productOptions
}

// Forecast tells what comes if nobody does anything.
func (c commands) Forecast() *cobra.Command {
	o := forecastOptions{}
	cmd := &cobra.Command{
		Use:   "forecast",
		Short: "Show which tokens will end, be revoked for inactivity, or begin to break policy",
		Long: "Judges each of the coming days by the policies in force now, as if nobody did anything until then: which tokens end, which the\n" +
			"platform revokes after 90 days without use, which begin to break a policy, and on which days many end at once. Tokens in use\n" +
			"now are presumed to stay in use. Nothing is sent anywhere.\n\n" + exitHelp(exitIncomplete),
		Example: "  patrol forecast --days 30\n  patrol forecast --format ics -o tokens.ics\n  patrol forecast --only PAT-004 --format csv -o idle.csv",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.app.forecast(cmd.Context(), &o) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.span.Days, "days", 90, "look so many `days` ahead, at most 730")
	flags.IntVar(&o.span.InUse, "in-use", 30, "tokens used within so many `days` stay in use (0: none)")
	flags.IntVar(&o.span.Cliff, "cliff", 0, "name days on which at least so many `tokens` end (default: 5 % of all, and 10)")
	flags.StringSliceVar(&o.snapshots, "snapshot", nil, "start from these snapshots: `ids`, days, or latest~1 (default: the newest)")
	flags.Var(instantFlag(&o.judge.AsOf), "as-of", "start from this moment (default: of the newest snapshot)")
	addPackFlags(flags, &o.judge)
	flags.StringSliceVar(&o.judge.Only, "only", nil, "judge by these policies only: `ids` or aliases")
	flags.StringSliceVar(&o.judge.Exclude, "exclude", nil, "leave these policies out: `ids` or aliases")
	o.product.addFlags(flags, "table", "csv", "json", "ics")
	return cmd
}

const mostDays = 730 // the platform's longest lifetime

func (a *app) forecast(ctx context.Context, o *forecastOptions) error {
	if o.span.Days < 1 || o.span.Days > mostDays || o.span.Cliff < 0 || o.span.InUse < 0 {
		return engine.UsageError("read flags", "--days, --cliff, --in-use", "Give 1 to 730 days, and no negative numbers.", errors.New("out of range"))
	}
	set, err := a.loadPolicies(ctx, &o.judge)
	if err != nil {
		return err
	}
	return a.withProduct(ctx, &o.product, func(db *store.DB) error {
		snapshots, err := a.StoredSnapshots(ctx, db, o.snapshots)
		if err != nil {
			return err
		}
		o.span.From = pipeline.AsOf(snapshots, o.judge.AsOf)
		f, err := set.Forecast(ctx, db, snapshots, o.span)
		if err != nil {
			return err
		}
		if err := db.Intact(ctx, snapshots...); err != nil {
			return err
		}
		database, err := filepath.Abs(a.DBPath)
		if err != nil {
			return fmt.Errorf("find the database: %w", err)
		}
		span := reports.ForecastSpan{AsOf: o.span.From, Days: o.span.Days, Tokens: f.Tokens, Database: database}
		if err := a.writeProduct(outfile.Files{}, o.product.output, func(w io.Writer) error {
			return reports.Forecast(ctx, w, o.product.format.word, engine.Pseudonymised(a.Names, f.List), span, a.listOptions(o.product.output))
		}); err != nil {
			return err
		}
		if f.Unjudged > 0 {
			a.say("%s could not be judged (unknown or error), which this leaves out: see `patrol evaluate`", plural(f.Unjudged, "result"))
			return verdict(engine.Incomplete)
		}
		return a.tokensCovered(snapshots)
	})
}
