package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
)

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
