package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opPrune = "prune snapshots"

// Prune removes snapshots, and the evaluations that judged them, for good: what
// they alone held is overwritten. Of each workspace the snapshots must be its
// oldest ones, and not all. What is left of them is their digest, so that the
// chain of the others can still be verified. It returns the number of
// evaluations removed.
//
// The database is then written anew, for which the disk needs room for a second
// one. An error in that has no effect on what was pruned: it says so.
func (db *DB) Prune(ctx context.Context, snapshots []engine.Snapshot) (evaluations int, err error) {
	err = db.Write(ctx, opPrune, func(tx *sqlite.Tx) error {
		last := map[int64]int64{} // workspace → newest snapshot to remove
		for _, s := range snapshots {
			var workspace int64
			if err := tx.QueryRowContext(ctx, `SELECT workspace_key FROM snapshot WHERE id = ?`, s.ID).Scan(&workspace); err != nil {
				return fmt.Errorf("snapshot %d: %w", s.ID, err)
			}
			last[workspace] = max(last[workspace], s.ID)
		}
		var removed int64
		for _, workspace := range engine.SortedKeys(last) {
			var kept sql.NullInt64
			if err := tx.QueryRowContext(ctx, `SELECT min(id) FROM snapshot WHERE workspace_key = ? AND id > ?`, workspace, last[workspace]).Scan(&kept); err != nil {
				return err
			}
			if !kept.Valid {
				return errors.New("a workspace would lose its last snapshot")
			}
			judged, err := pruneEvaluations(ctx, tx, workspace, kept.Int64)
			if err != nil {
				return err
			}
			evaluations += judged
			var n int64 // of the last statement, which removes the snapshots
			for _, statement := range pruneStatements() {
				result, err := tx.ExecContext(ctx, statement, workspace, kept.Int64, db.Now().UnixMilli())
				if err != nil {
					return err
				}
				if n, err = result.RowsAffected(); err != nil {
					return err
				}
			}
			removed += n
		}
		if removed != int64(len(snapshots)) {
			return errors.New("the snapshots to prune are not the oldest of their workspaces")
		}
		for _, statement := range sweepStatements() {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	// Gives back the pages that are free, and empties the log, which may still hold
	// what was on them.
	for _, statement := range []string{"VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := db.SQL.ExecContext(ctx, statement); err != nil {
			return evaluations, sqlite.Failure("write the pruned database anew", db.Path, err)
		}
	}
	return evaluations, nil
}

// pruneStatements remove what only the snapshots of workspace ?1 before ?2 held.
// The first row of a token tells since when it is known: where later ones are
// left it stays, without what it held.
func pruneStatements() []string {
	const old = `(SELECT id FROM snapshot WHERE workspace_key = ?1 AND id < ?2)`
	return []string{
		`INSERT INTO pruned_snapshot (id, workspace_key, collected_ms, previous, digest, pruned_ms)
			SELECT id, workspace_key, collected_ms, previous, digest, ?3 FROM snapshot WHERE workspace_key = ?1 AND id < ?2`,
		`DELETE FROM token_activity WHERE snapshot_id IN ` + old,
		`DELETE FROM section WHERE snapshot_id IN ` + old,
		`DELETE FROM principal_version WHERE workspace_key = ?1 AND until <= ?2`,
		`DELETE FROM token_version WHERE workspace_key = ?1 AND until <= ?2 AND NOT (version = token_key AND EXISTS (
			SELECT 1 FROM token_version n WHERE n.workspace_key = ?1 AND n.token_id = token_version.token_id
			AND n.token_key = token_version.token_key AND (n.until IS NULL OR n.until > ?2)))`,
		`UPDATE token_version SET ` + nothingHeld() + ` WHERE workspace_key = ?1 AND until <= ?2`,
		`DELETE FROM token_use WHERE since < ?2 AND token_key IN (SELECT token_key FROM token_version WHERE workspace_key = ?1) AND EXISTS (
			SELECT 1 FROM token_use n WHERE n.token_key = token_use.token_key AND n.since > token_use.since AND n.since <= ?2)`,
		`DELETE FROM snapshot WHERE workspace_key = ?1 AND id < ?2`,
	}
}

// nothingHeld empties what a row of a token holds of it, but for its id.
func nothingHeld() string {
	empty := []string{"defects = NULL", "raw_shape = NULL", "raw = NULL"}
	for _, f := range storedColumns {
		switch {
		case f.Column == "token_id":
		case f.Text != nil:
			empty = append(empty, f.Column+" = ''")
		default:
			empty = append(empty, f.Column+" = NULL")
		}
	}
	return strings.Join(empty, ", ")
}

// pruneEvaluations removes those that judged a snapshot of a workspace before one that is kept.
func pruneEvaluations(ctx context.Context, tx *sqlite.Tx, workspace, kept int64) (removed int, err error) {
	ids, err := sqlite.List(ctx, tx, (*sqlite.Row).Int, `SELECT DISTINCT w.evaluation_id FROM evaluation_workspace w JOIN snapshot s ON s.id = w.snapshot_id
		WHERE s.workspace_key = ? AND s.id < ? ORDER BY 1`, workspace, kept)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		for _, statement := range []string{
			`DELETE FROM finding WHERE evaluation_id = ?`,
			`DELETE FROM tally WHERE evaluation_id = ?`,
			`DELETE FROM evaluation_policy WHERE evaluation_id = ?`,
			`DELETE FROM evaluation_workspace WHERE evaluation_id = ?`,
			`DELETE FROM evaluation WHERE id = ?`,
		} {
			if _, err := tx.ExecContext(ctx, statement, id); err != nil {
				return 0, err
			}
		}
	}
	return len(ids), nil
}

// sweepStatements remove what nothing refers to any more.
func sweepStatements() []string {
	return []string{
		`DELETE FROM token_use WHERE token_key NOT IN (SELECT token_key FROM token_version)`,
		`DELETE FROM raw_shape WHERE key NOT IN (SELECT raw_shape FROM token_version WHERE raw_shape IS NOT NULL)`,
		`DELETE FROM document WHERE digest NOT IN (
			SELECT document FROM section WHERE document IS NOT NULL UNION SELECT document FROM evaluation_policy
			UNION SELECT exceptions FROM evaluation WHERE exceptions IS NOT NULL)`,
	}
}
