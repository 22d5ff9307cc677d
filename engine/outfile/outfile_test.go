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

// TestCheckTellsWhatWriteWould: a place is refused before the work as it would
// be after it, with the same reason, and looking makes nothing.
func TestCheckTellsWhatWriteWould(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file, locked := filepath.Join(root, "file"), filepath.Join(root, "locked")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	before := names(t, root)
	checks := map[string]func(string) (ahead, later error){
		"file": func(path string) (error, error) { return Check(path), Write(path, say) },
		"dir":  func(path string) (error, error) { return CheckDir(path), MakeDir(path) },
	}
	for _, test := range []struct{ what, path, reason string }{
		{"file", "file/below", "output"}, {"file", "no/such", "not_found"}, {"file", "link", "special_file"}, {"file", "locked", "special_file"},
		{"dir", "file", "output"}, {"dir", "file/below/it", "output"},
		{"file", "locked/new", "readonly"}, {"dir", "locked/a/b", "readonly"},
	} {
		if test.reason == "readonly" && access(locked) == nil {
			continue // root, or a system that does not tell
		}
		ahead, later := checks[test.what](filepath.Join(root, test.path))
		for when, err := range map[string]error{"ahead": ahead, "later": later} {
			told, ok := engine.AsError(err)
			if !ok || told.Class != engine.ClassStorage || told.Reason != test.reason || told.Hint == "" || told.Target != filepath.Join(root, test.path) {
				t.Errorf("%s %s, %s: %v", test.what, test.path, when, err)
			}
		}
	}
	if after := names(t, root); len(after) != len(before) {
		t.Errorf("made %v", after)
	}
	for _, err := range []error{Check(file), Check(filepath.Join(root, "new")), CheckDir(root), CheckDir(filepath.Join(root, "a", "b"))} {
		if err != nil {
			t.Error(err)
		}
	}
	if after := names(t, root); len(after) != len(before) {
		t.Errorf("made %v", after)
	}
}

func names(t *testing.T, root string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		list = append(list, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
