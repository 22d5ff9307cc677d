package outfile

import (
	"os"
	"path/filepath"
	"testing"

	"patrol/engine"
)

func TestMakeDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 { // one that is there is left as it is
		if err := MakeDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("%v %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if told, ok := engine.AsError(MakeDir(path)); !ok || told.Class != engine.ClassStorage || told.Reason != "output" || told.Target != path {
			t.Errorf("%s: %v", path, told)
		}
	}
}

// TestFilesAreForTheirOwner: also where others could read what was there before.
func TestFilesAreForTheirOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fresh, open := filepath.Join(dir, "fresh"), filepath.Join(dir, "open")
	if err := os.WriteFile(open, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o666); err != nil { //nolint:gosec // that is what must not last
		t.Fatal(err)
	}
	for _, path := range []string{fresh, open} {
		if err := Write(path, say); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(path), info.Mode())
		}
	}
}
