package store

import (
	"os"
	"path/filepath"
	"testing"
)

// TestDatabasesOnNetworkDisksAreRefused calls the disk that is here a network
// disk: by the number that the system gives for it, everything is refused there,
// journals too, so that two hosts cannot share one.
func TestDatabasesOnNetworkDisksAreRefused(t *testing.T) {
	dir := t.TempDir()
	var here uint32
	if name := fsOf(dir, func(magic uint32) string { here = magic; return networkFS(magic) }); name != "" || here == 0 {
		t.Skipf("temporary files lie on %s (%#x)", name, here)
	}
	asNFS := func(dir string) string {
		return fsOf(dir, func(magic uint32) string {
			if magic == here {
				magic = 0x6969
			}
			return networkFS(magic)
		})
	}
	for _, mode := range []Mode{ReadWrite, ReadOnly} {
		_, err := open(t.Context(), filepath.Join(dir, "x.db"), Options{Mode: mode, Now: clock}, tuning{schema: embedded(), unsafeFS: asNFS})
		wantReason(t, err, "bad_fs")
		_, err = OpenJournal(t.Context(), filepath.Join(dir, "j.db"), JournalOptions{Mode: mode, Now: journalClock, unsafeFS: asNFS})
		wantReason(t, err, "bad_fs")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.db"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("there is %v", left)
	}
	if unsafeFS(filepath.Join(dir, "missing")) != "" {
		t.Error("a folder that is not there is a network disk")
	}
	must(t, os.RemoveAll(dir))
}
