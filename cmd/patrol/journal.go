package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"patrol/cmd/internal/config"
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
	cmd := commandGroup("journal", "Show and check the record of what apply did", c.app.journalShow(), c.app.journalVerify())
	cmd.Long = "The journal is the durable record of every step that apply began, in a file of its own, chained by hashes."
	return cmd
}

func (a *app) journalShow() *cobra.Command {
	var path, only string
	var events bool
	var list listOptions
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
	addWorkspaceFlag(cmd.Flags(), &list.workspaces)
	addFormatFlag(cmd.Flags(), &list.format, "text", "json")
	return cmd
}

func (a *app) journalVerify() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the chain of events, and that every step is as its last event says",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withJournal(cmd.Context(), path, func(j *journal.Journal) error { return a.verifyJournal(cmd.Context(), j) })
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
			return !anyGlob(list.workspaces, names[e.Workspace], e.Workspace)
		})
		if list.format.word == jsonFormat {
			for _, e := range entries {
				e.Prior = nil // values of settings and grants
				steps = append(steps, e)
			}
			continue
		}
		fmt.Fprintf(a.env.stdout, "plan %s, sha256 %s, first applied %s\n", p.ID, record.SHA, at(record.At))
		if events {
			for e, err := range j.Events(ctx, record.SHA) {
				if err != nil {
					return err
				}
				what := cmp.Or(e.Step, "run in "+e.Workspace)
				fmt.Fprintf(a.env.stdout, "  %6d  %s  %s  %s → %s  epoch %d  %s\n", e.Seq, at(e.At), what, e.From, e.To, e.Epoch, e.Hash[:12])
			}
			continue
		}
		for _, e := range entries {
			fmt.Fprintf(a.env.stdout, "  %s  %-18s %-13s %s  %s  %s\n", e.Step, e.State, e.Action, targetOf(e.Target), at(e.At),
				strings.TrimSpace(e.Reason+" "+engine.SafeText(e.Detail)))
		}
	}
	if list.format.word == jsonFormat {
		return a.writeJSON(engine.Pseudonymised(a.Names, steps))
	}
	return nil
}

func at(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// Undo makes a plan that restores settings and grants.
func (c commands) Undo() *cobra.Command {
	var journalPath, applied, output, planner string
	cmd := &cobra.Command{
		Use:   "undo",
		Short: "Make a plan that restores the settings and grants that apply changed",
		Long: "Makes a plan from what the journal says about a plan that was applied: settings and grants get the values that they had\n" +
			"before. It sends nothing: the plan is approved and applied like any other, and each step is skipped if somebody has\n" +
			"changed the value since. Tokens that were revoked cannot be restored by anybody; the plan lists them.\n\n" + exitHelp(exitRefused),
		Example: "  patrol undo -o undo.json\n  patrol approve undo.json --all && patrol apply undo.json --profile prod",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.app.withJournal(cmd.Context(), journalPath, func(j *journal.Journal) error {
				return c.app.undo(cmd.Context(), j, applied, output, planner)
			})
		},
	}
	flags := cmd.Flags()
	addJournalFlag(flags, &journalPath)
	flags.StringVar(&applied, "plan", "", "undo the plan whose id or digest begins with this `text` (default: the one applied last)")
	flags.StringVarP(&output, "output", "o", "undo.json", "write the plan to this `file`")
	config.OwnPlace(flags, "output")
	flags.StringVar(&planner, "by", "", "`name` of who plans (default: the user of this machine)")
	return cmd
}

// undo writes a plan that undoes an applied one, by the beginning of its id or digest.
func (a *app) undo(ctx context.Context, j *journal.Journal, id, path, planner string) error {
	if _, err := j.Verify(ctx); err != nil {
		return err
	}
	record, err := j.LastPlan(ctx, id)
	if err != nil {
		return err
	}
	if record == nil {
		return engine.UsageError("undo", id, "`patrol journal show` lists the plans.", errors.New("the journal knows no such plan"))
	}
	applied, err := plan.Read(record.Bytes)
	if err != nil {
		return err
	}
	entries, err := j.Entries(ctx, record.SHA)
	if err != nil {
		return err
	}
	made, err := plan.Undo(plan.UndoInput{
		Applied: applied, Entries: entries, Now: a.env.now(), Version: a.env.version, Planner: a.person(planner), Limits: a.Config.Remediation.Limits,
	})
	if err != nil {
		return err
	}
	if len(made.Steps) == 0 {
		a.say("Nothing to undo of plan %s: no file is written.", made.Undoes)
	} else {
		if _, err := plan.Save(path, made); err != nil {
			return err
		}
		a.say("%s: %s that undo plan %s", path, plural(len(made.Steps), "step"), made.Undoes)
	}
	revoked := 0
	for _, left := range made.NotPlanned {
		if strings.HasPrefix(left.Detail, "a revoked token") {
			revoked++
			continue
		}
		a.say("  not undone: %s: %s", engine.SafeText(left.ResourceID), left.Detail)
	}
	if revoked > 0 {
		a.say("%s cannot be restored: who still needs one has to make a new token.", plural(revoked, "revoked token"))
	}
	if len(made.Steps) > 0 {
		a.say("Next: patrol approve %s --all && patrol apply %s", path, path)
	}
	return nil
}
