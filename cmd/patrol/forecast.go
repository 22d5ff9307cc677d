package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"sync"
	"time"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
)

type forecastOptions struct {
	days      int
	cliff     int
	inUse     int
	snapshots []string
	judge     judgeOptions
	product   productOptions
}

// Forecast tells what comes if nobody does anything.
func (c commands) Forecast() *cobra.Command {
	o := forecastOptions{}
	cmd := &cobra.Command{
		Use:   "forecast",
		Short: "Tell which tokens will end, be revoked for inactivity, or begin to break policy",
		Long: "Tells, for each of the coming days, which tokens end, which the platform will revoke because they were unused for 90 days, and\n" +
			"which begin to break a policy that they do not break now, if nobody does anything until then; and on which days many end\n" +
			"at once. Tokens in use now are presumed to stay in use. Each day is judged as a whole, by the policies in force now, from the newest snapshots; nothing is sent anywhere.\n\n" + exitHelp(exitIncomplete),
		Example: "  patrol forecast --days 30\n  patrol forecast --format ics -o tokens.ics\n  patrol forecast --only PAT-004 --format csv -o idle.csv",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.forecast(cmd.Context(), &o) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.days, "days", 90, "look so many `days` ahead, at most 730")
	flags.IntVar(&o.inUse, "in-use", 30, "presume that tokens used within so many `days` before stay in use (0: none)")
	flags.IntVar(&o.cliff, "cliff", 0, "name days on which at least so many `tokens` end (default: 5 % of all, and 10)")
	flags.StringSliceVar(&o.snapshots, "snapshot", nil, "start from these snapshots: `ids`, days, or latest~1 (default: the newest of each workspace)")
	flags.Var(&o.judge.asOf, "as-of", "start from this moment (default: when the newest snapshot was taken)")
	o.judge.addPacks(flags)
	flags.StringSliceVar(&o.judge.only, "only", nil, "judge by these policies only: `ids` or aliases")
	flags.StringSliceVar(&o.judge.exclude, "exclude", nil, "leave these policies out: `ids` or aliases")
	o.product.addFlags(flags, "table", "csv", "json", "ics")
	return cmd
}

const mostDays = 730 // the platform's longest lifetime

func (a *app) forecast(ctx context.Context, o *forecastOptions) error {
	if o.days < 1 || o.days > mostDays || o.cliff < 0 || o.inUse < 0 {
		return engine.UsageError("read flags", "--days, --cliff, --in-use", "Give 1 to 730 days, and no negative numbers.", errors.New("out of range"))
	}
	set, err := a.loadPolicies(ctx, &o.judge)
	if err != nil {
		return err
	}
	return a.withProduct(ctx, &o.product, func(db *store.DB) error {
		snapshots, err := a.storedSnapshots(ctx, db, o.snapshots)
		if err != nil {
			return err
		}
		f := &forecaster{app: a, db: db, set: set, options: o, from: asOf(snapshots, o.judge.asOf)}
		if err := f.run(ctx, snapshots); err != nil {
			return err
		}
		if err := db.Intact(ctx, snapshots...); err != nil {
			return err
		}
		database, err := filepath.Abs(a.dbPath)
		if err != nil {
			return fmt.Errorf("find the database: %w", err)
		}
		span := reports.ForecastSpan{AsOf: f.from, Days: o.days, Tokens: f.tokens, Database: database}
		if err := a.writeProduct(outfile.Files{}, o.product.output, func(w io.Writer) error {
			return reports.Forecast(ctx, w, o.product.format.word, engine.Pseudonymised(a.names, f.list), span, a.listOptions(o.product.output))
		}); err != nil {
			return err
		}
		if f.unjudged > 0 {
			a.say("%s could not be judged (unknown or error), which this leaves out: see `patrol evaluate`", plural(f.unjudged, "result"))
			return verdict(engine.Incomplete)
		}
		return a.tokensCovered(snapshots)
	})
}

// forecaster tells what comes, workspace by workspace.
type forecaster struct {
	*app
	db      *store.DB
	set     *policySet
	options *forecastOptions
	from    time.Time

	lock     sync.Mutex // for what follows: workspaces are judged side by side
	list     []engine.Forecast
	tokens   int
	unjudged int // results of the first day that are unknown or errors
}

func (f *forecaster) run(ctx context.Context, snapshots []engine.Snapshot) error {
	tokens, leave := f.set.chosen.Select(func(p engine.Policy) bool { return p.Resource == engine.ResourceToken }).Keep()
	defer leave()
	err := sideBySide(ctx, snapshots, func(ctx context.Context, s engine.Snapshot) error {
		if err := f.judge(ctx, tokens, s); err != nil {
			return err
		}
		return f.dates(ctx, s)
	})
	if err != nil {
		return err
	}
	least := f.options.cliff
	if least == 0 {
		least = max(10, f.tokens/20)
	}
	f.list = append(f.list, engine.Cliffs(f.list, least)...)
	engine.SortForecast(f.list)
	return nil
}

// on is the moment to judge at on the n-th day.
func (f *forecaster) on(n int) time.Time { return f.from.Add(time.Duration(n) * 24 * time.Hour) }

// judge judges a workspace on each of the days.
func (f *forecaster) judge(ctx context.Context, policies *eval.Set, s engine.Snapshot) error {
	if !s.Coverage[engine.SectionTokens].Usable() {
		return nil
	}
	days := make([]time.Time, f.options.days+1)
	for n := range days {
		days[n] = f.on(n)
	}
	job := eval.ForecastJob{Snapshot: s, At: days, Tuning: f.set.effective(s.Workspace), Tokens: func(among bool) iter.Seq2[engine.FutureToken, error] {
		return f.presumed(f.db.Forecast(ctx, s.ID, days, among))
	}}
	return policies.Forecast(ctx, job, func(n int, found engine.Finding) error {
		f.lock.Lock()
		defer f.lock.Unlock()
		if found.Status == engine.Fail {
			f.list = append(f.list, violation(s.Workspace, found.Redacted(), days[n]))
		} else {
			f.unjudged++
		}
		return nil
	})
}

func violation(w engine.Workspace, found engine.Finding, at time.Time) engine.Forecast {
	return engine.Forecast{
		Day: at.UTC().Format(time.DateOnly), Kind: engine.WillViolate, Workspace: w, TokenID: found.ResourceID,
		Owner: found.Owner, OwnerID: found.OwnerID, Policy: found.Policy, Title: found.Title, Severity: found.Severity, Message: found.Message,
	}
}

// presumed are tokens as they and those that took their place are presumed to be
// until they end.
func (f *forecaster) presumed(tokens iter.Seq2[engine.FutureToken, error]) iter.Seq2[engine.FutureToken, error] {
	return func(yield func(engine.FutureToken, error) bool) {
		for token, err := range tokens {
			if !yield(func(n int) (engine.Subject, bool) { return f.presume(token, n) }, err) {
				return
			}
		}
	}
}

func (f *forecaster) presume(token engine.FutureToken, n int) (engine.Subject, bool) {
	subject, there := token(n)
	if !there || holds(subject.Facts.Expired) {
		return subject, false
	}
	at := f.on(n)
	if used := subject.Token.LastUsed; used != nil && f.stays(*used) {
		moved := f.moved(*used, at)
		subject.Token.LastUsed = &moved
		subject.Facts = engine.Derive(subject.Token, at.UnixMilli())
	}
	if among := subject.Among; among != nil && among.Successor != nil && f.stays(among.Successor.LastUsed) {
		standing, successor := *among, *among.Successor
		successor.LastUsed = f.moved(successor.LastUsed, at)
		standing.Successor, subject.Among = &successor, &standing
	}
	return subject, true
}

// moved is the last use at a moment of a token that stays in use.
func (f *forecaster) moved(used int64, at time.Time) int64 {
	return used + at.Sub(f.from).Milliseconds()
}

// stays presumes that a token stays in use.
func (f *forecaster) stays(used int64) bool {
	return f.from.UnixMilli()-used <= int64(f.options.inUse)*engine.Day && f.options.inUse > 0
}

// dates adds what follows from the dates of tokens alone.
func (f *forecaster) dates(ctx context.Context, s engine.Snapshot) error {
	for token, err := range f.db.Forecast(ctx, s.ID, []time.Time{f.from}, false) {
		if err != nil {
			return err
		}
		subject, _ := token(0)
		stays := subject.Token.LastUsed != nil && f.stays(*subject.Token.LastUsed)
		comes := engine.ForecastToken(s.Workspace, subject, stays, f.from, f.on(f.options.days))
		f.lock.Lock()
		f.tokens++
		f.list = append(f.list, comes...)
		f.lock.Unlock()
	}
	return nil
}
