package rigs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"patrol/engine/enginetest"
)

// The exit codes, as docs/exit-codes.md promises them.
const (
	exitOK         = 0
	exitViolations = 1
	exitPanic      = 2 // of the runtime
	exitIncomplete = 4
	exitRefused    = 5
	exitPartial    = 6
	exitStorage    = 7
	exitInterrupt  = 130
)

// built is where the binaries are: patrol, and one that panics in a goroutine of
// its own at any moment. Both are the test binary of cmd/patrol under the names by
// which it knows what it is to be. A run of mutants says by PATROLTEST_OVERLAY
// which guards are taken away in it.
var (
	built string
	build = sync.OnceValue(func() error {
		patrol := filepath.Join(built, "patrol")
		//nolint:gosec,noctx // arguments of our own; it ends with the test
		out, err := exec.Command("go", "test", "-c", "-ldflags=-w", "-overlay="+os.Getenv("PATROLTEST_OVERLAY"), "-o", patrol, "patrol/cmd/patrol").CombinedOutput()
		if err != nil {
			return fmt.Errorf("build patrol: %w\n%s", err, out)
		}
		return os.Symlink(patrol, patrol+panicking)
	})
)

const (
	panicking = "-panicking"
	panicText = "torture: a fault of our own"
)

func TestMain(m *testing.M) {
	enginetest.SideBySide()
	var err error
	if built, err = os.MkdirTemp("", "patrol-rigs"); err == nil {
		err = os.Setenv("GOGC", "800") // short runs have no need to collect
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(built) // what is left is in the folder for that
	os.Exit(code)
}

// patrolBinary is the path of the real binary.
func patrolBinary(t *testing.T) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(built, "patrol")
}

// read is a file from the top of the module.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}
