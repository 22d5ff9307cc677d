package sqlite

import (
	"context"
	"errors"
	"strings"
)

// Batch inserts rows in groups: a statement per group costs far less than one
// per row.
type Batch struct {
	tx    *Tx
	head  string
	full  string
	width int
	args  []any
}

const batchRows = 32

// NewBatch inserts rows of so many columns; head is all of the statement before VALUES.
func NewBatch(tx *Tx, head string, width int) *Batch {
	b := &Batch{tx: tx, head: head, width: width, args: make([]any, 0, width*batchRows)}
	b.full = b.query(batchRows)
	return b
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
	return b.insert(b.full)
}

// Flush inserts what is left.
func (b *Batch) Flush() error {
	if len(b.args) == 0 {
		return nil
	}
	return b.insert(b.query(len(b.args) / b.width))
}

func (b *Batch) insert(query string) error {
	_, err := b.tx.ExecContext(context.Background(), query, b.args...)
	b.args = b.args[:0]
	return err
}
