package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"patrol/engine"
	"patrol/engine/sqlite"

	"golang.org/x/sync/errgroup"
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

const opVerify = "verify snapshot"

// VerifySnapshot computes the digest of a snapshot from the stored rows. The
// reason of the error is digest_mismatch when it is not the digest that the
// snapshot was sealed with: something changed it since.
func (db *DB) VerifySnapshot(ctx context.Context, id int64) error {
	s, err := db.Snapshot(ctx, id)
	if err != nil {
		return damagedRow(id, err)
	}
	err = db.verify(ctx, s)
	if e, ok := engine.AsError(err); ok && e.Reason == "digest_mismatch" {
		if _, err := db.Snapshot(ctx, id); err != nil {
			return damagedRow(id, err) // pruned meanwhile
		}
	}
	return err
}

// Intact says whether snapshots are what was sealed. Those that a complete
// reading of this view found intact are not read again. Whoever publishes what
// it read, a file or a verdict, asks this first. The error is that of the first.
func (db *DB) Intact(ctx context.Context, snapshots ...engine.Snapshot) error {
	var left []engine.Snapshot
	for _, s := range snapshots {
		known := db.verified.has(snapshotsIn, s.ID) || slices.ContainsFunc(left, func(o engine.Snapshot) bool { return o.ID == s.ID })
		if !known {
			left = append(left, s)
		}
	}
	slices.SortFunc(left, func(a, b engine.Snapshot) int { return cmp.Compare(a.ID, b.ID) })
	for i, err := range db.VerifySnapshots(ctx, left...) {
		if err != nil {
			return err
		}
		db.verified.add(snapshotsIn, left[i].ID)
	}
	return ctx.Err()
}

// mostTogether is how many snapshots are verified in one pass at most.
const mostTogether = 8

// VerifySnapshots is VerifySnapshot for some snapshots, in their order. Rows that
// those of one workspace share are read once; workspaces are verified side by side.
func (db *DB) VerifySnapshots(ctx context.Context, snapshots ...engine.Snapshot) []error {
	if db.shapes == nil { // snapshots that are there have their shapes
		sharing := *db
		sharing.shapes = &viewShapes{}
		db = &sharing
	}
	groups := map[string][]int{}
	errs := make([]error, len(snapshots))
	var verifying errgroup.Group
	verifying.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for i, s := range snapshots {
		groups[s.Workspace.ID] = append(groups[s.Workspace.ID], i)
	}
	for _, workspace := range engine.SortedKeys(groups) {
		for places := range slices.Chunk(groups[workspace], mostTogether) {
			verifying.Go(func() error {
				db.verifyTogether(ctx, snapshots, places, errs)
				return nil
			})
		}
	}
	_ = verifying.Wait()
	return errs
}

// verifyTogether verifies snapshots of one workspace, at some places of a list.
func (db *DB) verifyTogether(ctx context.Context, all []engine.Snapshot, places []int, errs []error) {
	list := make([]engine.Snapshot, len(places))
	for i, place := range places {
		var err error
		if list[i], err = db.Snapshot(ctx, all[place].ID); err != nil {
			list = nil // each by itself tells which
			break
		}
	}
	if list != nil && db.verify(ctx, list...) == nil {
		return
	}
	for _, place := range places {
		errs[place] = db.VerifySnapshot(ctx, all[place].ID)
	}
}

// verify holds snapshots of one workspace against their digests. The error
// names the first, whatever was found.
func (db *DB) verify(ctx context.Context, list ...engine.Snapshot) error {
	sums, err := db.digests(ctx, list)
	if err != nil {
		return damagedRow(list[0].ID, sqlite.Failure(opVerify, db.Path, err))
	}
	for i, s := range list {
		if err := (&reader{db: db, snapshot: s, digest: sums[i]}).err(); err != nil {
			return err
		}
	}
	return nil
}

func mismatch(id int64, err error) error {
	return sqlite.Refusal(opVerify, strconv.FormatInt(id, 10), "digest_mismatch",
		"Something other than patrol changed the database: restore it from a copy, or collect again into a new one.", err)
}

// damagedRow turns a row that cannot be decoded into what it means here.
func damagedRow(id int64, err error) error {
	if e, ok := engine.AsError(err); ok && e.Reason == sqlite.Unexplained {
		return mismatch(id, e.Err)
	}
	return err
}

// VerifyChain checks that each snapshot of each workspace names the digest of
// the one before, those that were pruned included: none is missing, none was
// slipped in. The reason of the error is chain_broken. Whether the newest ones
// were removed no database can tell of itself: keep the newest digest elsewhere.
func (db *DB) VerifyChain(ctx context.Context) error {
	var workspace int64
	last := ""
	query := `SELECT workspace_key, id, previous, digest FROM snapshot
		UNION ALL SELECT workspace_key, id, previous, digest FROM pruned_snapshot ORDER BY 1, 2`
	for c, err := range sqlite.Scan(ctx, db.q, query) {
		if err != nil {
			return sqlite.Failure(opVerify, db.Path, err)
		}
		key, id, previous, digest := c.Int(), c.Int(), c.Text(), c.Text()
		if c.Err != nil {
			return damagedRow(id, sqlite.Failure(opVerify, db.Path, c.Err))
		}
		if key != workspace {
			workspace, last = key, ""
		}
		if previous != last {
			return sqlite.Refusal(opVerify, strconv.FormatInt(id, 10), "chain_broken",
				"Something other than patrol removed or added a snapshot of that workspace: restore the database from a copy.",
				fmt.Errorf("names %.12s as the digest before, which is %.12s", orNone(previous), orNone(last)))
		}
		last = digest
	}
	return nil
}

func orNone(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest
}

// digests computes the digests of snapshots of one workspace, each as if it were
// the only one, in one pass over the rows of their tokens.
func (db *DB) digests(ctx context.Context, list []engine.Snapshot) ([]*digester, error) {
	sums := make([]*digester, len(list))
	for i, s := range list {
		sums[i] = newDigester(s.DigestVersion)
		sums[i].header(s)
		for p, err := range db.principals(ctx, s, &lists{}) {
			if err != nil {
				return nil, err
			}
			sums[i].principal(p)
		}
	}
	if err := db.digestTokens(ctx, list, sums); err != nil {
		return nil, err
	}
	for i, s := range list {
		if usable(s, engine.SectionAuditLog) {
			if err := digestActivity(sums[i], activities(ctx, db.q, s.ID)); err != nil {
				return nil, err
			}
		}
	}
	return sums, nil
}

// digestTokens reads rows in one goroutine and digests them in another.
func (db *DB) digestTokens(ctx context.Context, list []engine.Snapshot, sums []*digester) error {
	var raw []byte
	for row, err := range ahead(db.tokensIn(ctx, list)) {
		if err := errors.Join(ctx.Err(), err); err != nil {
			return err
		}
		for i, use := range row.uses {
			if !use.holds {
				continue
			}
			t := &row.token
			t.LastUsed, t.Raw = use.last, nil
			if row.shape != "" {
				if raw, err = appendFilled(raw[:0], row.shape, t); err != nil {
					return fmt.Errorf("token %s: %w", t.ID, err)
				}
				t.Raw = raw
			}
			sums[i].token(t)
		}
	}
	return nil
}

// sharedToken is a version of a token that holds in some of several snapshots.
type sharedToken struct {
	token engine.Token // without last use and raw row
	shape string       // of the raw row
	uses  []tokenUse   // by snapshot
}

// tokenUse is what a snapshot has of a version for itself.
type tokenUse struct {
	holds bool
	last  *int64
}

// tokensIn streams the versions that hold in any of the snapshots, ascending by id.
func (db *DB) tokensIn(ctx context.Context, list []engine.Snapshot) iter.Seq2[sharedToken, error] {
	return func(yield func(sharedToken, error) bool) {
		workspace, err := db.workspaceOf(ctx, list)
		if err != nil {
			yield(sharedToken{}, err)
			return
		}
		known, err := db.readShapes(ctx)
		if err != nil {
			yield(sharedToken{}, err)
			return
		}
		reader := tokenReader{shapes: known}
		query, args := tokensInQuery(list, workspace)
		if query == "" {
			return
		}
		for c, err := range sqlite.Scan(ctx, db.q, query, args...) {
			var t sharedToken
			if err == nil {
				t, err = reader.shared(c, list)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// tokensInQuery reads tokenColumns, since, until, and the last use in each of the
// snapshots that read their tokens. It is empty when none did.
func tokensInQuery(list []engine.Snapshot, workspace int64) (query string, args []any) {
	var uses, held []string
	args = []any{workspace}
	for _, s := range list {
		if !usable(s, engine.SectionTokens) {
			continue
		}
		args = append(args, s.ID)
		n := len(args)
		uses = append(uses, fmt.Sprintf(`(SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
	WHERE u.token_key = v.token_key AND u.since <= ?%d ORDER BY u.since DESC LIMIT 1)`, n))
		held = append(held, fmt.Sprintf(`v.since <= ?%d AND (v.until IS NULL OR v.until > ?%d)`, n, n))
	}
	if uses == nil {
		return "", nil
	}
	return `SELECT ` + tokenColumns + `, v.since, v.until, ` + strings.Join(uses, ", ") + ` FROM token_version v
	WHERE v.workspace_key = ?1 AND (` + strings.Join(held, " OR ") + `) ORDER BY v.token_id`, args
}

// shared reads a row of tokensInQuery.
func (r *tokenReader) shared(c *sqlite.Row, list []engine.Snapshot) (t sharedToken, err error) {
	if t.token, t.shape, err = r.columns(c); err != nil {
		return t, err
	}
	since, until := c.Int(), c.IntOrNull()
	t.uses = make([]tokenUse, len(list))
	for i, s := range list {
		if usable(s, engine.SectionTokens) {
			t.uses[i] = tokenUse{holds: since <= s.ID && (until == nil || *until > s.ID), last: c.IntOrNull()}
		}
	}
	return t, c.Err
}

// workspaceOf is the key of the workspace that snapshots have in common.
func (db *DB) workspaceOf(ctx context.Context, list []engine.Snapshot) (key int64, err error) {
	for i, s := range list {
		one, err := db.workspaceKey(ctx, s.ID)
		if err != nil {
			return 0, err
		}
		if i > 0 && one != key {
			return 0, fmt.Errorf("snapshots %d and %d are of two workspaces", list[0].ID, s.ID)
		}
		key = one
	}
	return key, nil
}
