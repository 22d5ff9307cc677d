package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
	"patrol/engine/journal"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
)

// judged are the snapshots that a report is of.
func judged(r engine.Report) []engine.Snapshot {
	list := make([]engine.Snapshot, len(r.Workspaces))
	for i, w := range r.Workspaces {
		list[i] = w.Snapshot
	}
	return list
}

// Verify holds everything stored against what it was sealed with.
func (c commands) Verify() *cobra.Command {
	var path string
	var digests []string
	cmd := &cobra.Command{
		Use:   "verify [REPORT…]",
		Short: "Check that snapshots, evaluations and journal are what was sealed",
		Long: "Computes the digests of all snapshots and evaluations anew, checks that no snapshot is missing between two, and checks the journal\n" +
			"of apply. A report that patrol wrote (audit.json, the workbook, the page, JUnit, SARIF, OCSF, OSCAL), or a digest noted elsewhere, shows that the newest snapshots\n" +
			"were not removed, which no database can tell of itself. Digests need no secret: who may write to the database can seal\n" +
			"anew what they changed. Only a digest or report that lies elsewhere shows that.\n\n" + exitHelp(exitRefused),
		Example: "  patrol verify\n  patrol verify audit-of-last-month/audit.json",
		RunE: func(cmd *cobra.Command, files []string) error {
			wanted := slices.Clone(digests)
			for _, report := range files {
				found, err := reports.SnapshotDigests(report)
				if err != nil {
					return err
				}
				wanted = append(wanted, found...)
			}
			db, err := c.app.OpenStore(cmd.Context(), store.ReadOnly)
			if err != nil {
				return err
			}
			return errors.Join(c.app.verifyAll(cmd.Context(), db, path, wanted), db.Close())
		},
	}
	addJournalFlag(cmd.Flags(), &path)
	cmd.Flags().StringSliceVar(&digests, "digest", nil, "`digests` noted earlier, of snapshots, evaluations, plans or events of the journal: they must still be there")
	return cmd
}

func (a *app) verifyAll(ctx context.Context, db *store.DB, journalPath string, digests []string) error {
	damaged := a.verifyStored(ctx, db)
	if damaged != nil && !damage(damaged) {
		return damaged
	}
	evaluations, err := db.Evaluations(ctx)
	if err != nil {
		return err
	}
	for _, e := range evaluations {
		err := db.IntactEvaluation(ctx, e.ID)
		if err != nil && !damage(err) {
			return err
		}
		state := "intact"
		if err != nil {
			state = "DAMAGED"
			damaged = cmp.Or(damaged, err)
		}
		fmt.Fprintf(a.env.stdout, "evaluation %d: %s\n", e.ID, state)
	}
	held := func(string) (string, error) { return "", nil }
	if _, err := os.Stat(a.JournalPath(journalPath)); err == nil || journalPath != "" {
		err := a.withJournal(ctx, journalPath, func(j *journal.Journal) error {
			err := a.verifyJournal(ctx, j)
			if err == nil {
				holders := map[string]string{}
				for _, digest := range digests {
					holder, err := j.Holder(ctx, digest)
					if err != nil {
						return err
					}
					holders[digest] = holder
				}
				held = func(digest string) (string, error) { return holders[digest], nil }
			}
			return err
		})
		if err != nil && !damage(err) {
			return err
		}
		damaged = cmp.Or(damaged, err)
	}
	for _, digest := range digests {
		holder, err := db.DigestHolder(ctx, strings.ToLower(digest))
		if err == nil && holder == "" {
			holder, err = held(digest)
		}
		if err != nil {
			return err
		}
		if holder == "" {
			fmt.Fprintf(a.env.stdout, "digest %s: MISSING\n", engine.SafeText(digest))
			damaged = cmp.Or(damaged, error(&engine.Error{Class: engine.ClassStorage, Reason: "digest_missing", Op: "verify", Target: a.DBPath,
				Hint: "It was noted once, so that something was removed or changed since, or it is of another database.", Err: fmt.Errorf("nothing has the digest %s", engine.SafeText(digest))}))
			continue
		}
		fmt.Fprintf(a.env.stdout, "digest %.12s: %s\n", digest, holder)
	}
	return damaged
}

// verifyStored verifies the chain and all snapshots. One that is damaged does not
// hide the next: each is named.
func (a *app) verifyStored(ctx context.Context, db *store.DB) error {
	snapshots, err := db.Snapshots(ctx)
	if err != nil {
		return err
	}
	broken := db.VerifyChain(ctx)
	if broken != nil && !damage(broken) {
		return broken
	}
	var damaged []string
	for chunk := range slices.Chunk(snapshots, 16) {
		for i, err := range db.VerifySnapshots(ctx, chunk...) {
			if err != nil && !damage(err) {
				return err
			}
			if err != nil {
				damaged = append(damaged, strconv.FormatInt(chunk[i].ID, 10))
				broken = cmp.Or(broken, err)
			}
			a.tellVerified(chunk[i], err)
		}
	}
	if len(damaged) > 1 {
		return &engine.Error{Class: engine.ClassStorage, Reason: "digest_mismatch", Op: "verify snapshots", Target: strings.Join(damaged, ", "),
			Hint: "Something other than patrol changed the database: restore it from a copy, or collect again into a new one.", Err: broken}
	}
	return broken
}

// damage tells what verification found from what kept it from looking.
func damage(err error) bool {
	e, ok := engine.AsError(err)
	return ok && (e.Reason == "digest_mismatch" || e.Reason == "chain_broken" || e.Reason == "journal_damaged")
}

func (a *app) verifyJournal(ctx context.Context, j *journal.Journal) error {
	check, err := j.Verify(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.env.stdout, "%s: whole: %s, %s, %s; last hash %s\n", j.Path(),
		plural(check.Plans, "plan"), plural(check.Steps, "step"), plural(check.Events, "event"), check.Head)
	return nil
}
