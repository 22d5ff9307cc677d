package table

import (
	"context"
	"iter"
	"slices"
)

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

// Known makes a stream of rows that are in memory already.
func Known[T any](rows []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row := range slices.Values(rows) {
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
