package reports

import (
	"context"
	"iter"
	"slices"
)

// each calls do for every row until the rows, ctx or do fail.
func each[T any](ctx context.Context, rows iter.Seq2[T, error], do func(T) error) error {
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

// known makes a stream of rows that are in memory already.
func known[T any](rows []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row := range slices.Values(rows) {
			if !yield(row, nil) {
				return
			}
		}
	}
}
