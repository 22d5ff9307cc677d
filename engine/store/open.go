package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"sync"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// Mode says what a database is opened for.
type Mode = sqlite.Mode

// The modes.
const (
	ReadWrite = sqlite.ReadWrite
	ReadOnly  = sqlite.ReadOnly
)

// Options of Open.
type Options struct {
	Mode      Mode
	MustExist bool             // ReadWrite: do not create a missing database
	Now       func() time.Time // for the time of evaluations and the names of backups
}

// DB is an open database; see [sqlite.DB]. Where it is a view (see Read), all
// that it reads is of one moment.
type DB struct {
	*sqlite.DB
	q    sqlite.Querier // what reads: the pool, or the transaction of a view
	view *view          // nil: none
}

// view is what readings of one moment of the database found.
type view struct {
	lock   sync.Mutex
	intact map[any]bool // by intactSnapshot or intactEvaluation: what is as it was sealed
	shapes *shapes      // nil: not read yet
}

type (
	intactSnapshot   int64
	intactEvaluation int64
)

func (v *view) isIntact(what any) bool {
	if v == nil {
		return false
	}
	v.lock.Lock()
	defer v.lock.Unlock()
	return v.intact[what]
}

func (v *view) addIntact(what any) {
	if v != nil {
		v.lock.Lock()
		v.intact[what] = true
		v.lock.Unlock()
	}
}

//go:embed migrations/*.sql
var migrations embed.FS

const application = 0x5054524c // "PTRL"

// schema is today's, which an upgraded database must reach with its latest
// snapshots intact.
func schema() sqlite.Schema {
	s := sqlite.MustLoad(migrations, "migrations", application)
	s.After = map[int]func(context.Context, *sql.Tx) error{7: sealOld}
	s.Sound = func(ctx context.Context, db *sqlite.DB) error { return wrap(db).verifyLatest(ctx) }
	return s
}

// Open opens the database at path; see [sqlite.Open].
func Open(ctx context.Context, path string, o Options) (*DB, error) {
	return open(ctx, path, o, schema(), sqlite.Tuning{})
}

func open(ctx context.Context, path string, o Options, s sqlite.Schema, t sqlite.Tuning) (*DB, error) {
	db, err := sqlite.Open(ctx, path, sqlite.Options{Mode: o.Mode, MustExist: o.MustExist, Now: o.Now, Schema: s, Tuning: t})
	if err != nil {
		return nil, err
	}
	return wrap(db), nil
}

// explain says at the end of a function what failed in it.
func (db *DB) explain(op string, err *error) { *err = sqlite.Failure(op, db.Path, *err) }

func wrap(db *sqlite.DB) *DB { return &DB{DB: db, q: db.SQL} }

// Read runs work on a view of the database as it is now, whatever is written
// meanwhile: what was found intact in a view stays what it was.
func (db *DB) Read(ctx context.Context, work func(view *DB) error) error {
	if db.view != nil {
		return work(db)
	}
	tx, err := db.SQL.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return sqlite.Failure("read database", db.Path, err)
	}
	defer func() { _ = tx.Rollback() }() // it wrote nothing
	return work(viewOf(db, tx))
}

func viewOf(db *DB, tx sqlite.Querier) *DB {
	return &DB{DB: db.DB, q: tx, view: &view{intact: map[any]bool{}}}
}

func (db *DB) verifyLatest(ctx context.Context) error {
	latest, err := db.Latest(ctx)
	return errors.Join(append(db.VerifySnapshots(ctx, latest...), err)...)
}

// badCapture is for a capture that breaks the contract of SaveSnapshot.
func badCapture(target string, err error) error {
	return &engine.Error{
		Class: engine.ClassIncomplete, Reason: "bad_capture", Op: "save snapshot", Target: target,
		Hint: "Nothing was stored; collect again, and report it if it happens again.", Err: err,
	}
}
