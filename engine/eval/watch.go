package eval

import (
	"context"
	"sync/atomic"
	"time"
)

// watch is the deadline of one worker's evaluations, as OPA's topdown.Cancel.
// A timer per evaluation would cost more than most evaluations do; a guard
// looks at all workers now and then instead.
type watch struct {
	current atomic.Uint64 // number of the evaluation under way
	since   atomic.Int64  // when it began, ns on the guard's clock; 0 between evaluations
	stopped atomic.Uint64 // number of the last evaluation that was stopped
	all     atomic.Bool   // the whole job was cancelled
}

func (w *watch) begin(now int64) {
	w.since.Store(now)
	w.current.Add(1)
}

func (w *watch) end() { w.since.Store(0) }

// Cancel stops the evaluation under way.
func (w *watch) Cancel() { w.stopped.Store(w.current.Load()) }

// Cancelled reports whether the evaluation under way is to stop.
func (w *watch) Cancelled() bool {
	return w.stopped.Load() == w.current.Load() || w.all.Load()
}

// overdue stops an evaluation that began before limit. The number is read
// first: if the worker goes on to another meanwhile, the stop hits nothing.
func (w *watch) overdue(limit int64) {
	number, since := w.current.Load(), w.since.Load()
	if since != 0 && since < limit && w.current.Load() == number {
		w.stopped.Store(number)
	}
}

// clock counts ns from the start of a job. It bounds how long things take and
// never reaches a policy.
type clock struct{ start time.Time }

func (c clock) now() int64 { return int64(time.Since(c.start)) + 1 }

// guard stops overdue evaluations until ctx ends, and then whatever runs.
func guard(ctx context.Context, c clock, deadline time.Duration, judges []*judge) {
	ticker := time.NewTicker(max(time.Millisecond, min(deadline/4, 100*time.Millisecond)))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, j := range judges {
				j.watch.all.Store(true)
			}
			return
		case <-ticker.C:
			for _, j := range judges {
				j.watch.overdue(c.now() - int64(deadline))
			}
		}
	}
}
