// Package table is the one model of a table: a list of columns, from which the
// terminal, CSV and JSON (all here), workbooks and the HTML page are written.
//
// Comments and names are anybody's text. Each medium makes them harmless at the
// one place where it is written: Screen, CSVWriter and JSONText here.
package table

import (
	"context"
	"fmt"
	"io"
	"iter"
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
