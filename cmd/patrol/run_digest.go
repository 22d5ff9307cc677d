package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/plan"
	"patrol/reports"

	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"
)

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
		if err := a.checkSignature(path, content, signers); err != nil {
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
func (a *app) checkSignature(path string, content []byte, signers *plan.Signers) error {
	refused := func(reason, hint string, err error) error {
		return &engine.Error{Class: engine.ClassRefused, Reason: reason, Op: "verify signature of", Target: path, Hint: hint, Err: err}
	}
	armored, err := os.ReadFile(signaturePath(path))
	switch {
	case errors.Is(err, fs.ErrNotExist) && signers != nil:
		return refused("unsigned", "Put its .sig file beside it, or verify without --signers.", errors.New("it is not signed"))
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(a.env.stdout, "%s: not signed\n", engine.SafeText(path))
		return nil
	case err != nil:
		return engine.UsageError("read signature", signaturePath(path), "See the cause.", err)
	}
	key, err := plan.Signed(content, plan.RunNamespace, string(armored))
	if err != nil {
		return refused("bad_signature", "Bring back the file that was signed, with its .sig file.", err)
	}
	if signers == nil {
		fmt.Fprintf(a.env.stdout, "%s: signed with %s, for which nobody vouches without --signers\n", engine.SafeText(path), ssh.FingerprintSHA256(key))
		return nil
	}
	who, err := signers.MaySignRuns(key, a.env.now())
	if err != nil {
		return refused("wrong_key", "Only keys that --signers lists count.", fmt.Errorf("key %s: %w", ssh.FingerprintSHA256(key), err))
	}
	fmt.Fprintf(a.env.stdout, "%s: signed by %s with %s\n", engine.SafeText(path), engine.SafeText(who), ssh.FingerprintSHA256(key))
	return nil
}
