package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestBackupRestores(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "patrol.db")
	db := mustOpen(t, path, readWrite)
	s := mustSave(t, db, capture("prod", "1", now, population(4, 2, ""), nil))
	reader := mustOpen(t, path, Options{Mode: ReadOnly, Now: clock})
	backup := filepath.Join(t.TempDir(), "copy.db")
	must(t, reader.Backup(t.Context(), backup))
	if err := db.Backup(t.Context(), backup); !errors.Is(err, os.ErrExist) {
		t.Errorf("a backup is overwritten: %v", err)
	}
	if _, err := reader.SQL.Exec("DELETE FROM snapshot"); err == nil {
		t.Error("a reader may write after a backup")
	}
	info, err := os.Stat(backup)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
	for _, mode := range []Mode{ReadOnly, ReadWrite} {
		restored := mustOpen(t, backup, Options{Mode: mode, Now: clock})
		must(t, errors.Join(restored.VerifySnapshot(t.Context(), s.ID), restored.VerifyChain(t.Context()), restored.Close()))
	}
}
