package store

import (
	"context"
	"encoding/json"
	"fmt"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// Exceptions stores what waivers and the baseline came to.
func (e *Evaluation) Exceptions(x engine.Exceptions) error {
	return sqlite.Failure(opEvaluation, e.db.Path, sqlite.Cause(e.ctx, e.exceptions(x)))
}

func (e *Evaluation) exceptions(x engine.Exceptions) error {
	if x.None() {
		return nil
	}
	body, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("exceptions: %w", err)
	}
	document, err := saveDocument(e.ctx, e.tx, body)
	if err != nil {
		return err
	}
	_, err = e.tx.ExecContext(e.ctx, `UPDATE evaluation SET exceptions = ? WHERE id = ?`, document, e.id)
	return err
}

// exceptions are empty when there were neither waivers nor a baseline.
func (db *DB) exceptions(ctx context.Context, evaluation int64) (x engine.Exceptions, err error) {
	query := `SELECT d.body FROM evaluation e JOIN document d ON d.digest = e.exceptions WHERE e.id = ?`
	for c, err := range sqlite.Scan(ctx, db.q, query, evaluation) {
		if err != nil {
			return x, err
		}
		text := c.Text()
		if c.Err != nil {
			return x, c.Err
		}
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			return x, fmt.Errorf("stored exceptions: %w", err)
		}
	}
	return x, nil
}
