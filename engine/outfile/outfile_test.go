package outfile

import (
	"os"
	"path/filepath"
	"testing"

	"patrol/engine"
)

func TestMakeDir(t *testing.T) {
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
