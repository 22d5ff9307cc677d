package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Querier is what a query needs: the pool, or a transaction.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Execer changes rows.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Scan streams the rows of a query. The row is reused from step to step; the
// values in it are not. Breaking off closes the query.
func Scan(ctx context.Context, q Querier, query string, args ...any) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		rows, err := q.QueryContext(ctx, query, args...)
		if err != nil {
			yield(nil, err)
			return
		}
		defer rows.Close()
		names, err := rows.Columns()
		if err != nil {
			yield(nil, err)
			return
		}
		row := &Row{values: make([]any, len(names))}
		targets := make([]any, len(names))
		for i := range targets {
			targets[i] = &row.values[i]
		}
		for rows.Next() {
			if err := rows.Scan(targets...); err != nil {
				yield(nil, err)
				return
			}
			row.at = 0
			if !yield(row, nil) {
				return
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			yield(nil, err)
		}
	}
}

// Row reads the columns of a row from left to right, as the types that STRICT
// tables guarantee; a column of another type is an error that sticks.
type Row struct {
	Err    error
	values []any
	at     int
}

// Value reads a column as it is.
func (r *Row) Value() any {
	v := r.values[r.at]
	r.at++
	return v
}

// Skip passes over columns.
func (r *Row) Skip(columns int) { r.at += columns }

// Values are all columns, those that were read included.
func (r *Row) Values() []any { return r.values }

// Rest copies the columns that were not read yet.
func (r *Row) Rest(into []any) { copy(into, r.values[r.at:]) }

// Text reads a text.
func (r *Row) Text() string {
	v := r.Value()
	s, ok := v.(string)
	if !ok {
		r.damaged(v, "text")
	}
	return s
}

// TextOr returns usual for NULL.
func (r *Row) TextOr(usual string) string {
	if r.values[r.at] == nil {
		r.at++
		return usual
	}
	return r.Text()
}

// TextOrNull returns "" for NULL, in columns where nothing is always NULL.
func (r *Row) TextOrNull() string {
	v := r.values[r.at]
	if v == "" {
		r.damaged(v, "text that is not empty")
	}
	return r.TextOr("")
}

// Bool reads 0 or 1.
func (r *Row) Bool() bool {
	n := r.Int()
	if n != 0 && n != 1 {
		r.damaged(n, "0 or 1")
	}
	return n == 1
}

// BoolOrNull returns nil for NULL.
func (r *Row) BoolOrNull() *bool {
	if r.values[r.at] == nil {
		r.at++
		return nil
	}
	b := r.Bool()
	return &b
}

// Int reads an integer.
func (r *Row) Int() int64 {
	v := r.Value()
	n, ok := v.(int64)
	if !ok {
		r.damaged(v, "an integer")
	}
	return n
}

// IntOrNull returns nil for NULL.
func (r *Row) IntOrNull() *int64 {
	if r.values[r.at] == nil {
		r.at++
		return nil
	}
	n := r.Int()
	return &n
}

func (r *Row) damaged(v any, want string) {
	if r.Err == nil {
		r.Err = fmt.Errorf("stored row is damaged: column %d is %#v, want %s", r.at, v, want)
	}
}

// OrNull makes a nil pointer NULL.
func OrNull[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// TextOrNil makes an empty text NULL.
func TextOrNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

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
