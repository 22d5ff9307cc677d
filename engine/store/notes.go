package store

import (
	"context"

	"patrol/engine/sqlite"
)

// Delivery is how far a message about a run has come.
type Delivery string

const (
	DeliveryNew       Delivery = "new"       // nothing was sent; it is noted now that it will be
	DeliverySent      Delivery = "sent"      // it arrived
	DeliveryUncertain Delivery = "uncertain" // it was begun: whether it arrived is not known
)

// BeginDelivery notes that a message is about to be sent, and says whether one
// was before.
func (db *DB) BeginDelivery(ctx context.Context, run, receiver string) (Delivery, error) {
	var sent bool
	begun, err := sqlite.First(ctx, db.q, `SELECT sent_ms IS NOT NULL FROM delivery WHERE run = ? AND receiver = ?`, []any{run, receiver}, &sent)
	switch {
	case err != nil:
		return "", sqlite.Failure("read deliveries", db.Path, err)
	case sent:
		return DeliverySent, nil
	case begun:
		return DeliveryUncertain, nil
	}
	return DeliveryNew, db.note(ctx, "note delivery", `INSERT INTO delivery (run, receiver, begun_ms) VALUES (?1, ?2, ?3)`, run, receiver, db.Now().UnixMilli())
}

// EndDelivery notes that a message arrived.
func (db *DB) EndDelivery(ctx context.Context, run, receiver string) error {
	return db.note(ctx, "note delivery", `UPDATE delivery SET sent_ms = ?3 WHERE run = ?1 AND receiver = ?2`, run, receiver, db.Now().UnixMilli())
}

// ForgetDelivery notes that a message certainly did not arrive.
func (db *DB) ForgetDelivery(ctx context.Context, run, receiver string) error {
	return db.note(ctx, "note delivery", `DELETE FROM delivery WHERE run = ?1 AND receiver = ?2`, run, receiver)
}

// BeginApply notes with which journal apply began a plan. It is told when the
// journal knows the plan and before anything is sent: what is noted here is in
// the journal, unless somebody took it away.
func (db *DB) BeginApply(ctx context.Context, plan, journal string) error {
	return db.note(ctx, "note plan", `INSERT INTO applied_plan (plan_sha, journal, begun_ms) VALUES (?, ?, ?)
		ON CONFLICT (plan_sha) DO UPDATE SET journal = excluded.journal, begun_ms = excluded.begun_ms`, plan, journal, db.Now().UnixMilli())
}

// AppliedWith is the journal with which apply began a plan, "" when it never did.
func (db *DB) AppliedWith(ctx context.Context, plan string) (journal string, err error) {
	_, err = sqlite.First(ctx, db.q, `SELECT journal FROM applied_plan WHERE plan_sha = ?`, []any{plan}, &journal)
	return journal, sqlite.Failure("read plans", db.Path, err)
}

// note runs one statement in a transaction of its own.
func (db *DB) note(ctx context.Context, op, statement string, args ...any) error {
	return db.Write(ctx, op, func(tx *sqlite.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
}
