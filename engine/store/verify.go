package store

import (
	"context"
	"fmt"
	"strconv"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opVerify = "verify snapshot"

// VerifySnapshot computes the digest of a snapshot from the stored rows. The
// reason of the error is digest_mismatch when it is not the digest that the
// snapshot was sealed with: something changed it since.
func (db *DB) VerifySnapshot(ctx context.Context, id int64) error {
	s, err := db.Snapshot(ctx, id)
	if err != nil {
		return damagedRow(id, err)
	}
	err = db.verify(ctx, s)
	if e, ok := engine.AsError(err); ok && e.Reason == "digest_mismatch" {
		if _, err := db.Snapshot(ctx, id); err != nil {
			return damagedRow(id, err) // pruned meanwhile
		}
	}
	return err
}

// VerifySnapshots is VerifySnapshot for some snapshots of one workspace. Rows
// that they share are read once: two neighbours cost little more than one. The
// errors are in the order of the ids.
func (db *DB) VerifySnapshots(ctx context.Context, ids ...int64) []error {
	errs := make([]error, len(ids))
	if len(ids) > 1 && db.intact(ctx, ids) {
		return errs
	}
	for i, id := range ids { // each by itself tells which
		errs[i] = db.VerifySnapshot(ctx, id)
	}
	return errs
}

func (db *DB) intact(ctx context.Context, ids []int64) bool {
	list := make([]engine.Snapshot, len(ids))
	for i, id := range ids {
		var err error
		if list[i], err = db.Snapshot(ctx, id); err != nil {
			return false
		}
	}
	return db.verify(ctx, list...) == nil
}

// verify holds snapshots of one workspace against their digests. The error
// names the first, whatever was found.
func (db *DB) verify(ctx context.Context, list ...engine.Snapshot) error {
	sums, err := db.digests(ctx, list)
	if err != nil {
		return damagedRow(list[0].ID, sqlite.Failure(opVerify, db.Path, err))
	}
	for i, s := range list {
		digest, tokens := sums[i].hex(), sums[i].tokens
		if digest != s.Digest || tokens != s.Tokens {
			return mismatch(s.ID, fmt.Errorf("digest of %d stored tokens is %s, sealed were %d with %s", tokens, digest, s.Tokens, s.Digest))
		}
	}
	return nil
}

func mismatch(id int64, err error) error {
	return sqlite.Refusal(opVerify, strconv.FormatInt(id, 10), "digest_mismatch",
		"Something other than patrol changed the database: restore it from a copy, or collect again into a new one.", err)
}

// damagedRow turns a row that cannot be decoded into what it means here.
func damagedRow(id int64, err error) error {
	if e, ok := engine.AsError(err); ok && e.Reason == sqlite.Unexplained {
		return mismatch(id, e.Err)
	}
	return err
}

// VerifyChain checks that each snapshot of each workspace names the digest of
// the one before, those that were pruned included: none is missing, none was
// slipped in. The reason of the error is chain_broken. Whether the newest ones
// were removed no database can tell of itself: keep the newest digest elsewhere.
func (db *DB) VerifyChain(ctx context.Context) error {
	var workspace int64
	last := ""
	query := `SELECT workspace_key, id, previous, digest FROM snapshot
		UNION ALL SELECT workspace_key, id, previous, digest FROM pruned_snapshot ORDER BY 1, 2`
	for c, err := range sqlite.Scan(ctx, db.SQL, query) {
		if err != nil {
			return sqlite.Failure(opVerify, db.Path, err)
		}
		key, id, previous, digest := c.Int(), c.Int(), c.Text(), c.Text()
		if c.Err != nil {
			return damagedRow(id, sqlite.Failure(opVerify, db.Path, c.Err))
		}
		if key != workspace {
			workspace, last = key, ""
		}
		if previous != last {
			return sqlite.Refusal(opVerify, strconv.FormatInt(id, 10), "chain_broken",
				"Something other than patrol removed or added a snapshot of that workspace: restore the database from a copy.",
				fmt.Errorf("names %.12s as the digest before, which is %.12s", orNone(previous), orNone(last)))
		}
		last = digest
	}
	return nil
}

func orNone(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest
}
