package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
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
	Now       func() time.Time // for the time of evaluations and the names of backups
}

// DB is an open database. Its methods may be called by several goroutines;
// those that write wait for each other.
type DB struct {
	sql  *sql.DB
	path string
	mode Mode
	now  func() time.Time
	pen  chan struct{} // held by whoever writes
}

// Open opens the database at path. ReadWrite creates it when it is missing and
// brings an older schema up to date, after a backup beside it. A file that is
// refused is left as it was.
func Open(ctx context.Context, path string, o Options) (*DB, error) {
	return open(ctx, path, o, tuning{schema: embedded()})
}

// tuning is what tests change.
type tuning struct {
	schema  schema
	pragmas []string
	timeout time.Duration // for locks; 0: 5 s

	unsafeFS func(dir string) string // nil: what the system says
}

const opOpen = "open database"

func open(ctx context.Context, path string, o Options, t tuning) (*DB, error) {
	if o.Now == nil || (o.Mode != ReadWrite && o.Mode != ReadOnly) {
		return nil, refusal(opOpen, path, "usage", "Give a mode and a clock.", errors.New("options are incomplete"))
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, failure(opOpen, path, err)
	}
	switchProcess()
	if err := admit(ctx, absolute, o, t); err != nil {
		return nil, failure(opOpen, path, err)
	}
	db, err := connect(ctx, absolute, o, t)
	if err != nil {
		return nil, failure(opOpen, path, explainReadOnly(absolute, err))
	}
	if err := db.settle(ctx, t.schema); err != nil {
		return nil, failure(opOpen, path, errors.Join(err, db.sql.Close()))
	}
	return db, nil
}

// switchProcess sets the two switches that the driver has per process. OFD
// locks survive that somebody in this process opens and closes the file, which
// drops POSIX locks; where the kernel has none, POSIX locks stay.
func switchProcess() {
	sqlite.StrictPragmas(true)
	_, _ = sqlite.OFDLocking(true)
}

// admit looks at the file before SQLite may touch it, and creates it if it is missing.
func admit(ctx context.Context, path string, o Options, t tuning) error {
	unsafe := t.unsafeFS
	if unsafe == nil {
		unsafe = unsafeFS
	}
	if name := unsafe(filepath.Dir(path)); name != "" {
		return refusal(opOpen, path, "bad_fs", "Put the database on a local disk.", fmt.Errorf("%s is no safe place for a database", name))
	}
	err := inspect(path, t.schema)
	if errors.Is(err, os.ErrNotExist) && o.Mode == ReadWrite && !o.MustExist {
		if err := create(ctx, path, t); err != nil {
			return err
		}
		err = inspect(path, t.schema)
	}
	if err == nil && o.Mode == ReadWrite {
		sweep(filepath.Dir(path))
		err = openForWriting(path) // SQLite would fall back to reading
	}
	return err
}

func connect(ctx context.Context, path string, o Options, t tuning) (*DB, error) {
	connector, err := newConnector(path, access(path, o.Mode), t)
	if err != nil {
		return nil, err
	}
	db := &DB{sql: sql.OpenDB(connector), path: path, mode: o.Mode, now: o.Now, pen: make(chan struct{}, 1)}
	db.sql.SetMaxIdleConns(4)
	if err := db.sql.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.sql.Close())
	}
	return db, nil
}

// settle brings the schema up to date, or refuses the database. It repeats the
// checks of inspect because what is true may still be in the write-ahead log.
func (db *DB) settle(ctx context.Context, s schema) error {
	version, err := db.identify(ctx, s.application)
	if err != nil {
		return err
	}
	if err := s.admits(db.path, version); err != nil || version == s.latest() {
		return err
	}
	if db.mode == ReadOnly {
		return refusal(opOpen, db.path, "older_schema", "Open it for writing once, for example with `patrol collect`, to bring it up to date.",
			fmt.Errorf("schema %d, want %d", version, s.latest()))
	}
	return db.upgrade(ctx, s, version)
}

func (db *DB) identify(ctx context.Context, application uint32) (version int, err error) {
	var id int64
	if err := db.sql.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return 0, err
	}
	if id != int64(application) {
		return 0, foreign(db.path)
	}
	err = db.sql.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return version, err
}

// Close closes the database. The last one to close it moves the write-ahead
// log into the database and removes it.
func (db *DB) Close() error {
	return failure("close database", db.path, db.sql.Close())
}

// explainReadOnly turns SQLite's bare "cannot open" into what is behind it: a
// directory in which -wal and -shm cannot be created.
func explainReadOnly(path string, err error) error {
	if explain(err).reason != "cannot_open" || writable(filepath.Dir(path)) {
		return err
	}
	return refusal(opOpen, path, unwritable.reason, unwritable.hint, err)
}

// writable reports whether files can be created in a directory.
func writable(dir string) bool {
	probe, err := os.CreateTemp(dir, ".patrol-*")
	if err != nil {
		return false
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name())) == nil
}
