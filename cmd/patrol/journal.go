package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	cmd.AddCommand(c.app.journalShow(), c.app.journalVerify())
	return cmd
}

func (a *app) journalShow() *cobra.Command {
	var path, only string
	var events bool
	list := listOptions{format: oneOf("text", "json")}
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "List plans, where their steps stand, and the events that led there",
		Example: "  patrol journal show\n  patrol journal show --plan p1f2e --events",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withJournal(cmd.Context(), path, func(j *journal.Journal) error {
				return a.showJournal(cmd.Context(), j, only, events, &list)
			})
		},
	}
	addJournalFlag(cmd.Flags(), &path)
	cmd.Flags().StringVar(&only, "plan", "", "only the plan whose id or digest begins with this `text`")
	cmd.Flags().BoolVar(&events, "events", false, "every event, oldest first")
	cmd.Flags().StringVar(&list.workspace, "workspace", "", "only steps in the workspaces whose name or id matches this `glob`")
	cmd.Flags().Var(&list.format, "format", "how to write it: text, json")
	ofWords(cmd.Flags(), "format", list.format.of...)
	return cmd
}

func (a *app) journalVerify() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the chain of events, and that every step is as its last event says",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withJournal(cmd.Context(), path, func(j *journal.Journal) error {
				return a.verifyJournal(cmd.Context(), j)
			})
		},
	}
	addJournalFlag(cmd.Flags(), &path)
	return cmd
}

// withJournal opens the journal for reading.
func (a *app) withJournal(ctx context.Context, path string, work func(*journal.Journal) error) error {
	journal, err := journal.Open(ctx, a.JournalPath(path), journal.Options{Mode: store.ReadOnly, Now: a.env.now})
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

func (a *app) showJournal(ctx context.Context, j *journal.Journal, only string, events bool, list *listOptions) error {
	if events && list.format.word == jsonFormat {
		return engine.UsageError("read flags", "--events and --format", "Leave one of them out: JSON has where each step stands.", errors.New("cannot be combined"))
	}
	if _, err := j.Verify(ctx); err != nil {
		return err
	}
	plans, err := j.PlansOf(ctx, only)
	if err != nil {
		return err
	}
	steps := []engine.Entry{}
	for _, record := range plans {
		p, err := plan.Read(record.Bytes)
		if err != nil {
			return err
		}
		names := map[string]string{} // of workspaces
		for _, s := range p.Steps {
			names[s.WorkspaceID] = s.Workspace
		}
		entries, err := j.Entries(ctx, record.SHA)
		if err != nil {
			return err
		}
		entries = slices.DeleteFunc(entries, func(e engine.Entry) bool {
			return !list.wants(engine.Workspace{ID: e.Workspace, Name: names[e.Workspace]})
		})
		if list.format.word == jsonFormat {
			for _, e := range entries {
				e.Prior = nil // values of settings and grants
				steps = append(steps, e)
			}
			continue
		}
		fmt.Fprintf(a.env.stdout, "plan %s, sha256 %s, first applied %s\n", p.ID, record.SHA, at(record.At))
		if !events {
			a.showEntries(entries)
		} else if err := a.showEvents(ctx, j, record.SHA); err != nil {
			return err
		}
	}
	if list.format.word == jsonFormat {
		return a.writeJSON(engine.Pseudonymised(a.Names, steps))
	}
	return nil
}

func (a *app) showEntries(entries []engine.Entry) {
	for _, e := range entries {
		fmt.Fprintf(a.env.stdout, "  %s  %-18s %-13s %s  %s  %s\n", e.Step, e.State, e.Action, targetOf(engine.Step{Action: e.Action, Target: engine.SafeText(e.Target)}), at(e.At),
			strings.TrimSpace(e.Reason+" "+engine.SafeText(e.Detail)))
	}
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
