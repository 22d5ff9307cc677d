package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
)

// querier is what a query needs: the pool, or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// scan streams the rows of a query. The cells are reused from row to row; the
// values in them are not. Breaking off closes the query.
func scan(ctx context.Context, q querier, query string, args ...any) iter.Seq2[*cells, error] {
	return func(yield func(*cells, error) bool) {
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
		row := newCells(len(names))
		for rows.Next() {
			if err := rows.Scan(row.targets...); err != nil {
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

// cells reads the columns of a row from left to right, as the types that STRICT
// tables guarantee; a column of another type is an error that sticks.
type cells struct {
	values  []any
	targets []any
	at      int
	err     error
}

func newCells(n int) *cells {
	row := &cells{values: make([]any, n), targets: make([]any, n)}
	for i := range row.values {
		row.targets[i] = &row.values[i]
	}
	return row
}

func (c *cells) next() any {
	v := c.values[c.at]
	c.at++
	return v
}

func (c *cells) text() string {
	v := c.next()
	s, ok := v.(string)
	if !ok {
		c.damaged(v, "text")
	}
	return s
}

// textOr returns usual for NULL.
func (c *cells) textOr(usual string) string {
	if c.values[c.at] == nil {
		c.at++
		return usual
	}
	return c.text()
}

// textOrNull returns "" for NULL, in columns where nothing is always NULL.
func (c *cells) textOrNull() string {
	v := c.values[c.at]
	if v == "" {
		c.damaged(v, "text that is not empty")
	}
	return c.textOr("")
}

// boolean reads 0 or 1.
func (c *cells) boolean() bool {
	n := c.integer()
	if n != 0 && n != 1 {
		c.damaged(n, "0 or 1")
	}
	return n == 1
}

func (c *cells) booleanOrNull() *bool {
	if c.values[c.at] == nil {
		c.at++
		return nil
	}
	b := c.boolean()
	return &b
}

func (c *cells) integer() int64 {
	v := c.next()
	n, ok := v.(int64)
	if !ok {
		c.damaged(v, "an integer")
	}
	return n
}

func (c *cells) integerOrNull() *int64 {
	if c.values[c.at] == nil {
		c.at++
		return nil
	}
	n := c.integer()
	return &n
}

func (c *cells) damaged(v any, want string) {
	if c.err == nil {
		c.err = fmt.Errorf("stored row is damaged: column %d is %#v, want %s", c.at, v, want)
	}
}

// orNull makes a nil pointer NULL.
func orNull[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// textOrNil makes an empty text NULL.
func textOrNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
