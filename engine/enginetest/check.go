package enginetest

import (
	"flag"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

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
