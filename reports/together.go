package reports

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"

	"patrol/engine"
	"patrol/engine/outfile"
)

// writeTogether writes several formats side by side from one reading of the
// findings and one of the tokens: reading a report costs about as much as writing
// it in a plain format. A format that fails stops the others. It returns the paths
// written, in the order of the formats.
func writeTogether(ctx context.Context, dir string, formats []Format, r engine.Report, files outfile.Files) ([]string, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		all      sync.WaitGroup
		shared   = &readers{left: len(formats)}
		findings = &reading[engine.Finding]{readers: shared, rows: r.Findings}
		tokens   = &reading[engine.TokenRow]{readers: shared, rows: r.Tokens}
		paths    = make([][]string, len(formats))
		errs     = make([]error, len(formats))
	)
	shared.kinds = []waited{findings, tokens}
	for i, format := range formats {
		all.Go(func() {
			r, within := r, new(atomic.Bool)
			r.Findings, r.Tokens = oneAtATime(within, findings.listen), oneAtATime(within, tokens.listen)
			defer shared.leave()
			if paths[i], errs[i] = writeFiles(ctx, dir, format, r, files); errs[i] != nil {
				stop()
			}
		})
	}
	all.Wait()
	shared.passes.Wait()
	var written []string
	var failure error
	for i, err := range errs {
		written = append(written, paths[i]...)
		if failure == nil || errors.Is(failure, context.Canceled) && err != nil { // what failed, and not what was stopped for it
			failure = err
		}
	}
	return written, failure
}

var errWithin = errors.New("the format reads rows while it reads others: it has to end one reading before it begins the next")

// oneAtATime reads rows, and yields an error where a reading of the same format is
// under way: the two would wait for each other.
func oneAtATime[T any](within *atomic.Bool, rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if !within.CompareAndSwap(false, true) {
			var none T
			yield(none, errWithin)
			return
		}
		defer within.Store(false)
		rows(yield)
	}
}

// readers are formats that are being written. A reading begins when each of them
// waits for one or has left, so that all who want the same rows get the same
// reading. A format may ask for findings and then tokens, or the other way round,
// but not for tokens while it reads findings; see oneAtATime.
type readers struct {
	lock    sync.Mutex
	left    int // formats that have not left
	waiting int // those of them that wait for a reading
	kinds   []waited

	passes  sync.WaitGroup
	reading sync.Mutex // held by the pass that reads: one may still end when the next begins
}

// waited is a reading that formats may wait for.
type waited interface {
	start() (listeners int) // none: nobody waits
}

// leave says that a format reads no more.
func (r *readers) leave() {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.left--
	r.next()
}

// next starts a reading where everybody waits. The caller has the lock.
func (r *readers) next() {
	for _, kind := range r.kinds {
		if r.waiting == 0 || r.waiting < r.left {
			return
		}
		r.waiting -= kind.start()
	}
}

// reading is one pass over rows for all who listen.
type reading[T any] struct {
	readers *readers
	rows    iter.Seq2[T, error]
	waiting []*listener[T]
}

type listener[T any] struct {
	batches chan []read[T]
	gone    chan struct{} // closed when it wants no more
}

type read[T any] struct {
	row T
	err error
}

// listen is what a format ranges over.
func (r *reading[T]) listen(yield func(T, error) bool) {
	l := &listener[T]{make(chan []read[T], 4), make(chan struct{})}
	defer close(l.gone)
	r.readers.lock.Lock()
	r.waiting = append(r.waiting, l)
	r.readers.waiting++
	r.readers.next()
	r.readers.lock.Unlock()
	for batch := range l.batches {
		for _, next := range batch {
			if !yield(next.row, next.err) {
				return
			}
		}
	}
}

func (r *reading[T]) start() int {
	listeners := r.waiting
	r.waiting = nil
	if len(listeners) > 0 {
		r.readers.passes.Go(func() { r.pass(listeners) })
	}
	return len(listeners)
}

// pass reads once, until the rows end or nobody listens any more. A batch is
// shared: nobody changes what is in it.
func (r *reading[T]) pass(listeners []*listener[T]) {
	r.readers.reading.Lock()
	defer r.readers.reading.Unlock()
	const batchRows = 256
	all := listeners
	defer func() {
		for _, l := range all {
			close(l.batches)
		}
	}()
	batch := make([]read[T], 0, batchRows)
	send := func() bool {
		var staying []*listener[T]
		for _, l := range listeners {
			select {
			case l.batches <- batch:
				staying = append(staying, l)
			case <-l.gone:
			}
		}
		listeners, batch = staying, make([]read[T], 0, batchRows)
		return len(listeners) > 0
	}
	for row, err := range r.rows {
		if batch = append(batch, read[T]{row, err}); len(batch) == batchRows && !send() {
			return
		}
	}
	send()
}
