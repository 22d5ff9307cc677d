package enginetest

import (
	"flag"
	"runtime"
	"strconv"
	"testing"
)

// NotInRace skips a test under `make race` (go test -race -short): nothing in it
// is concurrent, and the race detector makes it ten times as slow.
func NotInRace(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("nothing here is concurrent: make race leaves it out")
	}
}

// SideBySide lets more parallel tests run at once than there are processors. It is
// for TestMain of packages whose tests mostly wait: for other processes, for the
// disk, for a workspace that is asked again. The flag -parallel outranks it.
func SideBySide() {
	if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))); err != nil {
		panic(err) // a flag of package testing
	}
}
