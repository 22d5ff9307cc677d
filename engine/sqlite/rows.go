package sqlite

import (
	"cmp"
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

// Scan streams the rows of a query. The row is reused from step to step; the
// values in it are not. A column that is not of the type that it was read as is an
// error after the row. Breaking off closes the query.
func Scan(ctx context.Context, q Querier, query string, args ...any) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		rows, err := q.QueryContext(ctx, query, args...)
		if err != nil {
			yield(nil, err)
			return
		}
		defer rows.Close()
		names, err := rows.Columns()
		row := &Row{values: make([]any, len(names))}
		targets := make([]any, len(names))
		for i := range targets {
			targets[i] = &row.values[i]
		}
		for err == nil && rows.Next() {
			row.at = 0
			if err = rows.Scan(targets...); err != nil {
				break
			}
			if !yield(row, nil) {
				return
			}
			err = row.Err
		}
		if err = cmp.Or(err, rows.Err(), rows.Close()); err != nil {
			yield(nil, err)
		}
	}
}

// Rows streams what read makes of the rows of a query.
func Rows[T any](ctx context.Context, q Querier, read func(*Row) T, query string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for c, err := range Scan(ctx, q, query, args...) {
			var row T
			if err == nil {
				row, err = read(c), c.Err
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// List is all that Rows streams.
func List[T any](ctx context.Context, q Querier, read func(*Row) T, query string, args ...any) (list []T, err error) {
	for row, err := range Rows(ctx, q, read, query, args...) {
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, nil
}

// First reads the first row of a query; there is false where it has none.
func First(ctx context.Context, q Querier, query string, args []any, into ...any) (there bool, err error) {
	err = q.QueryRowContext(ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Row reads the columns of a row from left to right, as the types that STRICT
// tables guarantee; a column of another type is an error that sticks.
type Row struct {
	Err    error // the first
	values []any
	at     int
}

// Fail notes what is wrong with a row, if anything is.
func (r *Row) Fail(err error) { r.Err = cmp.Or(r.Err, err) }

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

// Bytes reads a BLOB.
func (r *Row) Bytes() []byte {
	v := r.Value()
	b, ok := v.([]byte)
	if !ok {
		r.damaged(v, "bytes")
	}
	return b
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
	r.Fail(fmt.Errorf("stored row is damaged: column %d is %#v, want %s", r.at, v, want))
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
