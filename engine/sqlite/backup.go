package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"patrol/engine/outfile"
)

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
	if err := giveNewName(file.Name(), path); err != nil {
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
