package main

import (
	"context"
	"errors"
	"time"

	"patrol/engine"
	"patrol/engine/store"

	"github.com/spf13/cobra"
)

type pruneOptions struct {
	keep, keepDays int
	dryRun, yes    bool
	changed        func(flag string) bool
}

func (a *app) snapshotsPrune() *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove old snapshots for good, and the evaluations that judged them",
		Long: "Says what it will remove, and asks; where nobody can answer it wants --yes. Removes the oldest snapshots of each workspace that neither --keep nor --keep-days keeps. The newest stays in any case,\n" +
			"and so does the newest whose tokens were read whole, with all since. What only they held is overwritten,\n" +
			"and the file is written anew, for which the disk needs room for a second one. Their digests stay, so that\n" +
			"`snapshots verify` still finds a broken chain. Snapshots that do not verify are not pruned: they may be evidence.\n\n" + exitHelp(),
		Example: "  patrol snapshots prune --keep-days 400 --dry-run\n  patrol snapshots prune --keep 30 --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.changed = func(flag string) bool { return cmd.Flags().Changed(flag) }
			return a.prune(cmd.Context(), &o)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.keep, "keep", 0, "keep this `number` of snapshots of each workspace, the newest ones")
	flags.IntVar(&o.keepDays, "keep-days", 0, "keep the snapshots of so many `days`")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would be removed")
	flags.BoolVar(&o.yes, "yes", false, "remove it without asking")
	return cmd
}

func (a *app) prune(ctx context.Context, o *pruneOptions) error {
	if o.keep < 1 && o.keepDays < 1 || o.keep < 0 || o.keepDays < 0 || o.changed("keep") && o.keep == 0 || o.changed("keep-days") && o.keepDays == 0 {
		return engine.UsageError("prune snapshots", "", "Say what to keep: --keep or --keep-days, 1 or more; what either keeps stays.", errors.New("nothing says what to keep"))
	}
	return a.WithStore(ctx, store.ReadWrite, func(db *store.DB) error { return a.pruneTo(ctx, db, o) })
}

// pruneTo removes what the options do not keep.
func (a *app) pruneTo(ctx context.Context, db *store.DB, o *pruneOptions) error {
	all, err := db.Snapshots(ctx)
	if err != nil {
		return err
	}
	old := o.old(all, a.env.now())
	if len(old) == 0 {
		a.say("nothing to prune: all of %s stay", plural(len(all), "snapshot"))
		return nil
	}
	first := old[len(old)-1].CollectedAt.UTC().Format(time.DateOnly)
	if o.dryRun || !o.yes {
		a.say("would remove %s of %d, the oldest of %s, with the evaluations that judged them, for good:", plural(len(old), "snapshot"), len(all), first)
		of := map[string]int{}
		for _, s := range old {
			a.detail("  snapshot %d of %s, %s", s.ID, s.Workspace.Name, s.CollectedAt.UTC().Format(time.RFC3339))
			of[s.Workspace.Name]++
		}
		for i, name := range engine.SortedKeys(of) {
			if i == mostTold {
				a.say("  and those of %s", plural(len(of)-i, "more workspace"))
				break
			}
			a.say("  %d of %s", of[name], name)
		}
	}
	if o.dryRun {
		return nil
	}
	if !o.yes {
		if !a.env.interactive() {
			return engine.UsageError("prune snapshots", "", "Give --yes to remove them, or --dry-run to look.", errors.New("nobody is there to confirm; nothing was removed"))
		}
		if answer, err := a.ask(ctx, "Type yes to remove them: "); err != nil || answer != "yes" {
			a.say("nothing was removed")
			return err
		}
	}
	if err := verifyAll(ctx, db, old); err != nil {
		return err
	}
	evaluations, err := db.Prune(ctx, old)
	if err == nil || evaluations > 0 {
		a.say("pruned %s of %d, the oldest of %s, and %s", plural(len(old), "snapshot"), len(all), first, plural(evaluations, "evaluation"))
	}
	return err
}

// old are the snapshots to remove of all, newest first: of each workspace those
// that are older than the oldest one that is kept. The newest whose tokens were
// read whole is kept too: it is the last that tells all.
func (o *pruneOptions) old(all []engine.Snapshot, now time.Time) (old []engine.Snapshot) {
	oldestKept := map[string]int64{}
	seen := map[string]int{}
	whole := map[string]bool{}
	for _, s := range all {
		id := s.Workspace.ID
		seen[id]++
		lastWhole := !whole[id] && s.Coverage[engine.SectionTokens].Complete()
		whole[id] = whole[id] || lastWhole
		young := o.keepDays > 0 && now.Sub(s.CollectedAt) < time.Duration(o.keepDays)*24*time.Hour
		if seen[id] <= max(o.keep, 1) || young || lastWhole {
			oldestKept[id] = s.ID
		}
	}
	for _, s := range all {
		if s.ID < oldestKept[s.Workspace.ID] {
			old = append(old, s)
		}
	}
	return old
}

func verifyAll(ctx context.Context, db *store.DB, snapshots []engine.Snapshot) error {
	if err := db.VerifyChain(ctx); err != nil {
		return err
	}
	for _, s := range snapshots {
		if err := db.VerifySnapshot(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}
