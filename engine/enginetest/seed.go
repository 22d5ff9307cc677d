package enginetest

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seed starts what a test draws at random, and is logged. Without PATROLTEST_SEED it
// is always the same for the same test, so that one commit is judged alike each
// time; PATROLTEST_SEED repeats a run, and "random" makes every run another.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := fixed(t.Name())
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

func fixed(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}
