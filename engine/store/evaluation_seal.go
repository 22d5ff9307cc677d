package store

import (
	"context"
	"fmt"
	"strconv"

	"patrol/engine/sqlite"
)

// What an evaluation is, besides its findings: each query is a kind of row of
// its digest. Snapshots are named by their digests, so that the evaluation is
// chained behind them.
var evaluationParts = []struct {
	kind  byte
	query string
}{
	{'V', `SELECT created_ms, as_of_ms, fail_on, version, narrowed, framework, min_coverage, nullif(what_if, '') FROM evaluation WHERE id = ?`},
	{'W', `SELECT w.place, s.digest FROM evaluation_workspace w JOIN snapshot s ON s.id = w.snapshot_id WHERE w.evaluation_id = ? ORDER BY w.place`},
	{'P', `SELECT p.place, p.policy_id, d.body FROM evaluation_policy p JOIN document d ON d.digest = p.document WHERE p.evaluation_id = ? ORDER BY p.place`},
	{'X', `SELECT d.body FROM evaluation e JOIN document d ON d.digest = e.exceptions WHERE e.id = ?`},
	{'C', `SELECT workspace, policy, status, count FROM tally WHERE evaluation_id = ? ORDER BY workspace, policy, status`},
}

// evaluationDigest begins the digest of an evaluation; the rows of findingQuery follow.
func evaluationDigest(ctx context.Context, q sqlite.Querier, id int64) (*digester, error) {
	d := newDigesterOf("patrol evaluation 1")
	for _, part := range evaluationParts {
		for c, err := range sqlite.Scan(ctx, q, part.query, id) {
			if err != nil {
				return nil, err
			}
			d.values(part.kind, c)
		}
	}
	return d, nil
}

// values writes the columns of a row; those that are NULL are left out, so that
// a column can be added at the end.
func (d *digester) values(kind byte, c *sqlite.Row) {
	d.row(kind)
	for i, value := range c.Values() {
		number := uint64(i + 1) //nolint:gosec // a column
		switch v := value.(type) {
		case int64:
			d.integer(number, &v)
		case string:
			d.field(number, 's')
			d.bytes(v)
		case []byte:
			d.field(number, 'b')
			d.bytes(string(v))
		}
	}
	d.end()
}

// seal stores the digest of an evaluation, made of what is stored of it.
func seal(ctx context.Context, tx interface {
	sqlite.Querier
	sqlite.Execer
}, id int64) error {
	d, err := evaluationDigest(ctx, tx, id)
	if err != nil {
		return err
	}
	for c, err := range sqlite.Scan(ctx, tx, findingQuery, id) {
		if err != nil {
			return err
		}
		d.values('F', c)
	}
	_, err = tx.ExecContext(ctx, `UPDATE evaluation SET digest = ? WHERE id = ?`, d.hex(), id)
	return err
}

// sealed compares the digest of everything that was read of an evaluation with
// the one that it was sealed with.
func (db *DB) sealed(ctx context.Context, id int64, digest string) error {
	want, err := db.evaluationSeal(ctx, id)
	if err != nil {
		return err
	}
	if digest != want {
		return sqlite.Refusal("verify evaluation", strconv.FormatInt(id, 10), "digest_mismatch",
			"Something other than patrol changed the database: restore it from a copy, or evaluate again.",
			fmt.Errorf("its digest is %s, sealed was %s", digest, orNone(want)))
	}
	db.verified.add(evaluationsIn, id)
	return nil
}

func (db *DB) evaluationSeal(ctx context.Context, id int64) (digest string, err error) {
	err = db.q.QueryRowContext(ctx, `SELECT coalesce(digest, '') FROM evaluation WHERE id = ?`, id).Scan(&digest)
	return digest, err
}

// IntactEvaluation says whether an evaluation is what was sealed: what it
// judged and by what, its tallies, exceptions and findings. One that a complete
// reading of this view found intact is not read again.
func (db *DB) IntactEvaluation(ctx context.Context, id int64) error {
	if db.verified.has(evaluationsIn, id) {
		return nil
	}
	d, err := evaluationDigest(ctx, db.q, id)
	if err != nil {
		return sqlite.Failure(opReport, db.Path, err)
	}
	for c, err := range sqlite.Scan(ctx, db.q, findingQuery, id) {
		if err != nil {
			return sqlite.Failure(opReport, db.Path, err)
		}
		d.values('F', c)
	}
	return sqlite.Failure(opReport, db.Path, db.sealed(ctx, id, d.hex()))
}

// sealOld seals the evaluations of a database whose program sealed none.
func sealOld(ctx context.Context, tx interface {
	sqlite.Querier
	sqlite.Execer
}) error {
	var ids []int64
	for c, err := range sqlite.Scan(ctx, tx, `SELECT id FROM evaluation ORDER BY id`) {
		if err != nil {
			return err
		}
		ids = append(ids, c.Int())
	}
	for _, id := range ids {
		if err := seal(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}
