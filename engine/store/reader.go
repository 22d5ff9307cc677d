package store

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// verified is what complete readings of a view found to be what was sealed.
type verified struct {
	lock        sync.Mutex
	snapshots   map[int64]bool
	evaluations map[int64]bool
}

func (v *verified) has(list func(*verified) map[int64]bool, id int64) bool {
	if v == nil {
		return false
	}
	v.lock.Lock()
	defer v.lock.Unlock()
	return list(v)[id]
}

func (v *verified) add(list func(*verified) map[int64]bool, id int64) {
	if v != nil {
		v.lock.Lock()
		list(v)[id] = true
		v.lock.Unlock()
	}
}

func snapshotsIn(v *verified) map[int64]bool   { return v.snapshots }
func evaluationsIn(v *verified) map[int64]bool { return v.evaluations }

// reader hands out the rows of one snapshot in the order of its digest:
// principals, tokens, audit log. At the end, err says whether they are what was
// sealed.
type reader struct {
	db        *DB
	snapshot  engine.Snapshot // as stored
	workspace int64
	digest    *digester // nil: this view was found intact before
}

func (db *DB) reader(ctx context.Context, id int64) (*reader, error) {
	s, err := db.Snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &reader{db: db, snapshot: s}
	if r.workspace, err = db.workspaceKey(ctx, id); err != nil {
		return nil, err
	}
	if !db.verified.has(snapshotsIn, id) {
		r.digest = newDigester(s.DigestVersion)
		r.digest.header(s)
	}
	return r, nil
}

// principals streams the principals, ascending by id; nothing where they were not read.
func (r *reader) principals(ctx context.Context, known *lists) iter.Seq2[engine.Principal, error] {
	return func(yield func(engine.Principal, error) bool) {
		for p, err := range r.db.principals(ctx, r.snapshot, known) {
			if err == nil && r.digest != nil {
				r.digest.principal(p)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// storedToken is a token with the number of its row.
type storedToken struct {
	engine.Token
	row int64
}

var tokensQuery = `SELECT v.version, ` + tokenColumns + `, ` + useColumn + ` FROM token_version v WHERE ` + holds + ` ORDER BY v.token_id`

// tokens streams the tokens, ascending by id; nothing where they were not read.
// Their raw rows are handed out where they are asked for.
func (r *reader) tokens(ctx context.Context, raw bool) iter.Seq2[storedToken, error] {
	return func(yield func(storedToken, error) bool) {
		if !usable(r.snapshot, engine.SectionTokens) {
			return
		}
		known, err := r.db.readShapes(ctx)
		if err != nil {
			yield(storedToken{}, err)
			return
		}
		columns := tokenReader{shapes: known}
		var filled []byte
		for c, err := range sqlite.Scan(ctx, r.db.q, tokensQuery, r.snapshot.ID, r.workspace) {
			var t storedToken
			var shape string
			if err == nil {
				t.row = c.Int()
				t.Token, shape, err = columns.read(c)
			}
			if err == nil && shape != "" && (raw || r.digest != nil) {
				if filled, err = appendFilled(filled[:0], shape, &t.Token); err != nil {
					err = fmt.Errorf("token %s: %w", t.ID, err)
				}
				t.Raw = filled
			}
			if err == nil && r.digest != nil {
				r.digest.token(&t.Token)
			}
			t.Raw = nil
			if raw && shape != "" {
				t.Raw = append(t.Raw, filled...)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// activity streams what an imported audit log tells, ascending by token.
func (r *reader) activity(ctx context.Context) iter.Seq2[engine.Activity, error] {
	return func(yield func(engine.Activity, error) bool) {
		if !usable(r.snapshot, engine.SectionAuditLog) {
			return
		}
		for a, err := range activities(ctx, r.db.q, r.snapshot.ID) {
			if err == nil && r.digest != nil {
				r.digest.activity(a)
			}
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// err says, once all rows were handed out, whether they are what was sealed; the
// reason of the error is digest_mismatch if not.
func (r *reader) err() error {
	if err := r.difference(); err != nil {
		return mismatch(r.snapshot.ID, err)
	}
	return nil
}

func (r *reader) difference() error {
	if r.digest == nil {
		return nil
	}
	digest, tokens := r.digest.hex(), r.digest.tokens
	r.digest = nil
	if s := r.snapshot; digest != s.Digest || tokens != s.Tokens {
		return fmt.Errorf("digest of the stored rows is %s (%d tokens), sealed was %s (%d)", digest, tokens, s.Digest, s.Tokens)
	}
	r.db.verified.add(snapshotsIn, r.snapshot.ID)
	return nil
}

// drain reads rows that nobody wants but the digest.
func drain[T any](rows iter.Seq2[T, error]) error {
	for _, err := range rows {
		if err != nil {
			return err
		}
	}
	return nil
}

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
