// Package pipeline is the way of the data as commands and tests share it:
// collect, evaluate, report, and what a plan is made from. It knows neither
// flags nor a terminal: options come as structs, and what people should hear
// goes to the Log of a run.
package pipeline

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"patrol/cmd/internal/config"
	"patrol/collectors"
	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/engine/store"
)

// Run is what all stages of one run share.
type Run struct {
	Config  *config.File
	DBPath  string
	Version string // of patrol, for headers and reports
	Now     func() time.Time
	Lookup  func(string) (string, bool) // environment variables
	Stdin   io.Reader                   // for Source.From "-"
	Names   *engine.Pseudonyms          // in place of the names of people; nil: names stay
	Log     Log
}

// Log takes what people should hear of a run while it goes on.
type Log struct {
	Say   func(format string, args ...any) // a line for all but --quiet
	Alert func(line string)                // a line for everybody
	// Collecting returns what takes the events of a collection, and what ends it.
	Collecting func(workspaces int) (tell func(collectors.Event), end func())
	// Stage returns what counts rows, and what ends the stage. Of a total of 0 the
	// rows are counted alone. step may be called by several goroutines.
	Stage func(what, rows string, total int) (step, end func())
}

// OpenStore opens the database, for writing (then a missing one is made) or reading.
func (r *Run) OpenStore(ctx context.Context, mode store.Mode) (*store.DB, error) {
	return store.Open(ctx, r.DBPath, store.Options{Mode: mode, Now: r.Now})
}

// CheckDatabase finds, before the network is asked, that a new database has no
// place to be made.
func (r *Run) CheckDatabase() error {
	if _, err := os.Stat(r.DBPath); !errors.Is(err, fs.ErrNotExist) {
		return nil // opening tells what is wrong with one that is there
	}
	return outfile.Check(r.DBPath)
}

// WithStore opens the database for the length of work and reports the error of
// closing it. Work that only reads sees the database as it was at one moment.
func (r *Run) WithStore(ctx context.Context, mode store.Mode, work func(*store.DB) error) error {
	return r.withStore(ctx, store.Options{Mode: mode, Now: r.Now}, work)
}

// WithExisting is WithStore for what writes into a database that was filled
// before: a misspelt path makes no empty one.
func (r *Run) WithExisting(ctx context.Context, work func(*store.DB) error) error {
	return r.withStore(ctx, store.Options{Mode: store.ReadWrite, MustExist: true, Now: r.Now}, work)
}

func (r *Run) withStore(ctx context.Context, o store.Options, work func(*store.DB) error) error {
	db, err := store.Open(ctx, r.DBPath, o)
	if err != nil {
		return err
	}
	if o.Mode == store.ReadWrite {
		r.WarnExposed(filepath.Dir(r.DBPath))
	}
	err = r.learnNames(ctx, db)
	switch {
	case err != nil:
	case o.Mode == store.ReadOnly:
		err = db.Read(ctx, work)
	default:
		err = work(db)
	}
	return errors.Join(err, db.Close())
}

// WarnExposed warns of a folder in which others could put something in place of
// what patrol writes. It is no refusal: containers mount such folders for one
// user alone.
func (r *Run) WarnExposed(dir string) {
	if outfile.Exposed(dir) {
		r.Log.Say("warning: anybody on this machine may replace files in %s: take the right to write there from others (chmod o-w)", dir)
	}
}

// learnNames takes in the names of people that the database holds by now.
func (r *Run) learnNames(ctx context.Context, db *store.DB) error {
	if r.Names == nil {
		return nil
	}
	people, err := db.People(ctx)
	r.Learn(people...)
	return err
}

// Learn takes in names that stand elsewhere than in the database.
func (r *Run) Learn(names ...string) {
	if r.Names != nil {
		r.Names.Learn(names...)
	}
}

// Pseudonymised are rows as this run may show them.
func Pseudonymised[T any](r *Run, rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	if r.Names == nil {
		return rows
	}
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			if !yield(engine.Pseudonymised(r.Names, row), err) {
				return
			}
		}
	}
}

// counted are rows, each of which is a step.
func counted[T any](rows iter.Seq2[T, error], step func()) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			step()
			if !yield(row, err) {
				return
			}
		}
	}
}

// Go lets the heap grow to twice of what lives in it, which is little except
// with very many tokens or principals. These bounds, in bytes, make it collect
// sooner there. They are soft: what lives is never refused.
const (
	collectBound        = 256 << 20
	judgeBound          = 40 << 20
	judgeBoundEach      = 64        // more for each token
	judgeBoundWorkspace = 128 << 10 // and for each workspace, whose documents are held
	planBound           = 64 << 20
	planBoundEach       = 4       // more for each byte of the plan's file: about what it takes in memory
	planBoundStep       = 5 << 10 // or, while it is made, for each finding that may become a step
)

// boundMemory sets a bound until the function that it returns is called. A bound
// of the user's own, GOMEMLIMIT, stands.
func (r *Run) boundMemory(bytes int64) (restore func()) {
	if _, set := r.Lookup("GOMEMLIMIT"); set {
		return func() {}
	}
	before := debug.SetMemoryLimit(bytes)
	return func() { debug.SetMemoryLimit(before) }
}

// BoundPlanning bounds memory while a plan is made of so many failed findings.
func (r *Run) BoundPlanning(failed int) (restore func()) {
	return r.boundMemory(planBound + planBoundStep*int64(failed))
}

// BoundForPlan bounds memory for who reads a plan, until restore is called.
func (r *Run) BoundForPlan(path string) (restore func()) {
	file, err := os.Stat(path)
	if err != nil {
		return func() {} // reading it tells
	}
	return r.boundMemory(planBound + planBoundEach*file.Size())
}
