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
	tx, err := db.Begin(ctx)
	if err != nil {
		return 0, sqlite.Failure(opPrune, db.Path, err)
	}
	defer tx.Rollback()
	p := pruner{ctx: ctx, tx: tx, at: db.Now().UnixMilli()}
	if err := p.run(snapshots); err != nil {
		return 0, sqlite.Failure(opPrune, db.Path, sqlite.Cause(ctx, err))
	}
	if err := tx.Commit(); err != nil {
		return 0, sqlite.Failure(opPrune, db.Path, sqlite.Cause(ctx, err))
	}
	if err := db.compact(ctx); err != nil {
		return p.evaluations, sqlite.Failure("write the pruned database anew", db.Path, err)
	}
	return p.evaluations, nil
}

// compact gives back the pages that are free, and empties the log, which may
// still hold what was on them.
func (db *DB) compact(ctx context.Context) error {
	for _, statement := range []string{"VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"} {
		if _, err := db.SQL.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// pruner is one Prune at work.
type pruner struct {
	ctx         context.Context
	tx          *sqlite.Tx
	at          int64
	evaluations int
}

func (p *pruner) run(snapshots []engine.Snapshot) error {
	last := map[int64]int64{} // workspace → newest snapshot to remove
	for _, s := range snapshots {
		var workspace int64
		if err := p.tx.QueryRowContext(p.ctx, `SELECT workspace_key FROM snapshot WHERE id = ?`, s.ID).Scan(&workspace); err != nil {
			return fmt.Errorf("snapshot %d: %w", s.ID, err)
		}
		last[workspace] = max(last[workspace], s.ID)
	}
	removed := 0
	for _, workspace := range engine.SortedKeys(last) {
		n, err := p.workspace(workspace, last[workspace])
		if err != nil {
			return err
		}
		removed += n
	}
	if removed != len(snapshots) {
		return errors.New("the snapshots to prune are not the oldest of their workspaces")
	}
	return p.sweep()
}

// workspace removes its snapshots up to one.
func (p *pruner) workspace(workspace, last int64) (removed int, err error) {
	var kept sql.NullInt64
	err = p.tx.QueryRowContext(p.ctx, `SELECT min(id) FROM snapshot WHERE workspace_key = ? AND id > ?`, workspace, last).Scan(&kept)
	if err != nil {
		return 0, err
	}
	if !kept.Valid {
		return 0, errors.New("a workspace would lose its last snapshot")
	}
	if err := p.evaluationsOf(workspace, kept.Int64); err != nil {
		return 0, err
	}
	for _, statement := range pruneStatements() {
		result, err := p.tx.ExecContext(p.ctx, statement, workspace, kept.Int64, p.at)
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		removed = int(n) // of the last, which removes the snapshots
	}
	return removed, nil
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

// evaluationsOf removes the evaluations that judged a snapshot which goes.
func (p *pruner) evaluationsOf(workspace, kept int64) error {
	var ids []int64
	query := `SELECT DISTINCT w.evaluation_id FROM evaluation_workspace w JOIN snapshot s ON s.id = w.snapshot_id
		WHERE s.workspace_key = ? AND s.id < ? ORDER BY 1`
	for c, err := range sqlite.Scan(p.ctx, p.tx, query, workspace, kept) {
		if err != nil {
			return err
		}
		ids = append(ids, c.Int())
	}
	p.evaluations += len(ids)
	for _, id := range ids {
		for _, table := range []string{"finding", "tally", "evaluation_policy", "evaluation_workspace"} {
			if _, err := p.tx.ExecContext(p.ctx, "DELETE FROM "+table+" WHERE evaluation_id = ?", id); err != nil {
				return err
			}
		}
		if _, err := p.tx.ExecContext(p.ctx, "DELETE FROM evaluation WHERE id = ?", id); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what nothing refers to any more.
func (p *pruner) sweep() error {
	for _, statement := range []string{
		`DELETE FROM token_use WHERE token_key NOT IN (SELECT token_key FROM token_version)`,
		`DELETE FROM raw_shape WHERE key NOT IN (SELECT raw_shape FROM token_version WHERE raw_shape IS NOT NULL)`,
		`DELETE FROM document WHERE digest NOT IN (
			SELECT document FROM section WHERE document IS NOT NULL UNION SELECT document FROM evaluation_policy
			UNION SELECT exceptions FROM evaluation WHERE exceptions IS NOT NULL)`,
	} {
		if _, err := p.tx.ExecContext(p.ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
