package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opDiff = "compare snapshots"

// diffColumns are a token's columns without its raw row.
var diffColumns = columnList("v.") + ", v.defects, NULL, NULL"

// changed selects the versions v that hold in one of the snapshots ?1 and ?2 only: of what
// changed, the one that held in the first and ended by the second, then the one that began
// since (begun) and holds in the second.
const (
	changed = `v.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1)
	AND (v.since <= ?1 AND v.until > ?1 AND v.until <= ?2 OR v.since > ?1 AND v.since <= ?2 AND (v.until IS NULL OR v.until > ?2))`
	begun = `v.since > ?1`
)

var (
	changedTokens = `SELECT ` + begun + `, ` + diffColumns + `, (SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
		WHERE u.token_key = v.token_key AND u.since <= iif(` + begun + `, ?2, ?1) ORDER BY u.since DESC LIMIT 1)
	FROM token_version v WHERE ` + changed + ` ORDER BY v.token_id, v.since`
	changedPrincipals = `SELECT ` + begun + `, ` + principalColumns + ` FROM principal_version v WHERE ` + changed + ` ORDER BY v.principal_id, v.since`
)

// TokenChanges streams what became of the tokens between two snapshots of one
// workspace, ascending by id: those that appeared, that changed in anything but
// their last use, and that vanished (without a cause). Tokens come without their
// raw row. Both snapshots must have read their tokens.
func (db *DB) TokenChanges(ctx context.Context, from, to engine.Snapshot) iter.Seq2[engine.TokenChange, error] {
	var columns tokenReader
	read := func(c *sqlite.Row) engine.Token {
		t, _ := columns.read(c)
		t.LastUsed = c.IntOrNull()
		return t
	}
	return func(yield func(engine.TokenChange, error) bool) {
		for pair, err := range pairs(ctx, db, changedTokens, from, to, read, func(t *engine.Token) string { return t.ID }) {
			c := engine.TokenChange{Kind: pair.kind, Before: pair.before, After: pair.after}
			if pair.kind == engine.Changed {
				if c.Fields = engine.TokenFields(c.Before, c.After); len(c.Fields) == 0 {
					continue
				}
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// PrincipalChanges lists what became of the principals between two snapshots of
// one workspace, ascending by id. Both must have read their directory.
func (db *DB) PrincipalChanges(ctx context.Context, from, to engine.Snapshot) (list []engine.PrincipalChange, err error) {
	known := &lists{}
	read := func(c *sqlite.Row) engine.Principal { return readPrincipal(c, known) }
	for pair, err := range pairs(ctx, db, changedPrincipals, from, to, read, func(p *engine.Principal) string { return p.ID }) {
		if err != nil {
			return nil, err
		}
		c := engine.PrincipalChange{Kind: pair.kind, Before: pair.before, After: pair.after}
		if pair.kind == engine.Changed {
			if c.Fields = engine.PrincipalFields(c.Before, c.After); len(c.Fields) == 0 {
				continue
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// change is what something was and what it has become; nil where it was not there, or is
// not any more.
type change[T any] struct {
	kind          engine.ChangeKind
	before, after *T
}

// pairs streams the pairs of a query of changed versions, ascending by id.
func pairs[T any](ctx context.Context, db *DB, query string, from, to engine.Snapshot, read func(*sqlite.Row) T, id func(*T) string) iter.Seq2[change[T], error] {
	type version struct {
		begun bool
		row   *T
	}
	return func(yield func(change[T], error) bool) {
		if err := mayCompare(from, to); err != nil {
			yield(change[T]{}, sqlite.Failure(opDiff, db.Path, err))
			return
		}
		var was *T // not yet yielded
		versions := sqlite.Rows(ctx, db.q, func(c *sqlite.Row) version { return version{c.Bool(), new(read(c))} }, query, from.ID, to.ID)
		for v, err := range versions {
			if err != nil {
				yield(change[T]{}, sqlite.Failure(opDiff, db.Path, err))
				return
			}
			if was != nil && id(was) != id(v.row) {
				if !yield(change[T]{engine.Vanished, was, nil}, nil) {
					return
				}
				was = nil
			}
			if !v.begun {
				was = v.row
				continue
			}
			kind := engine.Changed
			if was == nil {
				kind = engine.Appeared
			}
			if !yield(change[T]{kind, was, v.row}, nil) {
				return
			}
			was = nil
		}
		if was != nil {
			yield(change[T]{engine.Vanished, was, nil}, nil)
		}
	}
}

// mayCompare refuses snapshots of two workspaces, and those that come in the wrong order.
func mayCompare(from, to engine.Snapshot) error {
	switch {
	case from.Workspace.ID != to.Workspace.ID:
		return fmt.Errorf("snapshot %d is of workspace %s, snapshot %d of %s", from.ID, from.Workspace.Name, to.ID, to.Workspace.Name)
	case from.ID > to.ID:
		return errors.New("the first was taken after the second")
	}
	return nil
}

// usedQuery counts the tokens with a use after the first snapshot. Among few workspaces
// it goes through all versions in the order in which they were stored: the uses are in the
// same, and after a year of them each would otherwise be on a page of its own. Among
// hundreds, going through all for each of them would take far longer.
const usedQuery = `SELECT count(DISTINCT u.token_key) FROM token_version v %s CROSS JOIN token_use u
	WHERE v.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND v.since <= ?2 AND (v.until IS NULL OR v.until > ?1)
	AND u.token_key = v.token_key AND u.since > ?1 AND u.since <= ?2 AND u.day >= ?3`

// UsedBetween is how many tokens of a workspace were seen to have been used
// between two snapshots of it. A last use before the day of the first does not
// count, though it be seen only now, of a token that appeared or came back.
func (db *DB) UsedBetween(ctx context.Context, from, to engine.Snapshot) (n int, err error) {
	defer db.explain(opDiff, &err)
	if err := mayCompare(from, to); err != nil {
		return 0, err
	}
	var workspaces int
	if err := db.q.QueryRowContext(ctx, `SELECT count(*) FROM workspace`).Scan(&workspaces); err != nil {
		return 0, err
	}
	index := "NOT INDEXED"
	if workspaces > 8 {
		index = ""
	}
	err = db.q.QueryRowContext(ctx, fmt.Sprintf(usedQuery, index), from.ID, to.ID, from.CollectedAt.UnixMilli()/engine.Day).Scan(&n)
	return n, err
}
