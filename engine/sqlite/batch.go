package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Batch inserts rows in groups: a statement per group costs far less than one
// per row.
type Batch struct {
	tx    *Tx
	head  string
	width int
	full  *sql.Stmt
	args  []any
}

const batchRows = 32

// NewBatch inserts rows of so many columns; head is all of the statement before VALUES.
func NewBatch(tx *Tx, head string, width int) (*Batch, error) {
	b := &Batch{tx: tx, head: head, width: width, args: make([]any, 0, width*batchRows)}
	var err error
	b.full, err = tx.PrepareContext(context.Background(), b.query(batchRows))
	return b, err
}

func (b *Batch) query(rows int) string {
	row := "(" + strings.Repeat("?,", b.width-1) + "?)"
	return b.head + " VALUES " + strings.Repeat(row+",", rows-1) + row
}

// Add inserts a row, sooner or later.
func (b *Batch) Add(args ...any) error {
	if len(args) != b.width {
		return errors.New("row has the wrong number of columns")
	}
	b.args = append(b.args, args...)
	if len(b.args) < b.width*batchRows {
		return nil
	}
	_, err := b.full.ExecContext(context.Background(), b.args...)
	b.args = b.args[:0]
	return err
}

// Flush inserts what is left.
func (b *Batch) Flush() error {
	if len(b.args) == 0 {
		return nil
	}
	_, err := b.tx.ExecContext(context.Background(), b.query(len(b.args)/b.width), b.args...)
	b.args = b.args[:0]
	return err
}

// Close ends it; what was not flushed is lost.
func (b *Batch) Close() error { return b.full.Close() }
