package reports

import (
	"context"
	"errors"
	"iter"

	"patrol/engine"
	"patrol/engine/outfile"
)

// writeTogether writes several formats side by side from one reading of the
// findings and one of the tokens: reading a report costs about as much as writing
// it in a plain format. A format that fails stops the others. It returns the paths
// written, in the order of the formats.
//
// A reading begins when each format waits for one or has ended, so that all who want the
// same rows get the same reading. A format may ask for findings and then tokens, or the
// other way round, but not for tokens while it reads findings.
func writeTogether(ctx context.Context, dir string, formats []Format, r engine.Report, files outfile.Files) ([]string, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	paths, errs := make([][]string, len(formats)), make([]error, len(formats))
	wantFindings, wantTokens := make(chan *listener[engine.Finding]), make(chan *listener[engine.TokenRow])
	ended := make(chan struct{})
	for i, format := range formats {
		go func() {
			r, reading := r, false
			r.Findings, r.Tokens = listen(&reading, wantFindings), listen(&reading, wantTokens)
			if paths[i], errs[i] = writeFiles(ctx, dir, format, r, files); errs[i] != nil {
				stop()
			}
			ended <- struct{}{}
		}()
	}
	var forFindings []*listener[engine.Finding]
	var forTokens []*listener[engine.TokenRow]
	for left := len(formats); left > 0; {
		select {
		case l := <-wantFindings:
			forFindings = append(forFindings, l)
		case l := <-wantTokens:
			forTokens = append(forTokens, l)
		case <-ended:
			left--
		}
		switch {
		case len(forFindings)+len(forTokens) < left:
		case len(forFindings) > 0:
			pass(r.Findings, forFindings)
			forFindings = nil
		case len(forTokens) > 0:
			pass(r.Tokens, forTokens)
			forTokens = nil
		}
	}
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

// listener is a format that reads rows.
type listener[T any] struct {
	batches chan []read[T]
	gone    chan struct{} // closed when it wants no more
}

type read[T any] struct {
	row T
	err error
}

var errWithin = errors.New("the format reads rows while it reads others: it has to end one reading before it begins the next")

// listen is what a format ranges over. A reading within another of the same format is an
// error: the two would wait for each other.
func listen[T any](reading *bool, wanted chan<- *listener[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if *reading {
			var none T
			yield(none, errWithin)
			return
		}
		*reading = true
		defer func() { *reading = false }()
		l := &listener[T]{make(chan []read[T], 4), make(chan struct{})}
		defer close(l.gone)
		wanted <- l
		for batch := range l.batches {
			for _, next := range batch {
				if !yield(next.row, next.err) {
					return
				}
			}
		}
	}
}

// pass reads once, until the rows end or nobody listens any more. A batch is
// shared: nobody changes what is in it.
func pass[T any](rows iter.Seq2[T, error], listeners []*listener[T]) {
	const batchRows = 256
	defer func() {
		for _, l := range listeners {
			close(l.batches)
		}
	}()
	listening := len(listeners)
	gone := make([]bool, len(listeners))
	var batch []read[T]
	send := func() {
		for i, l := range listeners {
			if gone[i] {
				continue
			}
			select {
			case l.batches <- batch:
			case <-l.gone:
				gone[i] = true
				listening--
			}
		}
		batch = make([]read[T], 0, batchRows)
	}
	for row, err := range rows {
		batch = append(batch, read[T]{row, err})
		if len(batch) == batchRows {
			send()
		}
		if listening == 0 {
			return
		}
	}
	send()
}
