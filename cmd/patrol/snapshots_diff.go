package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
)

type diffOptions struct {
	journal string
	product productOptions
}

func (a *app) snapshotsDiff() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff [FROM [TO]]",
		Short: "Tell what changed between two snapshots: tokens, principals, settings, grants",
		Long: "Tells what appeared, changed and vanished between two snapshots of a workspace, or of each workspace, and why tokens vanished:\n" +
			"revoked by patrol, as its journal says; expired; unused for so long that the platform revokes them; or by somebody else. The\n" +
			"last two are conclusions: the platform keeps no record of tokens that are gone. Last use is no change; it is counted.\n\n" +
			pipeline.SnapshotRefHelp + " Without TO it is latest, without FROM the one before it.\n\n" + exitHelp(exitIncomplete),
		Example: "  patrol snapshots diff\n  patrol snapshots diff 2026-11-01 2026-11-24 --format csv -o changes.csv\n  patrol snapshots diff 12 15",
		Args:    cobra.MaximumNArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.diff(cmd.Context(), args, &o) },
	}
	flags := cmd.Flags()
	o.product.addFlags(flags, "table", "csv", "json")
	addJournalFlag(flags, &o.journal)
	return cmd
}

func (a *app) diff(ctx context.Context, args []string, o *diffOptions) error {
	return a.withProduct(ctx, &o.product, func(db *store.DB) error {
		pairs, err := a.pairs(ctx, db, args)
		if err != nil {
			return err
		}
		removals, err := a.Removals(ctx, db, o.journal)
		if err != nil {
			return err
		}
		d := &differ{app: a, db: db, removals: removals}
		intact := func() error { return db.Intact(ctx, snapshotsIn(pairs)...) }
		err = a.writeProduct(outfile.Files{}.OnlyIf(intact), o.product.output, func(w io.Writer) error {
			err := reports.Changes(ctx, w, o.product.format.word, pipeline.Pseudonymised(&a.Run, d.rows(ctx, pairs)), a.listOptions(o.product.output))
			if err != nil || d.told > 0 || d.unread || o.product.format.word != "table" {
				return err
			}
			_, err = fmt.Fprintln(w, "Nothing changed.")
			return err
		})
		if err != nil {
			return err
		}
		if d.unread {
			return verdict(engine.Incomplete)
		}
		return nil
	})
}

// snapshotPair is two snapshots of one workspace.
type snapshotPair struct{ from, to engine.Snapshot }

func snapshotsIn(pairs []snapshotPair) (list []engine.Snapshot) {
	for _, p := range pairs {
		list = append(list, p.from, p.to)
	}
	return list
}

// pairs joins the snapshots that two references name, by workspace.
func (a *app) pairs(ctx context.Context, db *store.DB, args []string) ([]snapshotPair, error) {
	refs := []string{"latest~1", "latest"}
	copy(refs, args)
	from, err := pipeline.SnapshotsOf(ctx, db, refs[0])
	if err != nil {
		return nil, err
	}
	to, err := pipeline.SnapshotsOf(ctx, db, refs[1])
	if err != nil {
		return nil, err
	}
	before := map[string]engine.Snapshot{}
	for _, s := range from {
		before[s.Workspace.ID] = s
	}
	var pairs []snapshotPair
	for _, s := range to {
		first, known := before[s.Workspace.ID]
		switch {
		case !known && len(from) > 1:
			a.say("%s: has no snapshot at %s", s.Workspace.Name, refs[0])
		case known && first.ID > s.ID:
			return nil, engine.UsageError("compare snapshots", fmt.Sprintf("%d and %d", first.ID, s.ID), "Name the earlier one first.", errors.New("the first was taken after the second"))
		case known:
			pairs = append(pairs, snapshotPair{first, s})
		}
	}
	if len(pairs) == 0 {
		return nil, engine.UsageError("compare snapshots", refs[0]+" and "+refs[1], pipeline.SnapshotRefHelp, errors.New("no workspace has both"))
	}
	return pairs, nil
}

// differ compares snapshots.
type differ struct {
	*app
	db       *store.DB
	removals pipeline.Removals
	unread   bool // something could not be compared
	told     int  // changes
}

func (d *differ) rows(ctx context.Context, pairs []snapshotPair) iter.Seq2[engine.ChangeRow, error] {
	return func(yield func(engine.ChangeRow, error) bool) {
		for _, p := range pairs {
			for row, err := range d.pair(ctx, p) {
				d.told++
				row.Workspace, row.From, row.To = p.to.Workspace, p.from.ID, p.to.ID
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

func (d *differ) pair(ctx context.Context, p snapshotPair) iter.Seq2[engine.ChangeRow, error] {
	return func(yield func(engine.ChangeRow, error) bool) {
		for _, part := range []func(context.Context, snapshotPair) iter.Seq2[engine.ChangeRow, error]{d.state, d.principals, d.tokens} {
			for row, err := range part(ctx, p) {
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

// both reports whether both snapshots read a section whole; where not, it says so.
func (d *differ) both(p snapshotPair, name engine.SectionName) bool {
	for _, s := range []engine.Snapshot{p.from, p.to} {
		if c := s.Coverage[name]; !c.Complete() {
			d.unread = true
			d.say("%s: %s cannot be compared: snapshot %d has them %s (%s)", s.Workspace.Name, name, s.ID, c.Status, c.Reason)
			return false
		}
	}
	return true
}

func (d *differ) state(_ context.Context, p snapshotPair) iter.Seq2[engine.ChangeRow, error] {
	return func(yield func(engine.ChangeRow, error) bool) {
		changes, unread, err := engine.StateChanges(p.from, p.to)
		log, damaged := p.to.ChangeLog()
		if err := errors.Join(err, damaged); err != nil {
			yield(engine.ChangeRow{}, err)
			return
		}
		for _, name := range unread {
			d.unread = true
			d.say("%s: %s cannot be compared: one of the snapshots did not read them whole", p.to.Workspace.Name, name)
		}
		for _, change := range changes {
			row := change.Row()
			row.ChangedBy = log.Of(change, p.from, p.to)
			if !yield(row, nil) {
				return
			}
		}
	}
}

func (d *differ) principals(ctx context.Context, p snapshotPair) iter.Seq2[engine.ChangeRow, error] {
	return func(yield func(engine.ChangeRow, error) bool) {
		if !d.both(p, engine.SectionPrincipals) {
			return
		}
		changes, err := d.db.PrincipalChanges(ctx, p.from, p.to)
		if err != nil {
			yield(engine.ChangeRow{}, err)
			return
		}
		for _, change := range changes {
			if !yield(change.Row(), nil) {
				return
			}
		}
	}
}

func (d *differ) tokens(ctx context.Context, p snapshotPair) iter.Seq2[engine.ChangeRow, error] {
	return func(yield func(engine.ChangeRow, error) bool) {
		if !d.both(p, engine.SectionTokens) {
			return
		}
		names := d.principalNames(ctx, p)
		for change, err := range d.db.TokenChanges(ctx, p.from, p.to) {
			if err != nil {
				yield(engine.ChangeRow{}, err)
				return
			}
			d.removals.Explain(&change, p.to)
			row := change.Row()
			if row.Owner, err = names(row.OwnerID); err != nil {
				yield(engine.ChangeRow{}, err)
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		used, err := d.db.UsedBetween(ctx, p.from, p.to)
		if err != nil {
			yield(engine.ChangeRow{}, err)
			return
		}
		d.say("%s: %s seen in use between snapshots %d and %d", p.to.Workspace.Name, plural(used, "token"), p.from.ID, p.to.ID)
	}
}

// principalNames tells the name of a principal as either snapshot knew it. The
// directories are read once the first is asked for.
func (d *differ) principalNames(ctx context.Context, p snapshotPair) func(id string) (string, error) {
	var names map[string]string
	return func(id string) (string, error) {
		if names == nil {
			names = map[string]string{}
			for _, s := range []engine.Snapshot{p.from, p.to} {
				for principal, err := range d.db.Principals(ctx, s.ID) {
					if err != nil {
						return "", err
					}
					names[principal.ID] = principal.Name
				}
			}
		}
		if name := names[id]; name != "" {
			return name, nil
		}
		return id, nil
	}
}
