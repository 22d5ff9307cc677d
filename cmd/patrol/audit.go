package main

import (
	"context"
	"errors"
	"strings"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/store"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// auditOptions are the options of the three steps that an audit chains.
type auditOptions struct {
	source pipeline.Source
	judge  pipeline.Judging
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
		RunE: func(cmd *cobra.Command, _ []string) error { return c.app.audit(cmd.Context(), &o) },
	}
	addSourceFlags(cmd.Flags(), &o.source)
	addJudgeFlags(cmd.Flags(), &o.judge)
	o.report.addFlags(cmd.Flags())
	inGroup(cmd.Flags(), flagsOutput, func(flags *pflag.FlagSet) {
		flags.IntVar(&o.keep, "keep", 0, "keep this `number` of the newest snapshots of each workspace, remove the others for good (0: all)")
		flags.BoolVar(&o.exclusive, "exclusive", false, "exit 7 at once while another --exclusive audit uses this database")
	})
	o.report.addNotifyFlag(cmd.Flags())
	return cmd
}

func (a *app) audit(ctx context.Context, o *auditOptions) (err error) {
	out, err := a.reportOutput(&o.report)
	if err != nil {
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
	if err := a.CheckDatabase(); err != nil {
		return err
	}
	if err := a.CheckSource(ctx, &o.source); err != nil {
		return err
	}
	if o.exclusive {
		lock := flock.New(a.DBPath+".audit.lock", flock.SetPermissions(0o600))
		got, err := lock.TryLock()
		if err != nil {
			return &engine.Error{Class: engine.ClassStorage, Reason: "locked", Op: "lock", Target: a.DBPath, Hint: "Make its directory writable.", Err: err}
		}
		if !got {
			return &engine.Error{Class: engine.ClassStorage, Reason: "locked", Op: "audit into", Target: a.DBPath,
				Hint: "Wait for it, or let the audits start further apart.", Err: errors.New("another audit is under way")}
		}
		defer func() { err = errors.Join(err, lock.Close()) }() // the file stays: removing it would let two lock different files of one name
	}
	return a.WithStore(ctx, store.ReadWrite, func(db *store.DB) error {
		snapshots, err := a.collect(ctx, db, &o.source)
		if err != nil {
			return err
		}
		evaluation, err := a.Evaluate(ctx, db, set, snapshots, &o.judge)
		if err != nil {
			return err
		}
		verdict, err := a.Deliver(ctx, db, evaluation, out, receivers)
		if err == nil && o.keep > 0 {
			err = a.pruneTo(ctx, db, &pruneOptions{keep: o.keep, yes: true})
		}
		return ended(verdict, err)
	})
}

// Collect snapshots workspaces and judges nothing.
func (c commands) Collect() *cobra.Command {
	var o pipeline.Source
	cmd := &cobra.Command{
		Use:   "collect",
		Short: "Snapshot workspaces into the database",
		Long: "Reads the tokens and settings of each workspace and stores them as a snapshot, which never changes. Only GET requests\n" +
			"are sent. Ends with exit code 4 when a section could not be read whole.",
		Example: "  patrol collect --profile prod\n  patrol collect --from tokens.json --db audit.db",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.app.CheckDatabase(); err != nil {
				return err
			}
			if err := c.app.CheckSource(cmd.Context(), &o); err != nil {
				return err
			}
			return c.app.WithStore(cmd.Context(), store.ReadWrite, func(db *store.DB) error {
				snapshots, err := c.app.collect(cmd.Context(), db, &o)
				if err != nil {
					return err
				}
				for _, s := range snapshots {
					if len(s.Incomplete()) > 0 {
						return verdict(engine.Incomplete)
					}
				}
				return nil
			})
		},
	}
	addSourceFlags(cmd.Flags(), &o)
	cmd.Flags().Var(shardFlag(&o.Shard), "shard", "read only this part of the workspaces: `i/n`, from 0/n to n-1/n; merge the databases by patrol snapshots merge")
	return cmd
}

// collect snapshots the workspaces or files of this run, and says how far it came.
func (a *app) collect(ctx context.Context, db *store.DB, s *pipeline.Source) ([]engine.Snapshot, error) {
	snapshots, err := a.Collect(ctx, db, s)
	a.saySnapshots(snapshots)
	if err != nil {
		return snapshots, err
	}
	if s.Discovered() || len(snapshots) != 1 {
		read := 0
		for _, snapshot := range snapshots {
			if snapshot.Reached() {
				read++
			}
		}
		a.say("expected %s, read %d", plural(max(len(a.Targets(s)), len(snapshots)), "workspace"), read)
	}
	if c, asked := s.Directory(); asked && c.Complete() {
		a.say("account principals: %d read", c.Count)
	} else if asked { // workspaces are read and judged without it
		a.say("warning: account principals: %s (%s) %s; verdicts do not rest on them", c.Status, c.Reason, c.Detail)
		if c.Hint != "" {
			a.say("  hint: %s", c.Hint)
		}
	}
	if tokens, workspaces := s.Unread(snapshots); tokens > 0 {
		shown := strings.Join(workspaces[:min(len(workspaces), 5)], ", ")
		a.say("warning: the token report has %s of %s that this run did not read: %s", plural(tokens, "token"), plural(len(workspaces), "workspace"), engine.SafeText(shown))
	}
	return snapshots, nil
}

// mostNamed is how many workspaces have lines of their own; of more, what they
// have in common is.
const mostNamed = 10

func (a *app) saySnapshots(snapshots []engine.Snapshot) {
	if len(snapshots) <= mostNamed || a.verbose {
		for _, snapshot := range snapshots {
			a.saySnapshot(snapshot)
		}
		return
	}
	whole, tokens := 0, 0
	for _, s := range snapshots {
		tokens += s.Tokens
		if len(s.Incomplete()) == 0 {
			whole++
		}
	}
	a.say("%s, %d of them complete: %s", plural(len(snapshots), "workspace"), whole, plural(tokens, "token"))
	for _, gap := range engine.SharedGaps(snapshots) {
		a.sayGap(engine.FewWords(gap.Workspaces, 5), gap.Gap, gap.Coverage.Hint, true)
	}
}

// saySnapshot says what a snapshot holds, and why sections were not read whole.
func (a *app) saySnapshot(s engine.Snapshot) {
	missing, state := s.Incomplete(), "complete"
	if len(missing) > 0 {
		state = plural(len(missing), "section") + " incomplete"
	}
	c, tokens := s.Coverage[engine.SectionTokens], plural(s.Tokens, "token")
	switch {
	case c.Status == engine.Off:
		tokens = "tokens are off"
	case !c.Usable(): // of tokens that were not read nobody knows how many there are
		tokens = "tokens not read"
	}
	a.say("%s: %s, %s", s.Workspace.Name, tokens, state)
	if c.Complete() && c.Hint != "" {
		a.say("%s: %s. %s", s.Workspace.Name, engine.SafeText(c.Detail), c.Hint)
	}
	hinted := ""
	for _, gap := range s.Gaps() {
		hint := gap.Coverage.Hint
		if hint == hinted {
			hint = ""
		}
		a.sayGap(s.Workspace.Name, gap, hint, false)
		hinted = gap.Coverage.Hint
	}
}
