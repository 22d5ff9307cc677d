package outfile

import (
	"os"
	"path/filepath"
	"testing"

	"patrol/engine"
)

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
