// Package sqlite opens database files and is the only package that knows
// SQLite: how a file is opened, created whole, upgraded and copied, which
// settings each connection must have, what an error means, and how rows are
// read and written. Snapshots and evaluations (engine/store) and the journal of
// apply (engine/journal) build on it.
//
// Everything is created with mode 0600: a database appears whole under its
// name, and SQLite gives -wal and -shm the mode of the database. Sorting that
// does not fit into the page cache spills into files that SQLite creates with
// mode 0600 in the directory for temporary files and unlinks at once; memory
// stays constant, which is why temp_store is left at FILE.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Mode says what a database is opened for.
type Mode int

// The modes.
const (
	ReadWrite Mode = iota + 1
	ReadOnly
)

// Options of Open.
type Options struct {
	Mode      Mode
	MustExist bool             // ReadWrite: do not create a missing database
	Now       func() time.Time // for the names of backups
	Schema    Schema
	Tuning
}

// Tuning is what tests change.
type Tuning struct {
	Pragmas  []string
	Timeout  time.Duration           // for locks; 0: 5 s
	UnsafeFS func(dir string) string // nil: what the system says
}

// DB is an open database. Its methods may be called by several goroutines;
// those that write wait for each other.
type DB struct {
	SQL  *sql.DB
	Path string
	Mode Mode
	now  func() time.Time
	pen  chan struct{} // held by whoever writes
}

const opOpen = "open database"

// Open opens the database at path. ReadWrite creates it when it is missing and
// brings an older schema up to date, after a backup beside it. A file that is
// refused is left as it was.
func Open(ctx context.Context, path string, o Options) (*DB, error) {
	if o.Now == nil || (o.Mode != ReadWrite && o.Mode != ReadOnly) {
		return nil, Refusal(opOpen, path, "usage", "Give a mode and a clock.", errors.New("options are incomplete"))
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, Failure(opOpen, path, err)
	}
	// Two switches that the driver has per process. OFD locks survive that
	// somebody in this process opens and closes the file, which drops POSIX
	// locks; where the kernel has none, POSIX locks stay.
	driver.StrictPragmas(true)
	_, _ = driver.OFDLocking(true)
	if err := admit(ctx, absolute, o); err != nil {
		return nil, Failure(opOpen, path, err)
	}
	db, err := connect(ctx, absolute, o)
	if err != nil {
		if explain(err).reason == "cannot_open" && !writable(filepath.Dir(absolute)) { // -wal and -shm cannot be created
			err = Refusal(opOpen, absolute, unwritable.reason, unwritable.hint, err)
		}
		return nil, Failure(opOpen, path, err)
	}
	if err := db.settle(ctx, o.Schema); err != nil {
		return nil, Failure(opOpen, path, errors.Join(err, db.SQL.Close()))
	}
	return db, nil
}

// admit looks at the file before SQLite may touch it, and creates it if it is missing.
func admit(ctx context.Context, path string, o Options) error {
	unsafe := o.UnsafeFS
	if unsafe == nil {
		unsafe = unsafeFS
	}
	if name := unsafe(filepath.Dir(path)); name != "" {
		return Refusal(opOpen, path, "bad_fs", "Put the database on a local disk.", fmt.Errorf("%s is no safe place for a database", name))
	}
	err := inspect(path, o.Schema)
	if errors.Is(err, os.ErrNotExist) && o.Mode == ReadWrite && !o.MustExist {
		if err := create(ctx, path, o); err != nil {
			return err
		}
		err = inspect(path, o.Schema)
	}
	if err == nil && o.Mode == ReadWrite {
		sweep(filepath.Dir(path))
		err = openForWriting(path) // SQLite would fall back to reading
	}
	return err
}

func connect(ctx context.Context, path string, o Options) (*DB, error) {
	connector, err := newConnector(path, accessFor(path, o.Mode), o.Tuning)
	if err != nil {
		return nil, err
	}
	db := &DB{SQL: sql.OpenDB(connector), Path: path, Mode: o.Mode, now: o.Now, pen: make(chan struct{}, 1)}
	db.SQL.SetMaxIdleConns(4)
	if err := db.SQL.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.SQL.Close())
	}
	return db, nil
}

// settle brings the schema up to date, or refuses the database. It repeats the
// checks of inspect because what is true may still be in the write-ahead log.
func (db *DB) settle(ctx context.Context, s Schema) error {
	var application int64
	var version int
	if err := db.SQL.QueryRowContext(ctx, "PRAGMA application_id").Scan(&application); err != nil {
		return err
	}
	if application != int64(s.Application) {
		return foreign(db.Path)
	}
	if err := db.SQL.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if err := s.admits(db.Path, version); err != nil || version == s.latest() {
		return err
	}
	if db.Mode == ReadOnly {
		return Refusal(opOpen, db.Path, "older_schema", "Open it for writing once, for example with `patrol collect`, to bring it up to date.",
			fmt.Errorf("schema %d, want %d", version, s.latest()))
	}
	return db.upgrade(ctx, s, version)
}

// QuickCheck has SQLite look for damage in every page of the file.
func (db *DB) QuickCheck(ctx context.Context) error {
	const op = "check database"
	var found string
	if err := db.SQL.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return Failure(op, db.Path, err)
	}
	if found != "ok" {
		why := explainCode(lib.SQLITE_CORRUPT)
		return Refusal(op, db.Path, why.reason, why.hint, errors.New(found))
	}
	return nil
}

// Close closes the database. The last one to close it moves the write-ahead
// log into the database and removes it.
func (db *DB) Close() error {
	return Failure("close database", db.Path, db.SQL.Close())
}

// Now is the time of the clock that the database was opened with.
func (db *DB) Now() time.Time { return db.now() }

// Begin starts a writing transaction. Writers of one process wait for each
// other here, however long that takes; those of other processes wait for the
// lock as long as the busy timeout says. Statements that run once per row run
// without the context, which would cost a goroutine each: who writes asks the
// context itself.
func (db *DB) Begin(ctx context.Context) (*Tx, error) {
	if db.Mode != ReadWrite {
		return nil, Refusal("write to database", db.Path, "readonly", "Open it for writing.", errors.New("is opened read-only"))
	}
	select {
	case db.pen <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	tx, err := db.SQL.BeginTx(ctx, nil)
	if err != nil {
		<-db.pen
		return nil, err
	}
	return &Tx{Tx: tx, pen: db.pen}, nil
}

// Write runs work in one writing transaction: on any error nothing of it is stored.
func (db *DB) Write(ctx context.Context, op string, work func(*Tx) error) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return Failure(op, db.Path, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing is left of it once it is committed
	if err = work(tx); err == nil {
		err = tx.Commit()
	}
	return Failure(op, db.Path, Cause(ctx, err))
}

// Tx is a writing transaction. It is for one goroutine, and its end, which lets
// the next writer in, must come: Rollback after Commit does nothing.
type Tx struct {
	*sql.Tx
	pen   chan struct{}
	ended bool
}

// Commit ends the transaction and keeps what it wrote.
func (tx *Tx) Commit() error { return tx.end(tx.Tx.Commit) }

// Rollback ends the transaction and drops what it wrote.
func (tx *Tx) Rollback() error { return tx.end(tx.Tx.Rollback) }

func (tx *Tx) end(how func() error) error {
	if tx.ended {
		return sql.ErrTxDone
	}
	tx.ended = true
	defer func() { <-tx.pen }()
	return how()
}

// writable reports whether files can be created in a directory.
func writable(dir string) bool {
	probe, err := os.CreateTemp(dir, ".patrol-*")
	if err != nil {
		return false
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name())) == nil
}
