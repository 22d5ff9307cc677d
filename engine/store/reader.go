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

	"golang.org/x/sync/errgroup"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opVerify = "verify snapshot"

// reader hands out the rows of one snapshot in the order of its digest:
// principals, tokens, audit log. At the end, err says whether they are what was
// sealed.
type reader struct {
	db       *DB
	snapshot engine.Snapshot // as stored
	digest   *digester       // nil: this view was found intact before
}

func (db *DB) reader(ctx context.Context, id int64) (*reader, error) {
	s, err := db.Snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &reader{db: db, snapshot: s}
	if !db.view.isIntact(intactSnapshot(id)) {
		r.digest = newDigester(s.DigestVersion)
		r.digest.header(s)
	}
	return r, nil
}

// principals streams the principals, ascending by id; nothing where they were not read.
func (r *reader) principals(ctx context.Context) iter.Seq2[engine.Principal, error] {
	return func(yield func(engine.Principal, error) bool) {
		if !usable(r.snapshot, engine.SectionPrincipals) {
			return
		}
		for p, err := range r.db.principalVersions(ctx, r.snapshot.ID) {
			if err == nil && r.digest != nil {
				r.digest.principal(p.Principal)
			}
			if !yield(p.Principal, err) || err != nil {
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

// tokens streams the tokens, ascending by id; nothing where they were not read.
// Their raw rows are handed out where they are asked for.
func (r *reader) tokens(ctx context.Context, raw bool) iter.Seq2[storedToken, error] {
	return func(yield func(storedToken, error) bool) {
		if !usable(r.snapshot, engine.SectionTokens) {
			return
		}
		var filled []byte
		for v, err := range r.db.tokenVersions(ctx, r.snapshot.ID) {
			if err == nil && (raw || r.digest != nil) {
				filled, err = v.fill(filled, 0)
			}
			if err != nil {
				yield(storedToken{}, err)
				return
			}
			if r.digest != nil {
				r.digest.token(&v.Token)
			}
			v.LastUsed = v.in[0].lastUsed
			if v.Raw = nil; raw && v.shape != "" {
				v.Raw = slices.Clone(filled)
			}
			if !yield(storedToken{v.Token, v.row}, nil) {
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
	if r.digest == nil {
		return nil
	}
	sum := r.digest
	r.digest = nil
	if err := difference(r.snapshot, sum); err != nil {
		return mismatch(r.snapshot.ID, err)
	}
	r.db.view.addIntact(intactSnapshot(r.snapshot.ID))
	return nil
}

func difference(s engine.Snapshot, sum *digester) error {
	if digest := sum.hex(); digest != s.Digest || sum.tokens != s.Tokens {
		return fmt.Errorf("digest of the stored rows is %s (%d tokens), sealed was %s (%d)", digest, sum.tokens, s.Digest, s.Tokens)
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

// heldIn selects the versions v that hold in some of so many snapshots of one workspace,
// or between two of them: ?1, ?2, … are their ids, ascending.
func heldIn(snapshots int) string {
	return fmt.Sprintf(`v.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND v.since <= ?%d AND (v.until IS NULL OR v.until > ?1)`, snapshots)
}

// holds is heldIn of one snapshot.
var holds = heldIn(1)

// useIn is the last use of the token version v as snapshot ?n has it.
func useIn(n int) string {
	return fmt.Sprintf(`(SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
	WHERE u.token_key = v.token_key AND u.since <= ?%d ORDER BY u.since DESC LIMIT 1)`, n)
}

// principalVersion is a row of a principal, with whether it holds in each of the
// snapshots that are read.
type principalVersion struct {
	engine.Principal
	holds []bool
}

// principalVersions streams the principals of some snapshots of a workspace, whose ids
// ascend, ascending by id.
func (db *DB) principalVersions(ctx context.Context, snapshots ...int64) iter.Seq2[principalVersion, error] {
	query := `SELECT v.since, v.until, ` + principalColumns + ` FROM principal_version v WHERE ` + heldIn(len(snapshots)) + ` ORDER BY v.principal_id`
	return func(yield func(principalVersion, error) bool) {
		var known lists
		for c, err := range sqlite.Scan(ctx, db.q, query, anys(snapshots)...) {
			v := principalVersion{holds: make([]bool, len(snapshots))}
			if err == nil {
				since, until := c.Int(), c.IntOrNull()
				for i, id := range snapshots {
					v.holds[i] = since <= id && (until == nil || *until > id)
				}
				v.Principal, err = readPrincipal(c, &known)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// tokenVersion is a row of a token, with what each of the snapshots that are read has
// of it.
type tokenVersion struct {
	engine.Token // without last use and raw row
	row          int64
	shape        string // of the raw row
	in           []tokenIn
}

type tokenIn struct {
	holds    bool
	lastUsed *int64
}

// fill gives the token the last use that the n-th snapshot has and its raw row, which is
// made in memory used before.
func (v *tokenVersion) fill(memory []byte, n int) (_ []byte, err error) {
	v.LastUsed, v.Raw = v.in[n].lastUsed, nil
	if v.shape == "" {
		return memory, nil
	}
	if memory, err = appendFilled(memory[:0], v.shape, &v.Token); err != nil {
		return memory, fmt.Errorf("token %s: %w", v.ID, err)
	}
	v.Raw = memory
	return memory, nil
}

// tokenVersions streams the tokens of some snapshots of a workspace, whose ids ascend,
// ascending by id.
func (db *DB) tokenVersions(ctx context.Context, snapshots ...int64) iter.Seq2[tokenVersion, error] {
	return func(yield func(tokenVersion, error) bool) {
		known, err := db.readShapes(ctx)
		if err != nil {
			yield(tokenVersion{}, err)
			return
		}
		uses := make([]string, len(snapshots))
		for i := range uses {
			uses[i] = useIn(i + 1)
		}
		query := `SELECT v.version, v.since, v.until, ` + tokenColumns + `, ` + strings.Join(uses, ", ") +
			` FROM token_version v WHERE ` + heldIn(len(snapshots)) + ` ORDER BY v.token_id`
		columns := tokenReader{shapes: known}
		for c, err := range sqlite.Scan(ctx, db.q, query, anys(snapshots)...) {
			var v tokenVersion
			if err == nil {
				v.row = c.Int()
				since, until := c.Int(), c.IntOrNull()
				v.Token, v.shape, err = columns.read(c)
				v.in = make([]tokenIn, len(snapshots))
				for i, id := range snapshots {
					v.in[i] = tokenIn{since <= id && (until == nil || *until > id), c.IntOrNull()}
				}
				err = cmp.Or(err, c.Err)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func anys[T any](list []T) []any {
	values := make([]any, len(list))
	for i, v := range list {
		values[i] = v
	}
	return values
}

// VerifySnapshot computes the digest of a snapshot from the stored rows. The
// reason of the error is digest_mismatch when it is not the digest that the
// snapshot was sealed with: something changed it since.
func (db *DB) VerifySnapshot(ctx context.Context, id int64) error {
	return db.VerifySnapshots(ctx, engine.Snapshot{ID: id})[0]
}

// Intact says whether snapshots are what was sealed. Those that a complete
// reading of this view found intact are not read again. Whoever publishes what
// it read, a file or a verdict, asks this first. The error is that of the first.
func (db *DB) Intact(ctx context.Context, snapshots ...engine.Snapshot) error {
	left := slices.Clone(snapshots)
	slices.SortFunc(left, func(a, b engine.Snapshot) int { return cmp.Compare(a.ID, b.ID) })
	left = slices.CompactFunc(left, func(a, b engine.Snapshot) bool { return a.ID == b.ID })
	left = slices.DeleteFunc(left, func(s engine.Snapshot) bool { return db.view.isIntact(intactSnapshot(s.ID)) })
	for i, err := range db.VerifySnapshots(ctx, left...) {
		if err != nil {
			return err
		}
		db.view.addIntact(intactSnapshot(left[i].ID))
	}
	return ctx.Err()
}

// mostTogether is how many snapshots are verified in one pass at most.
const mostTogether = 8

// VerifySnapshots is VerifySnapshot for some snapshots, of which it takes the ids, in
// their order. Rows that those of one workspace share are read once; workspaces are
// verified side by side.
func (db *DB) VerifySnapshots(ctx context.Context, snapshots ...engine.Snapshot) []error {
	if db.view == nil { // snapshots that are there have their shapes
		db = &DB{DB: db.DB, q: db.q, view: newView()}
	}
	all, errs := slices.Clone(snapshots), make([]error, len(snapshots))
	ids := make([]int64, len(all))
	for i, s := range all {
		ids[i] = s.ID
	}
	stored, err := db.snapshotsByID(ctx, ids)
	if err != nil {
		stored = nil // each by itself tells which is damaged
	}
	groups := map[string][]int{} // by workspace: places in all
	for i, asked := range all {
		s, there := stored[asked.ID]
		if !there {
			var err error
			if s, err = db.Snapshot(ctx, asked.ID); err != nil {
				errs[i] = damagedRow(asked.ID, err)
				continue
			}
		}
		all[i] = s
		groups[s.Workspace.ID] = append(groups[s.Workspace.ID], i)
	}
	var verifying errgroup.Group
	verifying.SetLimit(min(4, runtime.GOMAXPROCS(0)))
	for _, workspace := range engine.SortedKeys(groups) {
		places := groups[workspace]
		slices.SortFunc(places, func(a, b int) int { return cmp.Compare(all[a].ID, all[b].ID) })
		for together := range slices.Chunk(places, mostTogether) {
			verifying.Go(func() error {
				list := make([]engine.Snapshot, len(together))
				for i, place := range together {
					list[i] = all[place]
				}
				if db.verify(ctx, list...) == nil {
					return nil
				}
				for i, place := range together { // each by itself tells which it is
					errs[place] = db.verify(ctx, list[i])
					if errs[place] == nil {
						continue
					}
					if _, gone := db.Snapshot(ctx, list[i].ID); gone != nil { // pruned meanwhile
						errs[place] = damagedRow(list[i].ID, gone)
					}
				}
				return nil
			})
		}
	}
	_ = verifying.Wait()
	return errs
}

// verify holds snapshots of one workspace, ascending by id, against their digests, in one
// pass over the rows of their principals and tokens. The error is that of the first.
func (db *DB) verify(ctx context.Context, list ...engine.Snapshot) error {
	sums, err := db.digests(ctx, list)
	if err != nil {
		return damagedRow(list[0].ID, sqlite.Failure(opVerify, db.Path, err))
	}
	for i, s := range list {
		if err := difference(s, sums[i]); err != nil {
			return mismatch(s.ID, err)
		}
	}
	return nil
}

// digests computes the digests of snapshots of one workspace, ascending by id, each as if
// it were the only one.
func (db *DB) digests(ctx context.Context, list []engine.Snapshot) ([]*digester, error) {
	sums := make([]*digester, len(list))
	for i, s := range list {
		sums[i] = newDigester(s.DigestVersion)
		sums[i].header(s)
	}
	// having are those that have rows of a section.
	having := func(name engine.SectionName) (ids []int64, into []*digester) {
		for i, s := range list {
			if usable(s, name) {
				ids, into = append(ids, s.ID), append(into, sums[i])
			}
		}
		return ids, into
	}
	if ids, into := having(engine.SectionPrincipals); len(ids) > 0 {
		for p, err := range db.principalVersions(ctx, ids...) {
			if err != nil {
				return nil, err
			}
			for i, holds := range p.holds {
				if holds {
					into[i].principal(p.Principal)
				}
			}
		}
	}
	if ids, into := having(engine.SectionTokens); len(ids) > 0 {
		var raw []byte
		for v, err := range ahead(db.tokenVersions(ctx, ids...)) { // one goroutine reads, another digests
			if err := errors.Join(ctx.Err(), err); err != nil {
				return nil, err
			}
			for i, in := range v.in {
				if !in.holds {
					continue
				}
				if raw, err = v.fill(raw, i); err != nil {
					return nil, err
				}
				into[i].token(&v.Token)
			}
		}
	}
	ids, into := having(engine.SectionAuditLog)
	for i, id := range ids {
		if err := digestActivity(into[i], activities(ctx, db.q, id)); err != nil {
			return nil, err
		}
	}
	return sums, nil
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
				fmt.Errorf("names %.12s as the digest before, which is %.12s", cmp.Or(previous, "none"), cmp.Or(last, "none")))
		}
		last = digest
	}
	return nil
}

// aheadRows is how many rows pass from one goroutine to the other at once.
const aheadRows = 64

// ahead has a second goroutine pull from a sequence, some rows before they are
// asked for, so that making rows and storing them overlap. That goroutine has
// ended when a loop over the result ends, however it ends.
func ahead[T any](rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	type pulled struct {
		row T
		err error
	}
	return func(yield func(T, error) bool) {
		chunks, stop := make(chan []pulled, 2), make(chan struct{})
		var puller sync.WaitGroup
		defer puller.Wait()
		defer close(stop)
		puller.Go(func() {
			defer close(chunks)
			chunk := make([]pulled, 0, aheadRows)
			for row, err := range rows {
				if chunk = append(chunk, pulled{row, err}); len(chunk) < aheadRows {
					continue
				}
				select {
				case chunks <- chunk:
					chunk = make([]pulled, 0, aheadRows)
				case <-stop:
					return
				}
			}
			select {
			case chunks <- chunk:
			case <-stop:
			}
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
