package main

import (
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
	addWorkspaceFlag(cmd.Flags(), &list.workspaces)
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

// undoOptions say what to undo, and where to write the plan.
type undoOptions struct {
	journal string
	plan    string
	output  string
	planner string
}

// Undo makes a plan that restores settings and grants.
func (c commands) Undo() *cobra.Command {
	var o undoOptions
	cmd := &cobra.Command{
		Use:   "undo",
		Short: "Make a plan that restores the settings and grants that apply changed",
		Long: "Makes a plan from what the journal says about a plan that was applied: settings and grants get the values that they had\n" +
			"before. It sends nothing: the plan is approved and applied like any other, and each step is skipped if somebody has\n" +
			"changed the value since. Tokens that were revoked cannot be restored by anybody; the plan lists them.\n\n" + exitHelp(exitRefused),
		Example: "  patrol undo -o undo.json\n  patrol approve undo.json --all && patrol apply undo.json --profile prod",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.app.withJournal(cmd.Context(), o.journal, func(j *journal.Journal) error { return c.app.undo(cmd.Context(), j, &o) })
		},
	}
	flags := cmd.Flags()
	addJournalFlag(flags, &o.journal)
	flags.StringVar(&o.plan, "plan", "", "undo the plan whose id or digest begins with this `text` (default: the one applied last)")
	flags.StringVarP(&o.output, "output", "o", "undo.json", "write the plan to this `file`")
	config.OwnPlace(flags, "output")
	flags.StringVar(&o.planner, "by", "", "`name` of who plans (default: the user of this machine)")
	return cmd
}

func (a *app) undo(ctx context.Context, j *journal.Journal, o *undoOptions) error {
	if _, err := j.Verify(ctx); err != nil {
		return err
	}
	record, err := j.LastPlan(ctx, o.plan)
	if err == nil && record == nil {
		err = engine.UsageError("undo", o.plan, "`patrol journal show` lists the plans.", errors.New("the journal knows no such plan"))
	}
	if err != nil {
		return err
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
		Applied: applied, Entries: entries, Now: a.env.now(), Version: a.env.version, Planner: a.person(o.planner), Limits: a.Config.Remediation.Limits,
	})
	if err != nil {
		return err
	}
	if len(made.Steps) > 0 {
		if _, err := plan.Save(o.output, made); err != nil {
			return err
		}
	}
	a.tellUndo(made, o.output)
	return nil
}

func (a *app) tellUndo(p engine.Plan, path string) {
	if len(p.Steps) == 0 {
		a.say("Nothing to undo of plan %s: no file is written.", p.Undoes)
	} else {
		a.say("%s: %s that undo plan %s", path, plural(len(p.Steps), "step"), p.Undoes)
	}
	revoked := 0
	for _, left := range p.NotPlanned {
		if strings.HasPrefix(left.Detail, "a revoked token") {
			revoked++
			continue
		}
		a.say("  not undone: %s: %s", engine.SafeText(left.ResourceID), left.Detail)
	}
	if revoked > 0 {
		a.say("%s cannot be restored: who still needs one has to make a new token.", plural(revoked, "revoked token"))
	}
	if len(p.Steps) > 0 {
		a.say("Next: patrol approve %s --all && patrol apply %s", path, path)
	}
}
