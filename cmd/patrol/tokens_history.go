package main

import (
	"context"
	"errors"
	"io"
	"time"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
)

type historyOptions struct {
	format  choice
	journal string
}

func (a *app) tokensHistory() *cobra.Command {
	var o historyOptions
	cmd := &cobra.Command{
		Use:   "history ID",
		Short: "Tell all that the database remembers of a token",
		Long: "Tells of a token, by its id or the beginning of it: when snapshots first saw it, how it changed, how its last use moved, what\n" +
			"policies found and for how long, and when and why it vanished. Ids are unique in a workspace; of several that fit all are told.\n\n" + exitHelp(),
		Example: "  patrol tokens history 3922b2f6",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.tokenHistory(cmd.Context(), args[0], &o) },
	}
	o.format = oneOf("table", "json")
	cmd.Flags().Var(&o.format, "format", "how to write it: table, json")
	addJournalFlag(cmd.Flags(), &o.journal)
	return cmd
}

func (a *app) tokenHistory(ctx context.Context, id string, o *historyOptions) error {
	if id == "" {
		return engine.UsageError("read argument", "ID", "See `patrol tokens` for the ids.", errors.New("is empty"))
	}
	return a.WithStore(ctx, store.ReadOnly, func(db *store.DB) error {
		found, err := db.TokenHistory(ctx, id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return engine.UsageError("find token", id, "See `patrol tokens` for the ids; expired and revoked ones are known as long as their snapshots are kept.", errors.New("no snapshot holds one whose id begins so"))
		}
		removals, err := a.Removals(ctx, db, o.journal)
		if err != nil {
			return err
		}
		told := make([]reports.History, len(found))
		for i, h := range found {
			told[i] = historyOf(engine.Pseudonymised(a.Names, h), removals)
		}
		return a.printHistory(a.env.stdout, told, o.format.word)
	})
}

func historyOf(h engine.TokenHistory, journal pipeline.Removals) reports.History {
	events := h.Events(func(t engine.Token, at int64) (engine.Cause, string) {
		return journal.Why(h.Workspace.ID, &t, time.UnixMilli(at))
	})
	return reports.History{Workspace: h.Workspace.Name, WorkspaceID: h.Workspace.ID, TokenID: h.Versions[0].Token.ID, Events: events}
}

func (a *app) printHistory(w io.Writer, told []reports.History, format string) error {
	if format == "table" {
		return reports.HistoryTable(w, told, a.listOptions("-"))
	}
	return a.writeJSON(told)
}
