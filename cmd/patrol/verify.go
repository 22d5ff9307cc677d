package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
	"patrol/engine/journal"
	"patrol/engine/outfile"
	"patrol/engine/plan"
	"patrol/engine/store"
	"patrol/reports"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"
)

// judged are the snapshots that a report is of.
func judged(r engine.Report) []engine.Snapshot {
	list := make([]engine.Snapshot, len(r.Workspaces))
	for i, w := range r.Workspaces {
		list[i] = w.Snapshot
	}
	return list
}

// verifyOptions say what must still be there.
type verifyOptions struct {
	journal string
	digests []string
	signers string
}

// Verify holds everything stored against what it was sealed with.
func (c commands) Verify() *cobra.Command {
	var o verifyOptions
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
			for _, text := range o.digests { // a digest, or a file of them
				if !regexp.MustCompile(`^[0-9a-fA-F]{64}$`).MatchString(text) {
					kept = append(kept, text)
				}
			}
			return c.app.verify(cmd.Context(), kept, &o)
		},
	}
	addJournalFlag(cmd.Flags(), &o.journal)
	cmd.Flags().StringSliceVar(&o.digests, "digest", nil, "`digests` noted earlier, of snapshots, evaluations, plans or events of the journal, or digest files: all must still be there")
	cmd.Flags().StringVar(&o.signers, "signers", "", "digest files must be signed by a key of this allowed_signers `file`")
	return cmd
}

func (a *app) verify(ctx context.Context, kept []string, o *verifyOptions) error {
	var signers *plan.Signers
	if o.signers != "" {
		content, err := readInput("read signers", o.signers)
		if err == nil {
			signers, err = plan.ParseSigners(content)
		}
		if err != nil {
			return engine.UsageError("read signers", o.signers, "Name a file as ssh-keygen(1) describes it under ALLOWED SIGNERS.", err)
		}
	}
	must, err := a.readEvidence(kept, signers)
	if err != nil {
		return err
	}
	for _, digest := range o.digests {
		if !slices.Contains(kept, digest) {
			must.digests = append(must.digests, strings.ToLower(digest))
		}
	}
	db, err := a.OpenStore(ctx, store.ReadOnly)
	if err != nil {
		return err
	}
	err = a.verifyAll(ctx, db, o.journal, must.digests)
	if err == nil {
		err = must.changed
	}
	return errors.Join(err, db.Close())
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
			a.printVerified(chunk[i], err)
		}
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

// runDigest is what a run read, judged and wrote, as SHA-256: small enough to be
// kept where nobody who can write to the database can write.
type runDigest struct {
	Kind       string           `json:"kind"` // runDigestKind
	Schema     int              `json:"schema"`
	AsOf       string           `json:"as_of"`
	WhatIf     string           `json:"what_if,omitempty"`
	Evaluation string           `json:"evaluation"`
	Snapshots  []snapshotDigest `json:"snapshots"`
	Files      []fileDigest     `json:"files"`
}

type snapshotDigest struct {
	WorkspaceID string `json:"workspace_id"`
	Digest      string `json:"digest"`
}

// fileDigest names a report file by its last name: the file may lie anywhere later.
type fileDigest struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

const runDigestKind = "patrol-run-digest"

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
	d := runDigest{Kind: runDigestKind, Schema: 1, AsOf: report.AsOf.UTC().Format("2006-01-02T15:04:05Z"), WhatIf: report.WhatIf, Evaluation: report.Digest, Files: []fileDigest{}}
	for _, w := range report.Workspaces {
		d.Snapshots = append(d.Snapshots, snapshotDigest{w.Snapshot.Workspace.ID, w.Snapshot.Digest})
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return &engine.Error{Class: engine.ClassStorage, Reason: "input", Op: "read report", Target: path, Hint: "It was written a moment ago: see who removed it.", Err: err}
		}
		d.Files = append(d.Files, fileDigest{filepath.Base(path), plan.Digest(content)})
	}
	var pretty bytes.Buffer
	_ = json.Indent(&pretty, engine.CompactJSON(d), "", "  ") // what CompactJSON gives is JSON
	pretty.WriteByte('\n')
	if err := plan.Write(o.digestFile, pretty.Bytes()); err != nil {
		return err
	}
	if o.signKey == "" {
		if err := os.Remove(signaturePath(o.digestFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "remove", Target: signaturePath(o.digestFile), Hint: "It signs an earlier run: remove it by hand.", Err: err}
		}
		a.say("%s: written, not signed", o.digestFile)
		return nil
	}
	signature, err := a.sign(ctx, o.signKey, plan.RunNamespace, pretty.Bytes())
	if err == nil {
		err = plan.Write(signaturePath(o.digestFile), []byte(signature))
	}
	if err == nil {
		a.say("%s: written, and signed in %s", o.digestFile, signaturePath(o.digestFile))
	}
	return err
}

func signaturePath(file string) string { return file + ".sig" }

// evidence is what files that were kept say must still be there.
type evidence struct {
	digests []string     // of snapshots and evaluations
	files   []fileDigest // of reports
	changed error        // a report that is not what its digest file says
}

// readEvidence reads digest files and reports. A digest file must be signed where
// signers are given. A report that a digest file names is held against that; any
// other must name digests itself.
func (a *app) readEvidence(paths []string, signers *plan.Signers) (e evidence, err error) {
	var others []string
	for _, path := range paths {
		content, err := readKept(path)
		if err != nil {
			return e, err
		}
		var d runDigest
		if json.Unmarshal(content, &d) != nil || d.Kind != runDigestKind {
			others = append(others, path)
			continue
		}
		if d.Schema != 1 {
			return e, &engine.Error{Class: engine.ClassRefused, Reason: "newer_digest", Op: "read digest file", Target: path, Hint: "Use the patrol that wrote it.", Err: fmt.Errorf("it has version %d, this patrol reads 1", d.Schema)}
		}
		if err := a.checkSignature(path, content, d.AsOf, signers); err != nil {
			return e, err
		}
		e.digests = append(e.digests, d.Evaluation)
		for _, s := range d.Snapshots {
			e.digests = append(e.digests, s.Digest)
		}
		e.files = append(e.files, d.Files...)
	}
	if signers != nil && len(others) == len(paths) {
		return e, engine.UsageError("read flag", "--signers", "Name the file that --digest-file wrote: only that one is signed.", errors.New("no digest file is given"))
	}
	for _, path := range others {
		content, err := readKept(path)
		if err != nil {
			return e, err
		}
		name := filepath.Base(path)
		switch {
		case slices.Contains(e.files, fileDigest{name, plan.Digest(content)}):
			fmt.Fprintf(a.env.stdout, "%s: as it was written\n", engine.SafeText(path))
		case slices.ContainsFunc(e.files, func(f fileDigest) bool { return f.Name == name }):
			fmt.Fprintf(a.env.stdout, "%s: CHANGED\n", engine.SafeText(path))
			e.changed = &engine.Error{Class: engine.ClassStorage, Reason: "file_changed", Op: "verify", Target: path,
				Hint: "Write the report again with `patrol report`, and find out who changed it.", Err: errors.New("it is not the file of which the digest file tells")}
		default:
			found, err := reports.SnapshotDigests(path)
			if err != nil {
				return e, err
			}
			e.digests = append(e.digests, found...)
		}
	}
	slices.Sort(e.digests)
	e.digests = slices.Compact(e.digests)
	return e, nil
}

// mostKept bounds a file that verify reads.
const mostKept = 1 << 30

// readKept reads a file that patrol wrote once and somebody kept.
func readKept(path string) ([]byte, error) {
	bad := func(err error) error {
		return engine.UsageError("read report", path, "Name a report or a digest file that patrol wrote.", err)
	}
	info, err := os.Stat(path) // opening a pipe would wait for somebody to write
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err == nil && info.Size() > mostKept {
		err = fmt.Errorf("has more than %d MiB", mostKept>>20)
	}
	if err != nil {
		return nil, bad(err)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, bad(err)
	}
	content, err := io.ReadAll(io.LimitReader(file, mostKept))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, bad(err)
	}
	return content, nil
}

// checkSignature says who signed a digest file. Without signers nobody's
// signature is asked for, and one that is there vouches for nothing.
func (a *app) checkSignature(path string, content []byte, asOf string, signers *plan.Signers) error {
	name := engine.SafeText(path + ", as of " + asOf)
	refused := func(reason, hint string, err error) error {
		return &engine.Error{Class: engine.ClassRefused, Reason: reason, Op: "verify signature of", Target: path, Hint: hint, Err: err}
	}
	armored, err := os.ReadFile(signaturePath(path))
	switch {
	case errors.Is(err, fs.ErrNotExist) && signers != nil:
		return refused("unsigned", "Put its .sig file beside it, or verify without --signers.", errors.New("it is not signed"))
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(a.env.stdout, "%s: not signed\n", name)
		return nil
	case err != nil:
		return engine.UsageError("read signature", signaturePath(path), "See the cause.", err)
	}
	key, err := plan.Signed(content, plan.RunNamespace, string(armored))
	if err != nil {
		return refused("bad_signature", "Bring back the file that was signed, with its .sig file.", err)
	}
	if signers == nil {
		fmt.Fprintf(a.env.stdout, "%s: signed with %s, for which nobody vouches without --signers\n", name, ssh.FingerprintSHA256(key))
		return nil
	}
	who, err := signers.MaySignRuns(key, a.env.now())
	if err != nil {
		return refused("wrong_key", "Only keys that --signers lists count.", fmt.Errorf("key %s: %w", ssh.FingerprintSHA256(key), err))
	}
	fmt.Fprintf(a.env.stdout, "%s: signed by %s with %s\n", name, engine.SafeText(who), ssh.FingerprintSHA256(key))
	return nil
}
