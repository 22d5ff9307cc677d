package store

import (
	"context"
	"errors"

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
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT sent_ms IS NOT NULL FROM delivery WHERE run = ? AND receiver = ?`, run, receiver) {
		if err != nil {
			return "", sqlite.Failure("read deliveries", db.Path, err)
		}
		if c.Bool() {
			return DeliverySent, nil
		}
		return DeliveryUncertain, nil
	}
	return DeliveryNew, db.noteDelivery(ctx, `INSERT INTO delivery (run, receiver, begun_ms) VALUES (?1, ?2, ?3)`, run, receiver, db.Now().UnixMilli())
}

// EndDelivery notes that a message arrived.
func (db *DB) EndDelivery(ctx context.Context, run, receiver string) error {
	return db.noteDelivery(ctx, `UPDATE delivery SET sent_ms = ?3 WHERE run = ?1 AND receiver = ?2`, run, receiver, db.Now().UnixMilli())
}

// ForgetDelivery notes that a message certainly did not arrive.
func (db *DB) ForgetDelivery(ctx context.Context, run, receiver string) error {
	return db.noteDelivery(ctx, `DELETE FROM delivery WHERE run = ?1 AND receiver = ?2`, run, receiver)
}

func (db *DB) noteDelivery(ctx context.Context, statement string, args ...any) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return sqlite.Failure("note delivery", db.Path, err)
	}
	if _, err := tx.ExecContext(ctx, statement, args...); err != nil {
		return sqlite.Failure("note delivery", db.Path, errors.Join(err, tx.Rollback()))
	}
	return sqlite.Failure("note delivery", db.Path, tx.Commit())
}
