package enginetest_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patrol/engine/enginetest"

	"pgregory.net/rapid"
)

// TestCheckIsRepeatable: the same test draws the same, another draws others, and
// whoever explores draws anew.
func TestCheckIsRepeatable(t *testing.T) {
	if got := flag.Lookup("rapid.seed").Value.String(); got != "0" {
		t.Skip("-rapid.seed is given")
	}
	drawn := func(t *testing.T) (all []uint64) {
		t.Helper()
		enginetest.Check(t, func(rt *rapid.T) { all = append(all, rapid.Uint64().Draw(rt, "n")) })
		return all
	}
	t.Setenv("PATROLTEST_SEED", "")
	first := drawn(t)
	if len(first) < 10 || !slices.Equal(first, drawn(t)) {
		t.Errorf("drew other inputs the second time, or few: %d", len(first))
	}
	t.Run("another", func(t *testing.T) {
		if slices.Equal(first, drawn(t)) {
			t.Error("another test draws the same")
		}
	})
	t.Setenv("PATROLTEST_SEED", "random")
	if slices.Equal(first, drawn(t)) {
		t.Error("PATROLTEST_SEED=random draws the same")
	}
	if got := flag.Lookup("rapid.seed").Value.String(); got != "0" {
		t.Errorf("the flag is left at %s", got)
	}
}

// TestPropertiesStartFromASeed: no test draws from rapid's own.
func TestPropertiesStartFromASeed(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "run_test.go" {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("enginetest.Check(")) {
			found++
		}
		if bytes.Contains(text, []byte("rapid.Check(")) || bytes.Contains(text, []byte("rapid.MakeCheck(")) {
			t.Errorf("%s: use enginetest.Check, which one commit judges alike each time", path)
		}
		return err
	})
	if err != nil || found < 5 {
		t.Errorf("%d files have properties: %v", found, err)
	}
}
