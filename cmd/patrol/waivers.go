package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/exceptions"
	"patrol/engine/store"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Waivers shows the exceptions and holds them to policy.
func (c commands) Waivers() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "waivers",
		Short: "Show the waivers, and check them",
		Args:  unknownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.waiversList(), c.waiversCheck())
	return cmd
}

func addWaiverFlags(flags *pflag.FlagSet, o *judgeOptions) {
	o.addPacks(flags)
	o.except.addWaivers(flags)
	flags.Var(&o.asOf, "as-of", "the day that decides what is in force (default: today, UTC)")
}

func (a *app) waiversList() *cobra.Command {
	var o judgeOptions
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the waivers: what they excuse, who approved, until when",
		Example: "  patrol waivers list\n  patrol waivers list --waivers exceptions/waivers.yaml --as-of 2027-01-01",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, file, err := a.waiverFile(cmd.Context(), &o)
			if err != nil {
				return err
			}
			return listWaivers(a.env.stdout, engine.Pseudonymised(a.names, file.Rules), engine.DateOf(a.today(o.asOf)))
		},
	}
	addWaiverFlags(cmd.Flags(), &o)
	return cmd
}

// waiverFile reads the waivers that the command is about: there must be a file.
func (a *app) waiverFile(ctx context.Context, o *judgeOptions) (*policySet, *exceptions.Waivers, error) {
	set, err := a.loadPolicies(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if set.exceptions.waivers == nil {
		return nil, nil, unreadable("read waivers", o.except.waivers, "Name a file with --waivers; docs/waivers.md says what it holds.", errors.New("there is no such file"))
	}
	return set, set.exceptions.waivers, nil
}

func (a *app) today(asked instant) time.Time {
	if asked.IsZero() {
		return a.env.now()
	}
	return asked.Time
}

func listWaivers(out io.Writer, rules []engine.WaiverRule, day engine.Date) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tPOLICY\tSCOPE\tAPPROVER\tEXPIRES\tSTATE")
	for _, r := range rules {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", engine.SafeText(r.ID), strings.Join(r.Policies, ","),
			engine.SafeText(r.Scope()), engine.SafeText(r.Approver), r.Expires, stateOn(r, day))
	}
	return w.Flush()
}

// stateOn is the state as far as the calendar decides it.
func stateOn(r engine.WaiverRule, day engine.Date) string {
	left := day.Until(r.Expires)
	switch {
	case left < 0:
		return fmt.Sprintf("expired %s ago", plural(-left, "day"))
	case day < r.Created:
		return "from " + r.Created.String()
	case left <= engine.WaiverNotice:
		return fmt.Sprintf("in force, %s left", plural(left, "day"))
	}
	return "in force"
}

func (a *app) waiversCheck() *cobra.Command {
	var o judgeOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the waivers: form, policy over waivers, and what they match",
		Long: "Reads the waivers strictly, judges them by the policies over waivers, and matches them against the findings of the\n" +
			"latest evaluation in the database, where there is one. Ends with exit code 3 when the file has a mistake, and with 1 when\n" +
			"a waiver is refused or expired: it does not count as it is written.",
		Example: "  patrol waivers check\n  patrol waivers check --waivers exceptions/waivers.yaml --as-of 2027-01-01",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.checkWaivers(cmd.Context(), &o) },
	}
	addWaiverFlags(cmd.Flags(), &o)
	return cmd
}

func (a *app) checkWaivers(ctx context.Context, o *judgeOptions) error {
	set, file, err := a.waiverFile(ctx, o)
	if err != nil {
		return err
	}
	c := waiverCheck{app: a, set: set, file: file, asOf: a.today(o.asOf)}
	if err := c.match(ctx); err != nil {
		return err
	}
	if err := c.judgeAlone(ctx); err != nil {
		return err
	}
	c.uses = engine.Pseudonymised(a.names, c.uses)
	if err := c.print(a.env.stdout); err != nil {
		return err
	}
	if x := (engine.Exceptions{Waivers: c.uses}); len(x.Refused())+len(x.In(engine.WaiverExpired)) > 0 {
		return verdict(engine.Violations)
	}
	return nil
}

// waiverCheck is a check under way.
type waiverCheck struct {
	*app
	set  *policySet
	file *exceptions.Waivers
	asOf time.Time

	uses    []engine.WaiverUse
	matched string // against what
}

// match lets the waivers loose on the findings of the latest evaluation.
func (c *waiverCheck) match(ctx context.Context) error {
	excusing := exceptionFiles{waivers: c.file}.begin(c.asOf)
	defer excusing.leave()
	c.matched = "no evaluation in " + c.dbPath + ": nothing was matched"
	if _, err := os.Stat(c.dbPath); err == nil {
		err := c.withStore(ctx, store.ReadOnly, func(db *store.DB) error { return c.matchLatest(ctx, db, excusing) })
		if err != nil {
			return err
		}
	}
	c.uses = excusing.result().Waivers
	return nil
}

func (c *waiverCheck) matchLatest(ctx context.Context, db *store.DB, excusing *excusing) error {
	id, err := db.LatestEvaluation(ctx)
	if known, ok := engine.AsError(err); ok && known.Reason == "no_evaluation" {
		return nil
	}
	if err != nil {
		return err
	}
	report, err := db.Report(ctx, id)
	if err != nil {
		return err
	}
	if err := report.Intact(); err != nil {
		return err
	}
	c.matched = "matched against the findings as of " + report.AsOf.UTC().Format(time.RFC3339)
	return c.rematch(ctx, report, excusing)
}

// rematch excuses the findings of a report anew, whatever excused them before, as
// the waivers are written now.
func (c *waiverCheck) rematch(ctx context.Context, report engine.Report, excusing *excusing) error {
	excepts := map[string]func(engine.Finding) engine.Finding{} // by workspace
	tallies := map[string]map[string]engine.Tally{}
	for i := range report.Workspaces {
		w := &report.Workspaces[i].Snapshot.Workspace
		c.relabel(w)
		var err error
		if excepts[w.ID], err = excusing.exceptIn(ctx, c.set, c.asOf, c.set.effective(*w)); err != nil {
			return err
		}
		tallies[w.ID] = map[string]engine.Tally{}
		for _, p := range report.Policies {
			if p.Tally.Evaluated() > 0 {
				tallies[w.ID][p.Policy.ID] = engine.Tally{}
			}
		}
	}
	for f, err := range report.Findings {
		if err != nil {
			return err
		}
		if f.Status == engine.Waived || f.Status == engine.Baselined {
			f.Status, f.Waiver = engine.Fail, nil
		}
		f = excepts[f.WorkspaceID](f)
		if tally := tallies[f.WorkspaceID][f.Policy]; tally != nil {
			tally[f.Status]++
		}
	}
	for _, w := range report.Workspaces {
		excusing.judged(w.Snapshot, tallies[w.Snapshot.Workspace.ID])
	}
	return nil
}

// judgeAlone judges the waivers that met no finding by what does not ask for one.
func (c *waiverCheck) judgeAlone(ctx context.Context) error {
	tuning := c.set.effective(engine.Workspace{})
	judge, err := c.set.all.WaiverJudge(ctx, c.asOf, tuning)
	if err != nil {
		return err
	}
	defer judge.Close()
	for i := range c.uses {
		if use := &c.uses[i]; use.Waived == 0 && len(use.Refusals) == 0 {
			use.Refusals = c.refusalsOf(ctx, judge, tuning, use.WaiverRule)
		}
		if c.uses[i].State != engine.WaiverExpired && c.uses[i].Waived == 0 && len(c.uses[i].Refusals) > 0 {
			c.uses[i].State, c.uses[i].ExpiresSoon = engine.WaiverRefused, false
		}
	}
	return nil
}

func (c *waiverCheck) refusalsOf(ctx context.Context, judge *eval.WaiverJudge, tuning map[string]eval.Tuning, w engine.WaiverRule) []engine.WaiverRefusal {
	var refusals []engine.WaiverRefusal
	for _, id := range w.Policies {
		policy, _ := c.set.policy(id)
		severity := policy.Severity
		if tuned := tuning[policy.ID].Severity; tuned != "" {
			severity = tuned
		}
		for _, why := range judge.Judge(ctx, eval.WaiverCase{Waiver: w, Policy: policy.ID, Severity: severity}) {
			if !slices.Contains(refusals, why) {
				refusals = append(refusals, why)
			}
		}
	}
	return refusals
}

func (c *waiverCheck) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tFINDINGS\tEXPIRES\tNOTE")
	for _, use := range c.uses {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", engine.SafeText(use.ID), use.State, use.Waived, use.Expires, engine.SafeText(note(use)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s as of %s: %s.\n%s\n", plural(len(c.uses), "waiver"), engine.DateOf(c.asOf),
		waiverCounts(engine.Exceptions{Waivers: c.uses}), c.matched)
	return err
}

// note is what an owner of the file should know about a waiver.
func note(use engine.WaiverUse) string {
	var parts []string
	if use.Lapsed > 0 {
		parts = append(parts, plural(use.Lapsed, "finding")+" failing again")
	}
	if use.ExpiresSoon {
		parts = append(parts, plural(use.DaysLeft, "day")+" left")
	}
	for _, why := range use.Refusals {
		parts = append(parts, why.Policy+": "+why.Message)
	}
	return strings.Join(parts, "; ")
}
