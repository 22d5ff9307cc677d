package journal

import (
	"context"
	"database/sql"

	"encoding/json"
	"errors"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// eventOf is the event of a transition. It tells the whole entry, so that the
// chain covers every field of it.
func eventOf(from engine.StepState, to engine.Entry) engine.JournalEvent {
	return engine.JournalEvent{
		Plan: to.Plan, Step: to.Step, Workspace: to.Workspace, From: string(from), To: string(to.State),
		Epoch: to.Epoch, At: to.At, Detail: engine.CompactJSON(to),
	}
}

// chainHash is the hash of an event: over everything in it and the hash before.
func chainHash(e engine.JournalEvent) string {
	return engine.TextDigest(string(engine.CompactJSON([]any{
		e.Seq, e.Plan, e.Step, e.Workspace, e.From, e.To, e.Epoch, e.At, string(e.Detail), e.Previous,
	})))
}

// appendEvent writes the next event of the chain.
func appendEvent(ctx context.Context, tx *sqlite.Tx, e engine.JournalEvent) error {
	err := tx.QueryRowContext(ctx, `SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1`).Scan(&e.Seq, &e.Previous)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	e.Seq++
	e.Hash = chainHash(e)
	_, err = tx.ExecContext(ctx, `INSERT INTO event (seq, plan_sha, item_id, workspace_id, from_state, to_state, epoch, at_ms, detail, prev_hash, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Seq, e.Plan, e.Step, e.Workspace, e.From, e.To, e.Epoch, e.At, string(e.Detail), e.Previous, e.Hash)
	return err
}

const eventColumns = `seq, plan_sha, item_id, workspace_id, from_state, to_state, epoch, at_ms, detail, prev_hash, hash`

func readEvent(rows *sql.Rows) (e engine.JournalEvent, err error) {
	var detail string
	err = rows.Scan(&e.Seq, &e.Plan, &e.Step, &e.Workspace, &e.From, &e.To, &e.Epoch, &e.At, &detail, &e.Previous, &e.Hash)
	e.Detail = json.RawMessage(detail)
	return e, err
}

const entryColumns = `plan_sha, item_id, workspace_id, action, target, state, reason, detail, attempt, epoch, http, request_id, observed, after, coalesce(prior, ''), at_ms`

func readEntry(rows *sql.Rows) (e engine.Entry, err error) {
	var action, state, prior string
	err = rows.Scan(&e.Plan, &e.Step, &e.Workspace, &action, &e.Target, &state, &e.Reason, &e.Detail, &e.Attempt, &e.Epoch, &e.HTTP, &e.Request, &e.Before, &e.After, &prior, &e.At)
	e.Action, e.State = engine.Action(action), engine.StepState(state)
	if prior != "" {
		e.Prior = json.RawMessage(prior)
	}
	return e, err
}
