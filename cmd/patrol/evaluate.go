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
	"patrol/engine/store"
	"patrol/reports"
	"patrol/reports/table"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Evaluate judges stored snapshots, offline.
func (c commands) Evaluate() *cobra.Command {
	var refs []string
	var judge pipeline.Judging
	var report reportOptions
	cmd := &cobra.Command{
		Use:   "evaluate",
		Short: "Judge snapshots by policy, offline, as of any moment",
		Long: "Judges the newest snapshot of each workspace, or those of --snapshot, and stores the results for `patrol report`.\n" +
			"A day judges a past state by today's policies, --as-of a coming moment: 2026-11-01 is the newest snapshot of each workspace then.\n" +
			"Nothing is sent anywhere. The same snapshot, policies and --as-of give the same results.\n\n" + exitHelp(exitViolations, exitIncomplete),
		Example: "  patrol evaluate --as-of 2027-01-01\n  patrol evaluate --snapshot 2026-11-01 --fail-on none",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, ctx := c.app, cmd.Context()
			if err := report.checkDelivery(); err != nil {
				return err
			}
			if err := a.checkRunDigest(ctx, &report); err != nil {
				return err
			}
			receivers, err := a.receivers(&report)
			if err != nil {
				return err
			}
			set, err := a.loadPolicies(ctx, &judge)
			if err != nil {
				return err
			}
			return a.WithExisting(ctx, func(db *store.DB) error {
				snapshots, err := a.StoredSnapshots(ctx, db, refs)
				if err != nil {
					return err
				}
				if (report.metrics != "" || report.tickets != "") && a.WhatIf(snapshots, &judge) != "" {
					return pipeline.RefuseWhatIf()
				}
				evaluation, err := a.Evaluate(ctx, db, set, snapshots, &judge)
				if err != nil {
					return err
				}
				return ended(a.Deliver(ctx, db, evaluation, a.judgedOutput(&report), receivers))
			})
		},
	}
	cmd.Flags().StringSliceVar(&refs, "snapshot", nil, "snapshots to judge: `ids`, days, or latest~1 (default: the newest)")
	addJudgeFlags(cmd.Flags(), &judge)
	report.addDigestFlags(cmd.Flags())
	report.addDeliveryFlags(cmd.Flags())
	report.addNotifyFlag(cmd.Flags())
	return cmd
}

// parseEvaluation reads the id of an evaluation; 0 is the latest of what is.
func parseEvaluation(text string) (int64, error) {
	if text == "latest" {
		return 0, nil
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, fmt.Errorf("%q is not the id of an evaluation, nor latest", text)
	}
	return id, nil
}

func addEvaluationFlag(flags *pflag.FlagSet, id *int64) {
	flags.Var(parsedFlag[int64]{id, "id", parseEvaluation, func(id int64) string {
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
	columns := []table.Column[store.EvaluationSummary]{
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
	}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all evaluations, newest first",
		Args:  cobra.NoArgs,
		RunE: a.reading(func(ctx context.Context, db *store.DB, _ []string) error {
			all, err := db.Evaluations(ctx)
			if err != nil {
				return err
			}
			var list []store.EvaluationSummary // that judged a workspace which is listed
			for _, e := range all {
				if len(o.workspaces) > 0 {
					report, err := db.Report(ctx, e.ID)
					if err != nil {
						return err
					}
					if !slices.ContainsFunc(judged(report), func(s engine.Snapshot) bool { return anyGlob(o.workspaces, s.Workspace.Name, s.Workspace.ID) }) {
						continue
					}
				}
				list = append(list, e)
			}
			return writeRows(ctx, a, o.format.word, columns, list)
		}),
	}
	o.addFlags(cmd.Flags())
	addWorkspaceFlag(cmd.Flags(), &o.workspaces)
	return cmd
}

func (a *app) evaluationsShow() *cobra.Command {
	var list listOptions
	count := func(name string, rank int, of ...engine.Status) table.Column[engine.PolicyReport] {
		return table.Number(name, 10, func(p engine.PolicyReport) any {
			n := 0
			for _, status := range of {
				n += p.Tally[status]
			}
			return n
		}).Rank(rank, 0)
	}
	columns := []table.Column[engine.PolicyReport]{
		table.Plain("policy", 12, func(p engine.PolicyReport) any { return p.Policy.ID }).Rank(1, 0),
		table.Plain("severity", 10, func(p engine.PolicyReport) any { return string(p.Policy.Severity) }).Rank(2, 0),
		count("failed", 3, engine.Fail), count("waived", 6, engine.Waived), count("baselined", 7, engine.Baselined),
		count("unknown", 4, engine.Unknown, engine.Errored), count("passed", 5, engine.Pass),
	}
	cmd := &cobra.Command{
		Use:     "show ID|latest",
		Short:   "Show an evaluation: what it judged, by what, and what it came to",
		Example: "  patrol evaluations show 3\n  patrol report --evaluation 3",
		Args:    cobra.ExactArgs(1),
		RunE: a.reading(func(ctx context.Context, db *store.DB, args []string) error {
			id, err := parseEvaluation(args[0])
			if err != nil {
				return engine.UsageError("read argument", args[0], "See `patrol evaluations list` for the ids, or say latest.", err)
			}
			report, err := a.Evaluation(ctx, db, id)
			if err == nil {
				err = report.Intact()
			}
			if err != nil {
				return err
			}
			if out := a.env.stdout; list.format.word == "table" {
				if id != 0 {
					fmt.Fprintf(out, "evaluation  %d\n", id)
				}
				if report.WhatIf != "" {
					fmt.Fprintf(out, "what if     %s\n", engine.SafeText(report.WhatIf))
				}
				fmt.Fprintf(out, "as of       %s\nfail on     %s\npatrol      %s\n", report.AsOf.Format(time.RFC3339), report.FailOn, report.Version)
				for _, s := range judged(report) {
					fmt.Fprintf(out, "snapshot    %d of %s, digest %s\n", s.ID, engine.SafeText(s.Workspace.Name), s.Digest)
				}
				fmt.Fprintln(out)
			}
			return writeRows(ctx, a, list.format.word, columns, report.Policies)
		}),
	}
	list.addFlags(cmd.Flags())
	return cmd
}

const mostDays = 730 // the platform's longest lifetime

// Forecast tells what comes if nobody does anything.
func (c commands) Forecast() *cobra.Command {
	var span pipeline.Forecasting
	var refs []string
	var judge pipeline.Judging
	var product productOptions
	cmd := &cobra.Command{
		Use:   "forecast",
		Short: "Show which tokens will end, be revoked for inactivity, or begin to break policy",
		Long: "Judges each of the coming days by the policies in force now, as if nobody did anything until then: which tokens end, which the\n" +
			"platform revokes after 90 days without use, which begin to break a policy, and on which days many end at once. Tokens in use\n" +
			"now are presumed to stay in use. Nothing is sent anywhere.\n\n" + exitHelp(exitIncomplete),
		Example: "  patrol forecast --days 30\n  patrol forecast --format ics -o tokens.ics\n  patrol forecast --only PAT-004 --format csv -o idle.csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, ctx := c.app, cmd.Context()
			if span.Days < 1 || span.Days > mostDays {
				return engine.UsageError("read flag", "--days", fmt.Sprintf("Give 1 to %d days.", mostDays), errors.New("out of range"))
			}
			set, err := a.loadPolicies(ctx, &judge)
			if err != nil {
				return err
			}
			return a.withProduct(ctx, &product, func(db *store.DB) error {
				snapshots, err := a.StoredSnapshots(ctx, db, refs)
				if err != nil {
					return err
				}
				span.From = pipeline.AsOf(snapshots, judge.AsOf)
				f, err := set.Forecast(ctx, db, snapshots, span)
				if err != nil {
					return err
				}
				database, err := filepath.Abs(a.DBPath)
				if err != nil {
					return fmt.Errorf("find the database: %w", err)
				}
				about := reports.ForecastSpan{AsOf: span.From, Days: span.Days, Tokens: f.Tokens, Database: database}
				if err := a.writeProduct(ctx, db, &product, snapshots, func(w io.Writer, options table.Options) error {
					return reports.Forecast(ctx, w, product.format.word, engine.Pseudonymised(a.Names, f.List), about, options)
				}); err != nil {
					return err
				}
				if f.Unjudged > 0 {
					a.say("%s could not be judged (unknown or error), which this leaves out: see `patrol evaluate`", plural(f.Unjudged, "result"))
					return verdict(engine.Incomplete)
				}
				return a.tokensCovered(snapshots)
			})
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&span.Days, "days", 90, "look so many `days` ahead, at most 730")
	flags.IntVar(&span.InUse, "in-use", 30, "tokens used within so many `days` stay in use (0: none)")
	flags.IntVar(&span.Cliff, "cliff", 0, "name days on which at least so many `tokens` end (default: 5 % of all, and 10)")
	flags.StringSliceVar(&refs, "snapshot", nil, "start from these snapshots: `ids`, days, or latest~1 (default: the newest)")
	flags.Var(instantFlag(&judge.AsOf), "as-of", "start from this moment (default: of the newest snapshot)")
	addPackFlags(flags, &judge)
	flags.StringSliceVar(&judge.Only, "only", nil, "judge by these policies only: `ids` or aliases")
	flags.StringSliceVar(&judge.Exclude, "exclude", nil, "leave these policies out: `ids` or aliases")
	product.addFlags(flags, "table", "csv", "json", "ics")
	return cmd
}
