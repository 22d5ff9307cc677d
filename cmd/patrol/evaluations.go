package main

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"patrol/engine"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func addEvaluationFlag(flags *pflag.FlagSet, id *int64) {
	flags.Int64Var(id, "evaluation", 0, "the evaluation of this `id`, what-if runs included (default: the latest that is none; see `patrol evaluations list`)")
}

// storedReport is the report of an evaluation; 0 means the latest of what is.
func (a *app) storedReport(ctx context.Context, db *store.DB, id int64) (engine.Report, error) {
	if id == 0 {
		latest, err := db.LatestEvaluation(ctx)
		if err != nil {
			return engine.Report{}, err
		}
		id = latest
	}
	report, err := db.Report(ctx, id)
	if text := reports.WhatIf(report); err == nil && text != "" {
		a.say("%s", text)
	}
	return report, err
}

// Evaluations shows what was judged.
func (c commands) Evaluations() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evaluations",
		Short: "Show the evaluations in the database, what-if runs included",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.evaluationsList(), c.evaluationsShow())
	return cmd
}

func (a *app) evaluationsList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all evaluations, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				list, err := db.Evaluations(cmd.Context())
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(a.env.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tAS OF\tWORKSPACES\tFAILED\tUNKNOWN\tKIND\tDIGEST")
				for _, e := range list {
					kind := "whole"
					if e.Narrowed {
						kind = "part of the policies"
					}
					if e.WhatIf != "" {
						kind = "WHAT IF: " + engine.SafeText(e.WhatIf)
					}
					fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%s\t%.12s\n", e.ID, e.AsOf.Format(time.RFC3339), e.Workspaces,
						e.Findings[engine.Fail], e.Findings[engine.Unknown]+e.Findings[engine.Errored], kind, e.Digest)
				}
				return w.Flush()
			})
		},
	}
}

func (a *app) evaluationsShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show an evaluation: what it judged, by what, and what it came to",
		Example: "  patrol evaluations show 3\n  patrol report --evaluation 3",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return engine.UsageError("read argument", args[0], "See `patrol evaluations list` for the ids.", fmt.Errorf("not the id of an evaluation"))
			}
			return a.withStore(cmd.Context(), store.ReadOnly, func(db *store.DB) error {
				report, err := a.storedReport(cmd.Context(), db, id)
				if err == nil {
					err = report.Intact()
				}
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(a.env.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintf(w, "evaluation\t%d\n", id)
				if report.WhatIf != "" {
					fmt.Fprintf(w, "what if\t%s\n", engine.SafeText(report.WhatIf))
				}
				fmt.Fprintf(w, "as of\t%s\nfail on\t%s\npatrol\t%s\n", report.AsOf.Format(time.RFC3339), report.FailOn, report.Version)
				for _, s := range judged(report) {
					fmt.Fprintf(w, "snapshot\t%d of %s, digest %s\n", s.ID, engine.SafeText(s.Workspace.Name), s.Digest)
				}
				fmt.Fprintln(w, "\nPOLICY\tSEVERITY\tFAILED\tWAIVED\tBASELINED\tUNKNOWN\tPASSED")
				for _, p := range report.Policies {
					fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", p.Policy.ID, p.Policy.Severity, p.Tally[engine.Fail], p.Tally[engine.Waived],
						p.Tally[engine.Baselined], p.Tally[engine.Unknown]+p.Tally[engine.Errored], p.Tally[engine.Pass])
				}
				return w.Flush()
			})
		},
	}
}

// whatIf is the name of an evaluation that says what would be: by the flag, or
// because it judges as of a moment that is not now. "" is an evaluation of what
// is. The day of the newest snapshot, and all since, is now.
func (a *app) whatIf(snapshots []engine.Snapshot, o *judgeOptions) string {
	if o.whatIf != "" || o.asOf.IsZero() {
		return o.whatIf
	}
	newest := asOf(snapshots, instant{})
	if !o.asOf.Before(newest.Truncate(24*time.Hour)) && !o.asOf.After(a.env.now()) {
		return ""
	}
	return "as of " + o.asOf.String()
}
