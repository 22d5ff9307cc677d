package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"patrol/cmd/internal/pipeline"
	"patrol/engine"
	"patrol/engine/journal"
	"patrol/engine/outfile"
	"patrol/engine/plan"
	"patrol/engine/store"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	var journalPath, signersPath string
	var noted []string
	cmd := &cobra.Command{
		Use:   "verify [REPORT…]",
		Short: "Check that snapshots, evaluations and journal are what was sealed",
		Long: "Computes the digests of all snapshots and evaluations anew, checks that no snapshot is missing between two, and checks the journal\n" +
			"of apply. A digest file (audit --digest-file), a report that patrol wrote (not CSV, Markdown), or a digest noted\n" +
			"elsewhere shows that the newest snapshots were not removed, which a database alone cannot show. Reports of any format that\n" +
			"are named with the digest file of their run are compared with it.\n\n" +
			"Digests need no secret: who may write to the database can seal anew what they changed. Only what lies elsewhere shows that,\n" +
			"or is signed by a key that they do not have (--signers).\n\n" + exitHelp(exitRefused),
		Example: "  patrol verify\n  patrol verify audit-of-last-month/audit.json\n  patrol verify kept/digest.json reports/findings.csv --signers allowed_signers",
		RunE: func(cmd *cobra.Command, kept []string) error {
			for _, text := range noted { // a digest, or a file of them
				if !regexp.MustCompile(`^[0-9a-fA-F]{64}$`).MatchString(text) {
					kept = append(kept, text)
				}
			}
			return c.app.verify(cmd.Context(), kept, noted, journalPath, signersPath)
		},
	}
	addJournalFlag(cmd.Flags(), &journalPath)
	cmd.Flags().StringSliceVar(&noted, "digest", nil, "`digests` noted earlier, of snapshots, evaluations, plans or events of the journal, or digest files: all must still be there")
	cmd.Flags().StringVar(&signersPath, "signers", "", "digest files must be signed by a key of this allowed_signers `file`")
	return cmd
}

// verify holds everything against what it was sealed with, and against files that
// were kept and digests that were noted.
func (a *app) verify(ctx context.Context, kept, noted []string, journalPath, signersPath string) (err error) {
	var signers *plan.Signers
	if signersPath != "" {
		content, err := readInput("read signers", signersPath)
		if err == nil {
			signers, err = plan.ParseSigners(content)
		}
		if err != nil {
			return engine.UsageError("read signers", signersPath, "Name a file as ssh-keygen(1) describes it under ALLOWED SIGNERS.", err)
		}
	}
	must, err := a.ReadEvidence(a.env.stdout, kept, signers)
	if err != nil {
		return err
	}
	digests := must.Digests
	for _, digest := range noted {
		if !slices.Contains(kept, digest) {
			digests = append(digests, strings.ToLower(digest))
		}
	}
	db, err := a.OpenStore(ctx, store.ReadOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
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
	holders := map[string]string{}
	if _, err := os.Stat(a.JournalPath(journalPath)); err == nil || journalPath != "" {
		err := a.withJournal(ctx, journalPath, func(j *journal.Journal) error {
			if err := a.verifyJournal(ctx, j); err != nil {
				return err
			}
			for _, digest := range digests {
				holder, err := j.Holder(ctx, digest)
				if err != nil {
					return err
				}
				holders[digest] = holder
			}
			return nil
		})
		if err != nil && !damage(err) {
			return err
		}
		damaged = cmp.Or(damaged, err)
	}
	for _, digest := range digests {
		holder, err := db.DigestHolder(ctx, digest)
		if err != nil {
			return err
		}
		if holder = cmp.Or(holder, holders[digest]); holder == "" {
			fmt.Fprintf(a.env.stdout, "digest %s: MISSING\n", engine.SafeText(digest))
			damaged = cmp.Or(damaged, error(&engine.Error{Class: engine.ClassStorage, Reason: "digest_missing", Op: "verify", Target: a.DBPath,
				Hint: "It was noted once, so that something was removed or changed since, or it is of another database.", Err: fmt.Errorf("nothing has the digest %s", engine.SafeText(digest))}))
			continue
		}
		fmt.Fprintf(a.env.stdout, "digest %.12s: %s\n", digest, holder)
	}
	return cmp.Or(damaged, must.Changed)
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
	for i, err := range db.VerifySnapshots(ctx, snapshots...) { // at once: those of a workspace share most rows
		if err != nil && !damage(err) {
			return err
		}
		if err != nil {
			damaged = append(damaged, strconv.FormatInt(snapshots[i].ID, 10))
			broken = cmp.Or(broken, err)
		}
		a.printVerified(snapshots[i], err)
	}
	if len(damaged) > 1 {
		return &engine.Error{Class: engine.ClassStorage, Reason: "digest_mismatch", Op: "verify snapshots", Target: strings.Join(damaged, ", "),
			Hint: "Something other than patrol changed the database: restore it from a copy, or collect again into a new one.", Err: broken}
	}
	return broken
}

// damage reports whether an error is what verification found, and not what kept
// it from looking.
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

func (o *reportOptions) addDigestFlags(all *pflag.FlagSet) {
	inGroup(all, flagsOutput, func(flags *pflag.FlagSet) {
		flags.StringVar(&o.digestFile, "digest-file", "", "write the digests of this run and its report files to this `file`, to be kept elsewhere; patrol verify reads it")
		flags.StringVar(&o.signKey, "sign-key", "", "sign the digest file with this SSH key `file` (or by the agent), into a .sig file beside it")
	})
}

// checkRunDigest finds, before anything is collected, what would keep the digest
// file from being written or signed.
func (a *app) checkRunDigest(ctx context.Context, o *reportOptions) error {
	if o.digestFile == "" {
		if strings.HasPrefix(a.origins["sign-key"], "flag") {
			return engine.UsageError("read flag", "--sign-key", "Say with --digest-file where to write what is signed.", errors.New("nothing is to be signed"))
		}
		return nil
	}
	if err := outfile.Check(o.digestFile); err != nil || o.signKey == "" {
		return err
	}
	_, err := a.sign(ctx, o.signKey, plan.RunNamespace, nil)
	return err
}

// writeRunDigest writes and signs the digest file, where one is asked for. The
// report is intact, and its files are there.
func (a *app) writeRunDigest(ctx context.Context, report engine.Report, files []string, o *reportOptions) error {
	if o.digestFile == "" {
		return nil
	}
	text, err := pipeline.DigestRun(report, files)
	if err != nil {
		return err
	}
	if err := plan.Write(o.digestFile, text); err != nil {
		return err
	}
	beside := pipeline.SignaturePath(o.digestFile)
	if o.signKey == "" {
		if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "remove", Target: beside, Hint: "It signs an earlier run: remove it by hand.", Err: err}
		}
		a.say("%s: written, not signed", o.digestFile)
		return nil
	}
	signature, err := a.sign(ctx, o.signKey, plan.RunNamespace, text)
	if err != nil {
		return err
	}
	if err := plan.Write(beside, []byte(signature)); err != nil {
		return err
	}
	a.say("%s: written, and signed in %s", o.digestFile, beside)
	return nil
}
