package store

import (
	"iter"
	"sync"
)

// aheadRows is how many rows pass from one goroutine to the other at once.
const aheadRows = 64

// pulled is one step of a sequence.
type pulled[T any] struct {
	row T
	err error
}

// ahead has a second goroutine pull from a sequence, some rows before they are
// asked for, so that making rows and storing them overlap. That goroutine has
// ended when a loop over the result ends, however it ends.
func ahead[T any](rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		chunks, stop := make(chan []pulled[T], 2), make(chan struct{})
		var puller sync.WaitGroup
		defer puller.Wait()
		defer close(stop)
		puller.Go(func() {
			defer close(chunks)
			pull(rows, chunks, stop)
		})
		for chunk := range chunks {
			for _, p := range chunk {
				if !yield(p.row, p.err) {
					return
				}
			}
		}
	}
}

// pull sends what a sequence yields, until it ends or stop is closed.
func pull[T any](rows iter.Seq2[T, error], chunks chan<- []pulled[T], stop <-chan struct{}) {
	chunk := make([]pulled[T], 0, aheadRows)
	send := func() bool {
		select {
		case chunks <- chunk:
			chunk = make([]pulled[T], 0, aheadRows)
			return true
		case <-stop:
			return false
		}
	}
	for row, err := range rows {
		if chunk = append(chunk, pulled[T]{row, err}); len(chunk) == aheadRows && !send() {
			return
		}
	}
	send()
}
