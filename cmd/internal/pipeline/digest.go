package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"patrol/engine"
	"patrol/engine/plan"
	"patrol/reports"
	"slices"

	"golang.org/x/crypto/ssh"
)

// RunDigest is what a run read, judged and wrote, as SHA-256: small enough to be
// kept where nobody who can write to the database can write.
type RunDigest struct {
	Kind       string           `json:"kind"` // runDigestKind
	Schema     int              `json:"schema"`
	AsOf       string           `json:"as_of"`
	WhatIf     string           `json:"what_if,omitempty"`
	Evaluation string           `json:"evaluation"`
	Snapshots  []SnapshotDigest `json:"snapshots"`
	Files      []FileDigest     `json:"files"`
}

type SnapshotDigest struct {
	WorkspaceID string `json:"workspace_id"`
	Digest      string `json:"digest"`
}

// FileDigest names a report file by its last name: the file may lie anywhere later.
type FileDigest struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

const runDigestKind = "patrol-run-digest"

// DigestRun is the digest file of a report and the files that were written of it.
func DigestRun(report engine.Report, files []string) ([]byte, error) {
	d := RunDigest{Kind: runDigestKind, Schema: 1, AsOf: report.AsOf.UTC().Format("2006-01-02T15:04:05Z"), WhatIf: report.WhatIf, Evaluation: report.Digest, Files: []FileDigest{}}
	for _, w := range report.Workspaces {
		d.Snapshots = append(d.Snapshots, SnapshotDigest{w.Snapshot.Workspace.ID, w.Snapshot.Digest})
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, &engine.Error{Class: engine.ClassStorage, Reason: "input", Op: "read report", Target: path, Hint: "It was written a moment ago: see who removed it.", Err: err}
		}
		d.Files = append(d.Files, FileDigest{filepath.Base(path), plan.Digest(content)})
	}
	var pretty bytes.Buffer
	_ = json.Indent(&pretty, engine.CompactJSON(d), "", "  ") // what CompactJSON gives is JSON
	pretty.WriteByte('\n')
	return pretty.Bytes(), nil
}

// SignaturePath is the file of the signature beside a file.
func SignaturePath(file string) string { return file + ".sig" }

// Evidence is what files that were kept say must still be there.
type Evidence struct {
	Digests []string // of snapshots and evaluations
	Changed error    // a report that is not what its digest file says

	files []FileDigest // of reports
}

// ReadEvidence reads digest files and reports, and prints what became of each. A
// digest file must be signed where signers are given. A report that a digest file
// names is held against that; any other must name digests itself.
func (r *Run) ReadEvidence(print io.Writer, paths []string, signers *plan.Signers) (e Evidence, err error) {
	var others []string
	for _, path := range paths {
		content, err := readKept(path)
		if err != nil {
			return e, err
		}
		var d RunDigest
		if json.Unmarshal(content, &d) != nil || d.Kind != runDigestKind {
			others = append(others, path)
			continue
		}
		if d.Schema != 1 {
			return e, &engine.Error{Class: engine.ClassRefused, Reason: "newer_digest", Op: "read digest file", Target: path, Hint: "Use the patrol that wrote it.", Err: fmt.Errorf("it has version %d, this patrol reads 1", d.Schema)}
		}
		if err := r.checkSignature(print, path, content, d.AsOf, signers); err != nil {
			return e, err
		}
		e.Digests = append(e.Digests, d.Evaluation)
		for _, s := range d.Snapshots {
			e.Digests = append(e.Digests, s.Digest)
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
		case slices.Contains(e.files, FileDigest{name, plan.Digest(content)}):
			fmt.Fprintf(print, "%s: as it was written\n", engine.SafeText(path))
		case slices.ContainsFunc(e.files, func(f FileDigest) bool { return f.Name == name }):
			fmt.Fprintf(print, "%s: CHANGED\n", engine.SafeText(path))
			e.Changed = &engine.Error{Class: engine.ClassStorage, Reason: "file_changed", Op: "verify", Target: path,
				Hint: "Write the report again with `patrol report`, and find out who changed it.", Err: errors.New("it is not the file of which the digest file tells")}
		default:
			found, err := reports.SnapshotDigests(path)
			if err != nil {
				return e, err
			}
			e.Digests = append(e.Digests, found...)
		}
	}
	slices.Sort(e.Digests)
	e.Digests = slices.Compact(e.Digests)
	return e, nil
}

// mostKept bounds a file that verify reads.
const mostKept = 1 << 30

// readKept reads a file that patrol wrote once and somebody kept.
func readKept(path string) ([]byte, error) {
	info, err := os.Stat(path) // opening a pipe would wait for somebody to write
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err == nil && info.Size() > mostKept {
		err = fmt.Errorf("has more than %d MiB", mostKept>>20)
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, engine.UsageError("read report", path, "Name a report or a digest file that patrol wrote.", err)
	}
	return content, nil
}

// checkSignature says who signed a digest file. Without signers nobody's
// signature is asked for, and one that is there vouches for nothing.
func (r *Run) checkSignature(print io.Writer, path string, content []byte, asOf string, signers *plan.Signers) error {
	name := engine.SafeText(path + ", as of " + asOf)
	refused := func(reason, hint string, err error) error {
		return &engine.Error{Class: engine.ClassRefused, Reason: reason, Op: "verify signature of", Target: path, Hint: hint, Err: err}
	}
	armored, err := os.ReadFile(SignaturePath(path))
	switch {
	case errors.Is(err, fs.ErrNotExist) && signers != nil:
		return refused("unsigned", "Put its .sig file beside it, or verify without --signers.", errors.New("it is not signed"))
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(print, "%s: not signed\n", name)
		return nil
	case err != nil:
		return engine.UsageError("read signature", SignaturePath(path), "See the cause.", err)
	}
	key, err := plan.Signed(content, plan.RunNamespace, string(armored))
	if err != nil {
		return refused("bad_signature", "Bring back the file that was signed, with its .sig file.", err)
	}
	if signers == nil {
		fmt.Fprintf(print, "%s: signed with %s, for which nobody vouches without --signers\n", name, ssh.FingerprintSHA256(key))
		return nil
	}
	who, err := signers.MaySignRuns(key, r.Now())
	if err != nil {
		return refused("wrong_key", "Only keys that --signers lists count.", fmt.Errorf("key %s: %w", ssh.FingerprintSHA256(key), err))
	}
	fmt.Fprintf(print, "%s: signed by %s with %s\n", name, engine.SafeText(who), ssh.FingerprintSHA256(key))
	return nil
}
