package outfile

import (
	"os"
	"path/filepath"
	"testing"
)

// TestScratchSweeps: what a killed run left is removed by the next, what another
// uses is not, nor what is somebody else's.
func TestScratchSweeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	used, release, err := Scratch(dir, ".work-")
	if err != nil {
		t.Fatal(err)
	}
	left, other := filepath.Join(dir, ".work-left"), filepath.Join(dir, ".works")
	for _, path := range []string{left, other} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{scratchLock, "rows"} {
			if err := os.WriteFile(filepath.Join(path, name), []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	mine, mineToo, err := Scratch(dir, ".work-")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{used: true, mine: true, other: true, left: false} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	if err := mineToo(); err != nil {
		t.Error(err)
	}
	if found, _ := os.ReadDir(dir); len(found) != 1 {
		t.Errorf("left: %v", found)
	}
}
