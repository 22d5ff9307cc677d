package main

import (
	"context"
	"iter"
	"os"

	"patrol/engine"
	"patrol/engine/store"
)

// readNames takes in the key of --pseudonymise: whatever this run says, lists or
// writes goes through pseudonymised, or through Report.Pseudonymised.
func (a *app) readNames() error {
	if a.namesKey == "" {
		return nil
	}
	const hint = "Make a key once, and keep it secret: (umask 077; head -c 32 /dev/urandom > names.key)"
	key, err := os.ReadFile(a.namesKey)
	if err == nil {
		a.names, err = engine.NewPseudonyms(key)
	}
	if err != nil {
		return engine.UsageError("read key", a.namesKey, hint, err)
	}
	return nil
}

// learnNames takes in the names of people that the database holds by now.
func (a *app) learnNames(ctx context.Context, db *store.DB) error {
	if a.names == nil {
		return nil
	}
	people, err := db.People(ctx)
	a.learn(people...)
	return err
}

// learn takes in names that stand elsewhere than in the database.
func (a *app) learn(names ...string) {
	if a.names != nil {
		a.names.Learn(names...)
	}
}

// pseudonymised are rows as this run may show them.
func pseudonymised[T any](a *app, rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	if a.names == nil {
		return rows
	}
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			if !yield(engine.Pseudonymised(a.names, row), err) {
				return
			}
		}
	}
}
