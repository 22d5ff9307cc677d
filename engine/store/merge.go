package store

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opMerge = "merge snapshot"

// Merged tells what became of a snapshot of another database.
type Merged struct {
	From engine.Snapshot // as the other database holds it
	Into engine.Snapshot // as it was stored here, or had been before
	// Known: it had been here already. Resealed: it follows another snapshot
	// here than there, so that its digest differs; its rows are the same.
	Known, Resealed bool
}

// MergeSnapshots stores the snapshots of another database that are not here
// yet, oldest first, each in a transaction of its own: what was merged before
// an error stays, and merging again goes on from there. The rows of each
// snapshot must have the digest that it was sealed with. A snapshot is put at
// the end of its workspace's chain; one that was collected before the end of
// the chain is refused (reason out_of_order), because the chain is sealed.
func (db *DB) MergeSnapshots(ctx context.Context, other *DB) iter.Seq2[Merged, error] {
	return func(yield func(Merged, error) bool) {
		found, err := other.snapshots(ctx, ` ORDER BY s.id`)
		if err != nil {
			yield(Merged{}, err)
			return
		}
		for _, s := range found {
			merged, err := db.mergeSnapshot(ctx, other, s)
			if !yield(merged, err) || err != nil {
				return
			}
		}
	}
}

func (db *DB) mergeSnapshot(ctx context.Context, other *DB, s engine.Snapshot) (Merged, error) {
	merged := Merged{From: s, Known: true}
	held, err := db.snapshots(ctx, ` WHERE w.workspace_id = ? ORDER BY s.id`, s.Workspace.ID)
	if err != nil {
		return merged, err
	}
	for _, h := range held {
		same, err := db.sameSnapshot(ctx, h, s)
		if err != nil {
			return merged, sqlite.Failure(opMerge, db.Path, err)
		}
		if same {
			merged.Into, merged.Resealed = h, h.Digest != s.Digest
			return merged, nil
		}
	}
	if n := len(held); n > 0 && held[n-1].CollectedAt.After(s.CollectedAt) {
		return merged, sqlite.Refusal(opMerge, s.Workspace.Name+" of "+other.Path, "out_of_order",
			"Merge databases in the order in which they were collected, into a new database if need be.",
			fmt.Errorf("was collected %s, before the last one here, %s", s.CollectedAt, held[n-1].CollectedAt))
	}
	merged.Known = false
	from, err := other.reader(ctx, s.ID)
	if err != nil {
		return merged, err
	}
	capture, err := from.capture(ctx)
	if err != nil {
		return merged, damagedRow(s.ID, sqlite.Failure(opMerge, other.Path, err))
	}
	err = db.Write(ctx, opMerge, func(tx *sqlite.Tx) (err error) {
		if merged.Into, err = db.save(ctx, tx, capture, newDigester(s.DigestVersion)); err != nil {
			return err
		}
		for _, digest := range from.digests {
			if err := difference(s, digest); err != nil {
				return sqlite.Refusal(opMerge, strconv.FormatInt(s.ID, 10)+" of "+other.Path, "digest_mismatch",
					"Something other than patrol changed that database: collect its workspaces again. Nothing of this snapshot was stored.", err)
			}
		}
		return nil
	})
	merged.Resealed = merged.Into.Digest != s.Digest
	return merged, err
}

// sameSnapshot reports whether h, which is held here, is s of another
// database: sealed alike, or sealed anew behind another snapshot.
func (db *DB) sameSnapshot(ctx context.Context, h, s engine.Snapshot) (bool, error) {
	if h.Digest == s.Digest {
		return true, nil
	}
	if !h.CollectedAt.Equal(s.CollectedAt) || h.Tokens != s.Tokens || h.Previous == s.Previous && h.DigestVersion == s.DigestVersion {
		return false, nil
	}
	h.Previous, h.DigestVersion = s.Previous, s.DigestVersion
	r := db.digesting(h)
	err := r.readAll(ctx)
	return err == nil && r.digests[0].hex() == s.Digest, err
}

// capture is the snapshot as it was collected; its rows go by the digest.
func (r *reader) capture(ctx context.Context) (engine.Capture, error) {
	s := r.snapshots[0]
	c := engine.Capture{Workspace: s.Workspace, CollectedAt: s.CollectedAt, Sections: map[engine.SectionName]engine.Section{}}
	for name, coverage := range s.Coverage {
		section := engine.Section{Coverage: coverage, Document: s.Documents[name]}
		if coverage.Usable() {
			switch name {
			case engine.SectionPrincipals:
				for p, err := range r.principals(ctx) {
					if err != nil {
						return c, err
					}
					section.Principals = append(section.Principals, p)
				}
			case engine.SectionTokens:
				section.Tokens = func(yield func(engine.Token, error) bool) {
					for t, err := range r.tokens(ctx, true) {
						if !yield(t.Token, err) {
							return
						}
					}
				}
			case engine.SectionAuditLog:
				section.Activity = r.activity(ctx)
			}
		}
		c.Sections[name] = section
	}
	return c, nil
}
