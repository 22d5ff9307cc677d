package enginetest

import (
	"flag"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// Seed starts what a test draws at random, and is logged. Without PATROLTEST_SEED it
// is always the same for the same test, so that one commit is judged alike each
// time; PATROLTEST_SEED repeats a run, and "random" makes every run another.
func Seed(t testing.TB) uint64 {
	t.Helper()
	h := fnv.New64a()
	h.Write([]byte(t.Name()))
	seed := h.Sum64()
	switch text := os.Getenv("PATROLTEST_SEED"); text {
	case "":
	case "random":
		seed = rand.Uint64() //nolint:gosec // chance, not secrecy
	default:
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal("PATROLTEST_SEED: ", err)
		}
	}
	t.Logf("PATROLTEST_SEED=%d", seed)
	return seed
}

// Check is rapid.Check with inputs that start from Seed, unless -rapid.seed says
// otherwise: rapid itself draws others in each run, so that a commit that passed
// fails the next day. Tests that call it must not be parallel, for rapid takes
// its seed from a flag only.
func Check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	t.Setenv("PATROLTEST_PROPERTY", t.Name()) // panics in a parallel test
	const name = "rapid.seed"
	if before := flag.Lookup(name).Value.String(); before == "0" {
		if err := flag.Set(name, strconv.FormatUint(Seed(t), 10)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = flag.Set(name, before) }() // it was so before
	}
	rapid.Check(t, property)
}

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
