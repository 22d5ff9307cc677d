package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// batch inserts rows in groups: a statement per group costs far less than one
// per row.
type batch struct {
	tx    *sql.Tx
	head  string
	width int
	full  *sql.Stmt
	args  []any
}

const batchRows = 32

func newBatch(tx *sql.Tx, head string, width int) (*batch, error) {
	b := &batch{tx: tx, head: head, width: width, args: make([]any, 0, width*batchRows)}
	var err error
	b.full, err = tx.PrepareContext(context.Background(), b.query(batchRows))
	return b, err
}

func (b *batch) query(rows int) string {
	row := "(" + strings.Repeat("?,", b.width-1) + "?)"
	return b.head + " VALUES " + strings.Repeat(row+",", rows-1) + row
}

func (b *batch) add(args ...any) error {
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

// flush inserts what is left.
func (b *batch) flush() error {
	if len(b.args) == 0 {
		return nil
	}
	_, err := b.tx.ExecContext(context.Background(), b.query(len(b.args)/b.width), b.args...)
	b.args = b.args[:0]
	return err
}

func (b *batch) close() error { return b.full.Close() }
