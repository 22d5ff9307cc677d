package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"patrol/engine/outfile"
)

// The parts of a SQLite header that say whose file it is.
const (
	headerMagic   = "SQLite format 3\x00"
	headerSize    = 100
	atUserVersion = 60
	atApplication = 68
)

// inspect refuses a file that is not ours, by its header alone: SQLite would
// adopt an empty file, and might write to a foreign one.
func inspect(path string, s Schema) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Refusal(opOpen, path, missingFile.reason, missingFile.hint, err)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return Refusal(opOpen, path, "special_file", "Name a regular file.", fmt.Errorf("is not a regular file (%s)", info.Mode().Type()))
	case info.Size() == 0:
		return Refusal(opOpen, path, "empty_file", "Remove the file, or name another: patrol adopts no empty file.", errors.New("is empty"))
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	header, err := io.ReadAll(io.LimitReader(f, headerSize))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if len(header) < headerSize || string(header[:len(headerMagic)]) != headerMagic {
		return Refusal(opOpen, path, "not_a_database", "Name a patrol database, or a new file.", errors.New("is not a SQLite database"))
	}
	if binary.BigEndian.Uint32(header[atApplication:]) != s.Application {
		return foreign(path)
	}
	return s.admits(path, int(int32(binary.BigEndian.Uint32(header[atUserVersion:])))) //nolint:gosec // SQLite's own type
}

func foreign(path string) error {
	return Refusal(opOpen, path, "foreign", "Name a patrol database, or a new file.", errors.New("belongs to another application"))
}

// create makes a database that appears under its name whole: built beside it
// and then linked, so that neither a crash nor a second process can be met
// half-way. A database that appeared in the meantime is kept.
func create(ctx context.Context, path string, o Options) error {
	file, err := os.CreateTemp(filepath.Dir(path), newFiles) // 0600 from birth
	if errors.Is(err, os.ErrNotExist) {
		return Refusal("create database", path, missingFile.reason, "Create the directory first, or name another.", err)
	}
	if err != nil {
		return err
	}
	defer discard(file.Name())
	if err := errors.Join(file.Close(), build(ctx, file.Name(), o)); err != nil {
		return err
	}
	if err := giveName(file.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return outfile.SyncDir(filepath.Dir(path))
}

// giveName gives a file a name that nothing has. Where the file system knows
// no hard links it is renamed, and the check can be outrun.
func giveName(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, os.ErrExist) {
		return err
	}
	if _, missing := os.Lstat(to); !errors.Is(missing, os.ErrNotExist) {
		return errors.Join(os.ErrExist, missing)
	}
	return os.Rename(from, to)
}

func build(ctx context.Context, path string, o Options) error {
	connector, err := newConnector(path, access{mode: "rw"}, o.Tuning)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	_, err = db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", o.Schema.Application))
	if err == nil {
		err = o.Schema.apply(ctx, db)
	}
	if err == nil {
		err = emptyLog(ctx, db)
	}
	return errors.Join(err, db.Close())
}

// emptyLog moves the write-ahead log into the file, which is then whole without
// it. Closing does so as well, but says nothing where the disk was too full.
func emptyLog(ctx context.Context, db *sql.DB) error {
	var busy, pages, moved int
	err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved)
	if err == nil && (busy != 0 || pages != moved) {
		return fmt.Errorf("move write-ahead log into database: %d of %d pages", moved, pages)
	}
	return err
}

// discard removes a file that got no name, and what SQLite keeps beside it.
func discard(path string) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		_ = os.Remove(path + suffix)
	}
}

// Schema is the numbered steps that lead from an empty database to today's
// tables: step n is the n-th file by name and leaves user_version n.
type Schema struct {
	Application uint32 // what marks the file as ours
	Steps       []string
	// After does what SQL cannot, in the transaction of a step; by number.
	After map[int]func(context.Context, *sql.Tx) error
	// Sound is asked after an upgrade whether the database still holds what it
	// held; nil: there is nothing to ask.
	Sound func(context.Context, *DB) error
}

// MustLoad reads the steps in a directory of files, which are part of the program.
func MustLoad(files fs.FS, dir string, application uint32) Schema {
	names, err := fs.Glob(files, path.Join(dir, "*.sql")) // sorted
	if err != nil {
		panic(err)
	}
	s := Schema{Application: application}
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil || !strings.HasPrefix(path.Base(name), fmt.Sprintf("%04d_", i+1)) {
			panic(fmt.Sprintf("migration %s: want number %04d (%v)", name, i+1, err))
		}
		s.Steps = append(s.Steps, string(text))
	}
	return s
}

func (s Schema) latest() int { return len(s.Steps) }

// admits refuses what this program cannot read.
func (s Schema) admits(path string, version int) error {
	switch {
	case version > s.latest():
		return Refusal(opOpen, path, "newer_schema", "Use the version of patrol that wrote it, or a newer one; nothing was changed.",
			fmt.Errorf("schema %d is newer than %d", version, s.latest()))
	case version < 1:
		return foreign(path)
	}
	return nil
}

// apply runs the missing steps in one transaction: whatever ends this
// process, the file has the old schema or the new one.
func (s Schema) apply(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil { // another process may have been faster
		return err
	}
	for number := version + 1; number <= s.latest(); number++ {
		if _, err := tx.ExecContext(ctx, s.Steps[number-1]); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", number, err)
		}
		if after := s.After[number]; after != nil {
			if err := after(ctx, tx); err != nil {
				return fmt.Errorf("migrate to schema %d: %w", number, err)
			}
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", max(version, s.latest()))); err != nil {
		return err
	}
	return tx.Commit()
}

// upgrade backs the database up, migrates it and asks whether it is sound.
func (db *DB) upgrade(ctx context.Context, s Schema, version int) error {
	backup := fmt.Sprintf("%s.schema-%d-%s.backup", db.Path, version, db.now().UTC().Format("20060102T150405.000Z"))
	if err := db.copyInto(ctx, backup); err != nil {
		return fmt.Errorf("back up schema %d: %w", version, err)
	}
	err := s.apply(ctx, db.SQL)
	if err == nil && s.Sound != nil {
		err = s.Sound(ctx, db)
	}
	if err == nil {
		return nil
	}
	why := explain(err)
	return Refusal("upgrade database", db.Path, why.reason, "The database before the upgrade is kept in "+backup+".", err)
}

// The names of files on their way to another name.
const (
	newFiles  = ".patrol-new-*.db"
	copyFiles = ".patrol-copy-*.db"
)

// leftoverAge is for how long nobody must have written to a file without a name
// before it counts as left by a process that was killed: none works on one for a
// day.
const leftoverAge = 24 * time.Hour

// sweep removes what killed processes left beside a database. What cannot be
// removed stays: it is in nobody's way.
func sweep(dir string) {
	for _, pattern := range []string{newFiles, copyFiles} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			continue // the directory's name is no pattern
		}
		for _, path := range found {
			if leftover(path) {
				discard(path)
			}
		}
	}
}

// leftover goes by the machine's clock, as the file system does.
func leftover(path string) bool {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		info, err := os.Lstat(path + suffix)
		switch {
		case err != nil && suffix != "":
			continue
		case err != nil || !info.Mode().IsRegular() || !ours(info) || time.Since(info.ModTime()) < leftoverAge:
			return false
		}
	}
	return true
}

// Backup copies the database as it is at one moment into a new file, mode 0600,
// while others may go on writing. The copy holds no free space.
func (db *DB) Backup(ctx context.Context, path string) error {
	return Failure("back up database into", path, db.copyInto(ctx, path))
}

// copyInto makes the copy beside path and then gives it its name, which nothing
// may have: a copy that a crash left half-made is not taken for one.
func (db *DB) copyInto(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return &os.PathError{Op: "open", Path: path, Err: os.ErrExist}
	}
	file, err := os.CreateTemp(filepath.Dir(path), copyFiles) // 0600 from birth
	if err != nil {
		return err
	}
	defer discard(file.Name())
	err = db.vacuumInto(ctx, file.Name())
	if err == nil {
		err = db.logged(ctx, file.Name())
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := giveName(file.Name(), path); err != nil {
		return err
	}
	return outfile.SyncDir(filepath.Dir(path))
}

// vacuumInto lifts query_only for this one statement, which SQLite takes for a
// change of the database that it copies.
func (db *DB) vacuumInto(ctx context.Context, path string) (err error) {
	conn, err := db.SQL.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if db.Mode != ReadOnly {
		_, err = conn.ExecContext(ctx, "VACUUM INTO ?", path)
		return err
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA query_only = OFF"); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "VACUUM INTO ?", path)
	_, restored := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA query_only = ON")
	return errors.Join(err, restored)
}

// logged gives a copy the write-ahead log that VACUUM INTO does not take over,
// without which readers would refuse it.
func (db *DB) logged(ctx context.Context, path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	copied, err := connect(ctx, absolute, Options{Mode: ReadWrite, Now: db.now})
	if err != nil {
		return err
	}
	return errors.Join(emptyLog(ctx, copied.SQL), copied.SQL.Close())
}
