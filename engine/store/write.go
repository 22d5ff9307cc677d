package store

import (
	"context"
	"database/sql"
	"errors"
)

// begin starts a writing transaction. Writers of one process wait for each
// other here, however long that takes; those of other processes wait for the
// lock as long as the busy timeout says. Statements that run once per row run
// without the context, which would cost a goroutine each: who writes asks the
// context itself.
func (db *DB) begin(ctx context.Context) (*sql.Tx, error) {
	if db.mode != ReadWrite {
		return nil, refusal("write to database", db.path, "readonly", "Open it for writing.", errors.New("is opened read-only"))
	}
	select {
	case db.pen <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	tx, err := db.sql.BeginTx(ctx, nil)
	if err != nil {
		<-db.pen
	}
	return tx, err
}

// release lets the next writer in.
func (db *DB) release() { <-db.pen }
