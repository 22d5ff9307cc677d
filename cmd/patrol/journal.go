package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/journal"
	"patrol/engine/plan"
	"patrol/engine/store"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func addJournalFlag(flags *pflag.FlagSet, path *string) {
	flags.StringVar(path, "journal", "", "`file` of the journal (default: patrol-journal.db beside the database)")
}

// Journal shows and checks the record of what apply did.
func (c commands) Journal() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "Show and check the record of what apply did",
		Long:  "The journal is the durable record of every step that apply began, in a file of its own, chained by hashes.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.journalShow(), c.journalVerify())
	return cmd
}

func (c commands) journalShow() *cobra.Command {
	var path, only string
	var events bool
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "List plans, where their steps stand, and the events that led there",
		Example: "  patrol journal show\n  patrol journal show --plan p1f2e --events",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withJournal(cmd.Context(), path, func(j *journal.Journal) error {
				return c.showJournal(cmd.Context(), j, only, events)
			})
		},
	}
	addJournalFlag(cmd.Flags(), &path)
	cmd.Flags().StringVar(&only, "plan", "", "only the plan whose id or digest begins with this `text`")
	cmd.Flags().BoolVar(&events, "events", false, "every event, oldest first")
	return cmd
}

func (c commands) journalVerify() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the chain of events, and that every step is as its last event says",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withJournal(cmd.Context(), path, func(j *journal.Journal) error {
				return c.verifyJournal(cmd.Context(), j)
			})
		},
	}
	addJournalFlag(cmd.Flags(), &path)
	return cmd
}

// withJournal opens the journal for reading.
func (a *app) withJournal(ctx context.Context, path string, work func(*journal.Journal) error) error {
	journal, err := journal.Open(ctx, a.journalPath(path), journal.Options{Mode: store.ReadOnly, Now: a.env.now})
	if known, ok := engine.AsError(err); ok && known.Reason == "not_found" {
		told := *known
		told.Hint = "Nothing was applied yet, or name the journal with --journal."
		return &told
	}
	if err != nil {
		return err
	}
	return errors.Join(work(journal), journal.Close())
}

func (a *app) showJournal(ctx context.Context, j *journal.Journal, only string, events bool) error {
	plans, err := j.PlansOf(ctx, only)
	if err != nil {
		return err
	}
	for _, record := range plans {
		p, err := plan.Read(record.Bytes)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.env.stdout, "plan %s, sha256 %s, first applied %s\n", p.ID, record.SHA, at(record.At))
		if events {
			err = a.showEvents(ctx, j, record.SHA)
		} else {
			err = a.showEntries(ctx, j, record.SHA)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) showEntries(ctx context.Context, j *journal.Journal, sha string) error {
	entries, err := j.Entries(ctx, sha)
	for _, e := range entries {
		fmt.Fprintf(a.env.stdout, "  %s  %-18s %-13s %s  %s  %s\n", e.Step, e.State, e.Action, targetOf(engine.Step{Action: e.Action, Target: engine.SafeText(e.Target)}), at(e.At),
			strings.TrimSpace(e.Reason+" "+engine.SafeText(e.Detail)))
	}
	return err
}

func (a *app) showEvents(ctx context.Context, j *journal.Journal, sha string) error {
	for e, err := range j.Events(ctx, sha) {
		if err != nil {
			return err
		}
		what := e.Step
		if what == "" {
			what = "run in " + e.Workspace
		}
		fmt.Fprintf(a.env.stdout, "  %6d  %s  %s  %s → %s  epoch %d  %s\n", e.Seq, at(e.At), what, e.From, e.To, e.Epoch, e.Hash[:12])
	}
	return nil
}

func at(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
