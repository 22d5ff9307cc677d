package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"patrol/engine"
	"patrol/engine/sqlite"
)

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
