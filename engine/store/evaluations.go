package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// EvaluationSummary is a line of the list of evaluations.
type EvaluationSummary struct {
	ID         int64
	Created    time.Time
	AsOf       time.Time
	WhatIf     string
	Narrowed   bool
	Workspaces int
	Findings   engine.Tally
	Digest     string
}

// Evaluations lists all evaluations, newest first.
func (db *DB) Evaluations(ctx context.Context) (list []EvaluationSummary, err error) {
	query := `SELECT id, created_ms, as_of_ms, what_if, narrowed, (SELECT count(*) FROM evaluation_workspace w WHERE w.evaluation_id = e.id), coalesce(digest, '')
		FROM evaluation e ORDER BY id DESC`
	for c, err := range sqlite.Scan(ctx, db.q, query) {
		if err != nil {
			return nil, sqlite.Failure(opReport, db.Path, err)
		}
		e := EvaluationSummary{ID: c.Int(), Created: time.UnixMilli(c.Int()).UTC(), AsOf: time.UnixMilli(c.Int()).UTC(), WhatIf: c.Text(), Narrowed: c.Bool(), Findings: engine.Tally{}}
		e.Workspaces, e.Digest = int(c.Int()), c.Text()
		if c.Err != nil {
			return nil, sqlite.Failure(opReport, db.Path, c.Err)
		}
		list = append(list, e)
	}
	counts := map[int64]engine.Tally{}
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT evaluation_id, status, sum(count) FROM tally GROUP BY 1, 2`) {
		if err != nil {
			return nil, sqlite.Failure(opReport, db.Path, err)
		}
		id, status, count := c.Int(), engine.Status(c.Text()), int(c.Int())
		if c.Err != nil {
			return nil, sqlite.Failure(opReport, db.Path, c.Err)
		}
		if counts[id] == nil {
			counts[id] = engine.Tally{}
		}
		counts[id][status] = count
	}
	for i := range list {
		list[i].Findings = counts[list[i].ID]
	}
	return list, nil
}

// DigestHolder says which snapshot or evaluation has a digest; "" when none has.
func (db *DB) DigestHolder(ctx context.Context, digest string) (holder string, err error) {
	query := `SELECT 'snapshot ' || id FROM snapshot WHERE digest = ?1 UNION ALL SELECT 'pruned snapshot ' || id FROM pruned_snapshot WHERE digest = ?1
		UNION ALL SELECT 'evaluation ' || id FROM evaluation WHERE digest = ?1 LIMIT 1`
	for c, err := range sqlite.Scan(ctx, db.q, query, digest) {
		if err != nil {
			return "", sqlite.Failure(opVerify, db.Path, err)
		}
		holder = c.Text()
	}
	return holder, nil
}

// BeginApply notes with which journal apply began a plan. It is told when the
// journal knows the plan and before anything is sent: what is noted here is in
// the journal, unless somebody took it away.
func (db *DB) BeginApply(ctx context.Context, plan, journal string) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return sqlite.Failure("note plan", db.Path, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO applied_plan (plan_sha, journal, begun_ms) VALUES (?, ?, ?)
		ON CONFLICT (plan_sha) DO UPDATE SET journal = excluded.journal, begun_ms = excluded.begun_ms`, plan, journal, db.Now().UnixMilli())
	if err != nil {
		return sqlite.Failure("note plan", db.Path, errors.Join(err, tx.Rollback()))
	}
	return sqlite.Failure("note plan", db.Path, tx.Commit())
}

// AppliedWith is the journal with which apply began a plan, "" when it never did.
func (db *DB) AppliedWith(ctx context.Context, plan string) (journal string, err error) {
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT journal FROM applied_plan WHERE plan_sha = ?`, plan) {
		if err != nil {
			return "", sqlite.Failure("read plans", db.Path, err)
		}
		journal = c.Text()
	}
	return journal, nil
}

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
