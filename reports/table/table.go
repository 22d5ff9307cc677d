// Package table is the one model of a table: a list of columns, from which the
// terminal, CSV and JSON (all here), workbooks and the HTML page are written.
//
// Comments and names are anybody's text. Each medium makes them harmless at the
// one place where it is written: Screen, CSVWriter and JSONText here.
package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Write writes rows in a format: table, csv or json.
func Write[T any](ctx context.Context, w io.Writer, format string, columns []Column[T], rows iter.Seq2[T, error], o Options) error {
	switch format {
	case "csv":
		return CSV(ctx, w, columns, first(rows, o.Limit))
	case "json":
		return JSON(ctx, w, columns, first(rows, o.Limit))
	case "table":
		return Terminal(ctx, w, columns, rows, o)
	}
	return fmt.Errorf("no format %q of a list", format)
}

// first leaves out what is beyond a limit (0: nothing), but reads on: the end of
// the rows says whether they were intact.
func first[T any](rows iter.Seq2[T, error], limit int) iter.Seq2[T, error] {
	if limit == 0 {
		return rows
	}
	return func(yield func(T, error) bool) {
		n := 0
		for row, err := range rows {
			if n++; (n <= limit || err != nil) && !yield(row, err) {
				return
			}
		}
	}
}

// Column is one column of a table, whatever medium the table ends up in.
type Column[T any] struct {
	Name  string  // snake_case: the header in CSV and the key in JSON
	Kind  Kind    // how a workbook shows it
	Width float64 // of the workbook's column, in characters
	Value func(T) any

	rank  int // how telling it is on a terminal: 1 most; 0 is not shown there
	least int // shorten it to so many characters on a narrow terminal; 0: never
	end   int // 1: the last one on a terminal
	text  func(T) string
}

// Plain, Wrapped, ID, Number and Date make a column of their kind.
func Plain[T any](name string, width float64, value func(T) any) Column[T] {
	return Column[T]{Name: name, Kind: KindPlain, Width: width, Value: value}
}

func Wrapped[T any](name string, width float64, value func(T) any) Column[T] {
	return Column[T]{Name: name, Kind: KindWrapped, Width: width, Value: value}
}

func ID[T any](name string, width float64, value func(T) any) Column[T] {
	return Column[T]{Name: name, Kind: KindID, Width: width, Value: value}
}

func Number[T any](name string, width float64, value func(T) any) Column[T] {
	return Column[T]{Name: name, Kind: KindNumber, Width: width, Value: value}
}

func Date[T any](name string, width float64, value func(T) any) Column[T] {
	return Column[T]{Name: name, Kind: KindDate, Width: width, Value: value}
}

// Rank shows the column on a terminal. Where the screen is too narrow, columns
// are shortened to least characters (0: never shortened), and then dropped, the
// one with the highest rank first.
func (c Column[T]) Rank(rank, least int) Column[T] {
	c.rank, c.least = rank, least
	return c
}

// AtEnd puts the column behind all others on a terminal.
func (c Column[T]) AtEnd() Column[T] {
	c.end = 1
	return c
}

// As has a text of its own on a terminal.
func (c Column[T]) As(text func(T) string) Column[T] {
	c.text = text
	return c
}

// The value of a column is a string (or another type that prints as foreign
// text), []string, int, int64, bool, nil where nothing applies (days to the end
// of an endless token), or one of these.
type (
	Unknown struct{} // applies, but could not be read
	Never   struct{} // an instant that does not come, or never came
	Instant int64    // ms since 1970
	Lines   []string // shown one below the other
)

// Kind is how a column looks in a workbook.
type Kind int

const (
	KindPlain Kind = iota
	KindWrapped
	KindID // text even when it is all digits
	KindNumber
	KindDate
	KindLeft // a number of the summary, whose values stand right beside their labels
)

// Heading is the header of a column for people.
func (c Column[T]) Heading() string { return Heading(c.Name) }

// Heading makes a name a header for people.
func Heading(name string) string {
	words := strings.ReplaceAll(name, "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// header is the header on a terminal: TOKEN for token_id, LAST USED for last_used_at.
func (c Column[T]) header() string {
	name := c.Name
	for _, ending := range []string{"_id", "_at"} {
		name = strings.TrimSuffix(name, ending)
	}
	return strings.ToUpper(strings.ReplaceAll(name, "_", " "))
}

// Text is how an instant looks where it is text.
func (t Instant) Text() string { return TimeText(time.UnixMilli(int64(t))) }

// TimeText shows milliseconds only where there are any.
func TimeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z07:00") }

// InstantOf is an instant as a value; nothing where it is not known.
func InstantOf(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return Instant(t.UnixMilli())
}

// Each calls do for every row until the rows, ctx or do fail.
func Each[T any](ctx context.Context, rows iter.Seq2[T, error], do func(T) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for row, err := range rows {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = do(row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Cursor reads rows one at a time, for whoever has to look at the next one before writing
// what is around it.
type Cursor[T any] struct {
	Row  T      // the next one, where there is one
	More bool   // whether there is
	Stop func() // ends the reading

	next func() (T, error, bool)
}

// Pull begins to read rows. Its caller calls Stop at the end.
func Pull[T any](ctx context.Context, rows iter.Seq2[T, error]) (*Cursor[T], error) {
	next, stop := iter.Pull2(rows)
	c := &Cursor[T]{Stop: stop, next: func() (T, error, bool) {
		row, err, more := next()
		return row, errors.Join(ctx.Err(), err), more
	}}
	return c, c.Next()
}

// Next goes on to the next row.
func (c *Cursor[T]) Next() (err error) {
	c.Row, err, c.More = c.next()
	return err
}

// Known makes a stream of rows that are in memory already.
func Known[T any](rows []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// Map is the values after do.
func Map[T, V any](values []T, do func(T) V) []V {
	mapped := make([]V, len(values))
	for i, value := range values {
		mapped[i] = do(value)
	}
	return mapped
}
