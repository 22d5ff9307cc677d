package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"path"
)

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

// LoadSchema reads the steps in a directory of files.
func LoadSchema(files fs.FS, dir string, application uint32) (Schema, error) {
	names, err := fs.Glob(files, path.Join(dir, "*.sql")) // sorted
	if err != nil {
		return Schema{}, err
	}
	s := Schema{Application: application}
	for i, name := range names {
		var number int
		if _, err := fmt.Sscanf(path.Base(name), "%d_", &number); err != nil || number != i+1 {
			return Schema{}, fmt.Errorf("migration %s: want number %04d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return Schema{}, err
		}
		s.Steps = append(s.Steps, string(text))
	}
	return s, nil
}

// MustLoad is LoadSchema for files that are part of the program.
func MustLoad(files fs.FS, dir string, application uint32) Schema {
	s, err := LoadSchema(files, dir, application)
	if err != nil {
		panic(err)
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
