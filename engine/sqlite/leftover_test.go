package sqlite

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLeftoversAreSwept: what a kill left behind goes with the next run that
// writes, once it is a day old; what somebody may be at work on stays.
func TestLeftoversAreSwept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name string, age time.Duration) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("x"), 0o600))
		then := time.Now().Add(-age)
		must(t, os.Chtimes(path, then, then))
		return path
	}
	gone := []string{put(".patrol-new-1.db", 25*time.Hour), put(".patrol-copy-2.db", 48*time.Hour), put(".patrol-copy-2.db-wal", 25*time.Hour)}
	kept := []string{put(".patrol-new-3.db", time.Hour), put(".patrol-copy-4.db", 48*time.Hour), put(".patrol-copy-4.db-wal", time.Minute),
		put("patrol-new-5.db", 48*time.Hour), put("other.db", 48*time.Hour)}
	must(t, os.Symlink(kept[4], filepath.Join(dir, ".patrol-new-6.db")))
	path := filepath.Join(dir, "x.db")
	openAndClose(t, path, ReadWrite)
	for _, name := range gone {
		if _, err := os.Lstat(name); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", filepath.Base(name), err)
		}
	}
	for _, name := range append(kept, filepath.Join(dir, ".patrol-new-6.db")) {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
	old := put(".patrol-new-7.db", 48*time.Hour)
	openAndClose(t, path, ReadOnly)
	if _, err := os.Lstat(old); err != nil {
		t.Error("reading removed something")
	}
}
