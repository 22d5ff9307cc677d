package store

import (
	"cmp"
	"context"
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

// reader hands out the rows of snapshots of one workspace in the order of their
// digests: principals, tokens, audit log. At the end, err says whether they are what
// was sealed.
type reader struct {
	db        *DB
	snapshots []engine.Snapshot // as stored, ascending by id
	digests   []*digester       // of each; nil: this view found the one snapshot intact before
	ahead     bool              // one goroutine reads tokens, another digests them
}

// reader reads one snapshot.
func (db *DB) reader(ctx context.Context, id int64) (*reader, error) {
	s, err := db.Snapshot(ctx, id)
	if err != nil {
		return nil, err
	}
	if db.view.isIntact(intactSnapshot(id)) {
		return &reader{db: db, snapshots: []engine.Snapshot{s}}, nil
	}
	return db.digesting(s), nil
}

// digesting reads snapshots of one workspace, ascending by id, in one pass.
func (db *DB) digesting(snapshots ...engine.Snapshot) *reader {
	r := &reader{db: db, snapshots: snapshots, digests: make([]*digester, len(snapshots))}
	for i, s := range snapshots {
		r.digests[i] = newDigester(s.DigestVersion)
		r.digests[i].header(s)
	}
	return r
}

// having are the ids of the snapshots that have rows of a section, and their digests.
func (r *reader) having(name engine.SectionName) (ids []int64, args []any, digests []*digester) {
	for i, s := range r.snapshots {
		if !usable(s, name) {
			continue
		}
		ids, args = append(ids, s.ID), append(args, s.ID)
		if r.digests != nil {
			digests = append(digests, r.digests[i])
		}
	}
	return ids, args, digests
}

// heldIn selects the versions v that hold in some of so many snapshots of one workspace,
// or between two of them: ?1, ?2, … are their ids, ascending.
func heldIn(snapshots int) string {
	return fmt.Sprintf(`v.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND v.since <= ?%d AND (v.until IS NULL OR v.until > ?1)`, snapshots)
}

// holds is heldIn of one snapshot.
var holds = heldIn(1)

// holding reads since and until of a version: in which snapshots it holds.
func holding(c *sqlite.Row, ids []int64) []bool {
	since, until := c.Int(), c.IntOrNull()
	holds := make([]bool, len(ids))
	for i, id := range ids {
		holds[i] = since <= id && (until == nil || *until > id)
	}
	return holds
}

// useIn is the last use of the token version v as snapshot ?n has it.
func useIn(n int) string {
	return fmt.Sprintf(`(SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
	WHERE u.token_key = v.token_key AND u.since <= ?%d ORDER BY u.since DESC LIMIT 1)`, n)
}

// principals streams the principals, ascending by id; nothing where they were not read.
func (r *reader) principals(ctx context.Context) iter.Seq2[engine.Principal, error] {
	return func(yield func(engine.Principal, error) bool) {
		ids, args, digests := r.having(engine.SectionPrincipals)
		if len(ids) == 0 {
			return
		}
		var known lists
		query := `SELECT v.since, v.until, ` + principalColumns + ` FROM principal_version v WHERE ` + heldIn(len(ids)) + ` ORDER BY v.principal_id`
		for c, err := range sqlite.Scan(ctx, r.db.q, query, args...) {
			var p engine.Principal
			if err == nil {
				holds := holding(c, ids)
				p, err = readPrincipal(c, &known), c.Err
				for i, digest := range digests {
					if holds[i] && err == nil {
						digest.principal(p)
					}
				}
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

// tokens streams the tokens, ascending by id; nothing where they were not read.
// Their raw rows are handed out where they are asked for.
func (r *reader) tokens(ctx context.Context, raw bool) iter.Seq2[storedToken, error] {
	return func(yield func(storedToken, error) bool) {
		ids, args, digests := r.having(engine.SectionTokens)
		if len(ids) == 0 {
			return
		}
		known, err := r.db.readShapes(ctx)
		if err != nil {
			yield(storedToken{}, err)
			return
		}
		uses := make([]string, len(ids))
		for i := range uses {
			uses[i] = useIn(i + 1)
		}
		query := `SELECT v.version, v.since, v.until, ` + tokenColumns + `, ` + strings.Join(uses, ", ") +
			` FROM token_version v WHERE ` + heldIn(len(ids)) + ` ORDER BY v.token_id`
		columns := tokenReader{shapes: known}
		versions := sqlite.Rows(ctx, r.db.q, func(c *sqlite.Row) tokenVersion {
			v := tokenVersion{row: c.Int(), holds: holding(c, ids), lastUsed: make([]*int64, len(ids))}
			v.Token, v.shape = columns.read(c)
			for i := range ids {
				v.lastUsed[i] = c.IntOrNull()
			}
			return v
		}, query, args...)
		if r.ahead {
			versions = ahead(versions)
		}
		var memory []byte // of the raw row in hand
		for v, err := range versions {
			err = cmp.Or(err, ctx.Err())
			for i, digest := range digests {
				if err == nil && v.holds[i] {
					if memory, err = v.fill(memory, i); err == nil {
						digest.token(&v.Token)
					}
				}
			}
			if err == nil && raw && digests == nil {
				memory, err = v.fill(memory, 0)
			}
			if err != nil {
				yield(storedToken{}, err)
				return
			}
			v.LastUsed = v.lastUsed[0]
			if v.Raw = nil; raw && v.shape != "" {
				v.Raw = slices.Clone(memory)
			}
			if !yield(storedToken{v.Token, v.row}, nil) {
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
	holds        []bool
	lastUsed     []*int64
}

// fill gives the token the last use that the n-th snapshot has and its raw row, which is
// made in memory used before.
func (v *tokenVersion) fill(memory []byte, n int) (_ []byte, err error) {
	v.LastUsed, v.Raw = v.lastUsed[n], nil
	if v.shape == "" {
		return memory, nil
	}
	if memory, err = appendFilled(memory[:0], v.shape, &v.Token); err != nil {
		return memory, fmt.Errorf("token %s: %w", v.ID, err)
	}
	v.Raw = memory
	return memory, nil
}

// activity streams what imported audit logs tell, ascending by token.
func (r *reader) activity(ctx context.Context) iter.Seq2[engine.Activity, error] {
	return func(yield func(engine.Activity, error) bool) {
		ids, _, digests := r.having(engine.SectionAuditLog)
		for i, id := range ids {
			for a, err := range activities(ctx, r.db.q, id) {
				if err == nil && digests != nil {
					digests[i].activity(a)
				}
				if !yield(a, err) || err != nil {
					return
				}
			}
		}
	}
}

// readAll reads all rows for their digests alone.
func (r *reader) readAll(ctx context.Context) error {
	r.ahead = true
	for _, err := range r.principals(ctx) {
		if err != nil {
			return err
		}
	}
	for _, err := range r.tokens(ctx, false) {
		if err != nil {
			return err
		}
	}
	for _, err := range r.activity(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// err says, once all rows were handed out, whether they are what was sealed; the
// reason of the error, which is that of the first snapshot, is digest_mismatch if not.
func (r *reader) err() error {
	digests := r.digests
	r.digests = nil
	for i, digest := range digests {
		if err := difference(r.snapshots[i], digest); err != nil {
			return mismatch(r.snapshots[i].ID, err)
		}
		r.db.view.addIntact(intactSnapshot(r.snapshots[i].ID))
	}
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
	left := slices.DeleteFunc(slices.Clone(snapshots), func(s engine.Snapshot) bool { return db.view.isIntact(intactSnapshot(s.ID)) })
	slices.SortFunc(left, func(a, b engine.Snapshot) int { return cmp.Compare(a.ID, b.ID) })
	left = slices.CompactFunc(left, func(a, b engine.Snapshot) bool { return a.ID == b.ID })
	return cmp.Or(append(db.VerifySnapshots(ctx, left...), ctx.Err())...)
}

// mostTogether is how many snapshots are verified in one pass at most.
const mostTogether = 8

// VerifySnapshots is VerifySnapshot for some snapshots, of which it takes the ids, in
// their order. Rows that those of one workspace share are read once; workspaces are
// verified side by side.
func (db *DB) VerifySnapshots(ctx context.Context, snapshots ...engine.Snapshot) []error {
	if db.view == nil { // snapshots that are there have their shapes
		db = viewOf(db, db.q)
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
// pass over their rows. The error is that of the first.
func (db *DB) verify(ctx context.Context, list ...engine.Snapshot) error {
	r := db.digesting(list...)
	if err := r.readAll(ctx); err != nil {
		return damagedRow(list[0].ID, sqlite.Failure(opVerify, db.Path, err))
	}
	return r.err()
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
			var chunk []pulled
			send := func() bool {
				select {
				case chunks <- chunk:
					chunk = make([]pulled, 0, aheadRows)
					return true
				case <-stop:
					return false
				}
			}
			for row, err := range rows {
				if chunk = append(chunk, pulled{row, err}); len(chunk) == aheadRows && !send() {
					return
				}
			}
			send()
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
