package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schema is the numbered steps that lead from an empty database to today's
// tables: step n is the n-th file by name and leaves user_version n.
type schema struct {
	application uint32 // what marks the file as ours
	steps       []string
}

func embedded() schema { return mustLoad(migrations, "migrations", applicationID) }

func mustLoad(files fs.FS, dir string, application uint32) schema {
	s, err := loadSchema(files, dir, application)
	if err != nil {
		panic(err) // the files are part of the program
	}
	return s
}

func loadSchema(files fs.FS, dir string, application uint32) (schema, error) {
	names, err := fs.Glob(files, dir+"/*.sql") // sorted
	if err != nil {
		return schema{}, err
	}
	s := schema{application: application}
	for i, name := range names {
		var number int
		if _, err := fmt.Sscanf(path.Base(name), "%d_", &number); err != nil || number != i+1 {
			return schema{}, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return schema{}, err
		}
		s.steps = append(s.steps, string(text))
	}
	return s, nil
}

func (s schema) latest() int { return len(s.steps) }

// admits refuses what this program cannot read.
func (s schema) admits(path string, version int) error {
	switch {
	case version > s.latest():
		return refusal(opOpen, path, "newer_schema", "Use the version of patrol that wrote it, or a newer one; nothing was changed.",
			fmt.Errorf("schema %d is newer than %d", version, s.latest()))
	case version < 1:
		return foreign(path)
	}
	return nil
}

// apply runs the missing steps in one transaction: whatever ends this
// process, the file has the old schema or the new one.
func (s schema) apply(ctx context.Context, db *sql.DB) error {
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
		if _, err := tx.ExecContext(ctx, s.steps[number-1]); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", number, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", max(version, s.latest()))); err != nil {
		return err
	}
	return tx.Commit()
}

// upgrade backs the database up, migrates it and checks that the latest
// snapshots are still what they were.
func (db *DB) upgrade(ctx context.Context, s schema, version int) error {
	backup, err := db.backup(ctx, version)
	if err != nil {
		return fmt.Errorf("back up schema %d: %w", version, err)
	}
	err = s.apply(ctx, db.sql)
	if err == nil && s.application == applicationID {
		err = db.verifyLatest(ctx)
	}
	if err == nil {
		return nil
	}
	why := explain(err)
	return refusal("upgrade database", db.path, why.reason, "The database before the upgrade is kept in "+backup+".", err)
}

// backup copies the database into a new file beside it, mode 0600.
func (db *DB) backup(ctx context.Context, version int) (path string, err error) {
	path = fmt.Sprintf("%s.schema-%d-%s.backup", db.path, version, db.now().UTC().Format("20060102T150405.000Z"))
	return path, db.copyInto(ctx, path)
}

func (db *DB) verifyLatest(ctx context.Context) error {
	latest, err := db.Latest(ctx)
	for _, snapshot := range latest {
		err = errors.Join(err, db.VerifySnapshot(ctx, snapshot.ID))
	}
	return err
}
