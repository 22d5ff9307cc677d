package store

import (
	"errors"
	"slices"
	"testing"
)

func TestAheadKeepsOrderAndErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, n := range []int{0, 1, aheadRows - 1, aheadRows, 5*aheadRows + 1} {
		var got []int
		faults := 0
		for i, err := range ahead(func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
			yield(-1, broken)
		}) {
			if err != nil {
				faults++
				continue
			}
			got = append(got, i)
		}
		if len(got) != n || !slices.IsSorted(got) || faults != 1 {
			t.Errorf("%d rows: got %d, %d errors", n, len(got), faults)
		}
	}
}

// TestAheadEndsWithTheLoop has each loop leave early; the sequence must have
// been let go of by then, however far it was pulled.
func TestAheadEndsWithTheLoop(t *testing.T) {
	t.Parallel()
	for _, want := range []int{1, aheadRows, 3*aheadRows + 7} {
		ended, n := false, 0
		for range ahead(func(yield func(int, error) bool) {
			defer func() { ended = true }()
			for i := 0; yield(i, nil); i++ {
			}
		}) {
			if n++; n == want {
				break
			}
		}
		if !ended || n != want {
			t.Errorf("left after %d rows of %d: ended %t", n, want, ended)
		}
	}
}
