package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"patrol/cmd/internal/config"
	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/exceptions"
	"patrol/engine/store"
	"patrol/reports/table"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Waivers shows the exceptions and holds them to policy.
func (c commands) Waivers() *cobra.Command {
	return commandGroup("waivers", "Show the waivers, and check them", c.app.waiversList(), c.app.waiversCheck(), c.app.waiversAdd())
}

func addWaiverFlags(flags *pflag.FlagSet, o *pipeline.Judging) {
	addPackFlags(flags, o)
	addWaiversFlag(flags, &o.Exceptions)
	flags.Var(instantFlag(&o.AsOf), "as-of", "the day that decides what is in force (default: today, UTC)")
}

func (a *app) waiversList() *cobra.Command {
	var o pipeline.Judging
	var list listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the waivers: what they excuse, who approved, until when",
		Example: "  patrol waivers list\n  patrol waivers list --waivers exceptions/waivers.yaml --as-of 2027-01-01",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			uses, _, err := a.waiverUses(cmd.Context(), &o)
			if err != nil {
				return err
			}
			return writeRows(cmd.Context(), a, list.format.word, []table.Column[engine.WaiverUse]{
				table.Plain("id", 12, func(u engine.WaiverUse) any { return u.ID }).Rank(1, 0),
				table.Plain("policy", 12, func(u engine.WaiverUse) any { return strings.Join(u.Policies, ",") }).Rank(2, 0),
				table.Plain("scope", 30, func(u engine.WaiverUse) any { return u.Scope() }).Rank(4, 16),
				table.Plain("approver", 24, func(u engine.WaiverUse) any { return u.Approver }).Rank(7, 12),
				table.Plain("expires", 12, func(u engine.WaiverUse) any { return u.Expires.String() }).Rank(5, 0),
				table.Plain("state", 12, func(u engine.WaiverUse) any { return string(u.State) }).Rank(3, 0),
				table.Number("findings", 10, func(u engine.WaiverUse) any { return u.Waived }).Rank(6, 0),
				table.Plain("reason", 30, func(u engine.WaiverUse) any { return u.Reason }),
				table.Plain("ticket", 12, func(u engine.WaiverUse) any { return u.Ticket }),
			}, uses)
		},
	}
	addWaiverFlags(cmd.Flags(), &o)
	list.addFlags(cmd.Flags())
	return cmd
}

func (a *app) today(asked time.Time) time.Time {
	if asked.IsZero() {
		return a.env.now()
	}
	return asked
}

func (a *app) waiversCheck() *cobra.Command {
	var o pipeline.Judging
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the waivers: form, policy over waivers, and what they match",
		Long: "Reads the waivers strictly, judges them by the policies over waivers, and matches them against the findings of the\n" +
			"latest evaluation in the database, where there is one. Ends with exit code 3 when the file has a mistake, and with 1 when\n" +
			"a waiver is refused or expired: it does not count as it is written.",
		Example: "  patrol waivers check\n  patrol waivers check --waivers exceptions/waivers.yaml --as-of 2027-01-01",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			uses, matched, err := a.waiverUses(cmd.Context(), &o)
			if err != nil {
				return err
			}
			if err := writeRows(cmd.Context(), a, "table", []table.Column[engine.WaiverUse]{
				table.Plain("id", 12, func(u engine.WaiverUse) any { return u.ID }).Rank(1, 0),
				table.Plain("state", 12, func(u engine.WaiverUse) any { return string(u.State) }).Rank(2, 0),
				table.Number("findings", 10, func(u engine.WaiverUse) any { return u.Waived }).Rank(4, 0),
				table.Plain("expires", 12, func(u engine.WaiverUse) any { return u.Expires.String() }).Rank(5, 0),
				table.Plain("note", 40, waiverNote).Rank(3, 20),
			}, uses); err != nil {
				return err
			}
			x := engine.Exceptions{Waivers: uses}
			if _, err := fmt.Fprintf(a.env.stdout, "\n%s as of %s: %s.\n%s\n", plural(len(uses), "waiver"), engine.DateOf(a.today(o.AsOf)), pipeline.WaiverCounts(x), matched); err != nil {
				return err
			}
			if len(x.Refused())+len(x.In(engine.WaiverExpired)) > 0 {
				return verdict(engine.Violations)
			}
			return nil
		},
	}
	addWaiverFlags(cmd.Flags(), &o)
	return cmd
}

// waiverUses are the waivers as they are written now, let loose on the findings
// of the latest evaluation, and against what they were matched.
func (a *app) waiverUses(ctx context.Context, o *pipeline.Judging) (uses []engine.WaiverUse, matched string, err error) {
	set, err := a.loadPolicies(ctx, o)
	if err != nil {
		return nil, "", err
	}
	if set.Exceptions.Waivers == nil {
		return nil, "", pipeline.Unreadable("read waivers", o.Exceptions.Waivers, "Name a file with --waivers; `patrol schema waivers` tells what it holds.", errors.New("there is no such file"))
	}
	return a.WaiverUses(ctx, set, a.today(o.AsOf))
}

// waiverNote is what an owner of the file should know about a waiver.
func waiverNote(use engine.WaiverUse) any {
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

func (a *app) waiversAdd() *cobra.Command {
	var judge pipeline.Judging
	var finding, reason, approver, ticket string
	var expires moment
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a waiver for one finding of the latest evaluation",
		Long: "Adds a waiver to the file for one finding, named by its fingerprint (`patrol findings --format json` and findings.csv have\n" +
			"it). Nothing is written where a policy over waivers would refuse it.",
		Example: "  patrol waivers add --finding 4fd6b0c1e2a39587aa12cd34ef567890 --approver lead@example.com \\\n    --reason 'Partner connector cannot use OAuth before Q2' --expires 90d",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			for _, wanted := range [][2]string{{"--finding", finding}, {"--reason", reason}, {"--approver", approver}} {
				if strings.TrimSpace(wanted[1]) == "" {
					return engine.UsageError("add waiver", "", "Give --finding, --reason and --approver.", fmt.Errorf("%s is missing", wanted[0]))
				}
			}
			path := cmp.Or(judge.Exceptions.Waivers, "waivers.yaml")
			judge.Exceptions.Waivers = "" // the file may not be there yet
			set, err := a.loadPolicies(ctx, &judge)
			if err != nil {
				return err
			}
			var f engine.Finding
			if err := a.WithStore(ctx, store.ReadOnly, func(db *store.DB) error {
				report, err := a.Evaluation(ctx, db, 0)
				if err == nil {
					f, err = findingOf(report, strings.ToLower(finding))
				}
				return err
			}); err != nil {
				return err
			}
			today := a.today(judge.AsOf)
			rule := engine.WaiverRule{
				ID: "W-" + f.Fingerprint[:8], Policies: []string{f.Policy}, Workspace: f.WorkspaceID, Objects: f.Objects(), Reason: reason, Ticket: ticket,
				Approver: approver, Created: engine.DateOf(today), Expires: engine.DateOf(time.UnixMilli(expires.at(today))),
			}
			switch f.Resource {
			case engine.ResourceToken:
				rule.Token = f.ResourceID
			case engine.ResourceSecret:
				rule.Secret = f.ResourceID
			}
			before, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return pipeline.Unreadable("read waivers", path, "Name a file with --waivers.", err)
			}
			text, err := exceptions.Append(string(before), rule)
			var read *exceptions.Waivers
			if err == nil {
				read, err = exceptions.ParseWaivers(path, []byte(text), set.All.Policies())
			}
			if err != nil {
				return engine.UsageError("add waiver to", path, "Correct what is named, or write the waiver by hand; `patrol schema waivers` tells what it holds.", err)
			}
			added := read.Rules[len(read.Rules)-1]
			judges, err := set.All.WaiverJudge(ctx, today, set.Effective(engine.Workspace{ID: f.WorkspaceID, Name: f.Workspace}))
			if err != nil {
				return err
			}
			defer judges.Close()
			for _, why := range judges.Judge(ctx, eval.WaiverCase{Waiver: added, Policy: f.Policy, Severity: f.Severity, Finding: &f}) {
				return engine.UsageError("add waiver to", path, "Nothing was written. `patrol policies show "+why.Policy+"` tells what it asks for.", fmt.Errorf("%s refuses it: %s", why.Policy, why.Message))
			}
			if err := writeText(path, text); err != nil {
				return err
			}
			a.say("%s: waiver %s for %s on %s until %s. The next evaluation counts it.", path, added.ID, f.Policy, cmp.Or(rule.Token, rule.Secret, f.Workspace), added.Expires)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&finding, "finding", "", "the `fingerprint` of the finding, or how it begins (8 characters or more)")
	flags.StringVar(&reason, "reason", "", "why it is excused: `text`")
	flags.StringVar(&approver, "approver", "", "who decided: an `address`, or the id of a principal")
	flags.StringVar(&ticket, "ticket", "", "where it was discussed: `text`")
	_ = expires.Set("90d")
	flags.Var(&expires, "expires", "its last day: a day, or so many days from today (90d)")
	for _, name := range []string{"finding", "reason", "approver", "ticket", "expires"} {
		config.OwnPlace(flags, name)
	}
	addWaiverFlags(flags, &judge)
	return cmd
}

// findingOf is the finding of a report that fails and whose fingerprint begins so.
func findingOf(report engine.Report, fingerprint string) (found engine.Finding, err error) {
	const least = 8
	const hint = "`patrol findings --format json` lists fingerprints."
	if len(fingerprint) < least {
		return found, engine.UsageError("read flag", "--finding", hint, fmt.Errorf("%q is shorter than %d characters", fingerprint, least))
	}
	for f, err := range report.Findings {
		if err != nil {
			return found, err
		}
		if !strings.HasPrefix(f.Fingerprint, fingerprint) {
			continue
		}
		if found.Fingerprint != "" {
			return found, engine.UsageError("find finding", fingerprint, "Give more of the fingerprint.", errors.New("several begin so"))
		}
		found = f
	}
	switch {
	case found.Fingerprint == "":
		err = engine.UsageError("find finding", fingerprint, hint, errors.New("the latest evaluation has none of this fingerprint"))
	case found.Status != engine.Fail:
		err = engine.UsageError("find finding", fingerprint, "Only what fails can be waived.", fmt.Errorf("it is %s", found.Status))
	}
	return found, err
}
