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

// changedQuery reads the versions that hold in one of two snapshots only: of a
// token that changed, the one that held in the first (?1) and ended by the second
// (?3), then the one that began since and holds in the second. ?2 is the workspace.
var changedQuery = `SELECT v.since > ?1, ` + diffColumns + `, (SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
		WHERE u.token_key = v.token_key AND u.since <= iif(v.since > ?1, ?3, ?1) ORDER BY u.since DESC LIMIT 1)
	FROM token_version v WHERE v.workspace_key = ?2
	AND (v.since <= ?1 AND v.until > ?1 AND v.until <= ?3 OR v.since > ?1 AND v.since <= ?3 AND (v.until IS NULL OR v.until > ?3))
	ORDER BY v.token_id, v.since`

// TokenChanges streams what became of the tokens between two snapshots of one
// workspace, ascending by id: those that appeared, that changed in anything but
// their last use, and that vanished (without a cause). Tokens come without their
// raw row. Both snapshots must have read their tokens.
func (db *DB) TokenChanges(ctx context.Context, from, to engine.Snapshot) iter.Seq2[engine.TokenChange, error] {
	return func(yield func(engine.TokenChange, error) bool) {
		workspace, err := db.comparable(ctx, from, to)
		if err != nil {
			yield(engine.TokenChange{}, sqlite.Failure(opDiff, db.Path, err))
			return
		}
		for change, err := range paired(db.changedVersions(ctx, from.ID, workspace, to.ID)) {
			if !yield(change, sqlite.Failure(opDiff, db.Path, err)) || err != nil {
				return
			}
		}
	}
}

var errOrder = errors.New("the first was taken after the second")

// comparable is the key of the workspace of both snapshots.
func (db *DB) comparable(ctx context.Context, from, to engine.Snapshot) (int64, error) {
	first, err := db.workspaceKey(ctx, from.ID)
	if err != nil {
		return 0, err
	}
	second, err := db.workspaceKey(ctx, to.ID)
	switch {
	case err != nil:
		return 0, err
	case first != second:
		return 0, fmt.Errorf("snapshot %d is of workspace %s, snapshot %d of %s", from.ID, from.Workspace.Name, to.ID, to.Workspace.Name)
	case from.ID > to.ID:
		return 0, errOrder
	}
	return first, nil
}

// changedVersion is a token as it was, or as it has become.
type changedVersion struct {
	token engine.Token
	begun bool
}

func (db *DB) changedVersions(ctx context.Context, args ...any) iter.Seq2[changedVersion, error] {
	return func(yield func(changedVersion, error) bool) {
		reader := tokenReader{shapes: &shapes{}}
		for c, err := range sqlite.Scan(ctx, db.q, changedQuery, args...) {
			var v changedVersion
			if err == nil {
				v.begun = c.Bool()
				v.token, _, err = reader.read(c)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// paired joins what a token was with what it has become.
func paired(versions iter.Seq2[changedVersion, error]) iter.Seq2[engine.TokenChange, error] {
	return func(yield func(engine.TokenChange, error) bool) {
		var was *engine.Token // not yet told
		tell := func(before, after *engine.Token) bool {
			change, differs := changeOf(before, after)
			return !differs || yield(change, nil)
		}
		for v, err := range versions {
			if err != nil {
				yield(engine.TokenChange{}, err)
				return
			}
			if was != nil && was.ID != v.token.ID {
				if !tell(was, nil) {
					return
				}
				was = nil
			}
			switch {
			case !v.begun:
				was = &v.token
			case !tell(was, &v.token):
				return
			default:
				was = nil
			}
		}
		if was != nil {
			tell(was, nil)
		}
	}
}

// changeOf is what became of a token; nil where it was not there, or is not. It
// is none where nothing but the last use differs.
func changeOf(before, after *engine.Token) (c engine.TokenChange, differs bool) {
	c = engine.TokenChange{Before: before, After: after}
	switch {
	case before == nil:
		c.Kind = engine.Appeared
	case after == nil:
		c.Kind = engine.Vanished
	default:
		c.Kind, c.Fields = engine.Changed, engine.TokenFields(before, after)
		return c, len(c.Fields) > 0
	}
	return c, true
}

// usedQuery counts the tokens with a use after the first snapshot. Among few workspaces
// it goes through all versions in the order in which they were stored: the uses are in the
// same, and after a year of them each would otherwise be on a page of its own. Among
// hundreds, going through all for each of them would take far longer.
const usedQuery = `SELECT count(DISTINCT u.token_key) FROM token_version v %s CROSS JOIN token_use u
	WHERE v.workspace_key = ?2 AND v.since <= ?3 AND (v.until IS NULL OR v.until > ?1)
	AND u.token_key = v.token_key AND u.since > ?1 AND u.since <= ?3 AND u.day >= ?4`

// UsedBetween is how many tokens of a workspace were seen to have been used
// between two snapshots of it. A last use before the day of the first does not
// count, though it be seen only now, of a token that appeared or came back.
func (db *DB) UsedBetween(ctx context.Context, from, to engine.Snapshot) (n int, err error) {
	workspace, err := db.comparable(ctx, from, to)
	if err != nil {
		return 0, sqlite.Failure(opDiff, db.Path, err)
	}
	var workspaces int
	if err := db.q.QueryRowContext(ctx, `SELECT count(*) FROM workspace`).Scan(&workspaces); err != nil {
		return 0, sqlite.Failure(opDiff, db.Path, err)
	}
	index := "NOT INDEXED"
	if workspaces > 8 {
		index = ""
	}
	err = db.q.QueryRowContext(ctx, fmt.Sprintf(usedQuery, index), from.ID, workspace, to.ID, from.CollectedAt.UnixMilli()/engine.Day).Scan(&n)
	return n, sqlite.Failure(opDiff, db.Path, err)
}

const (
	endedPrincipals = `SELECT ` + principalColumns + ` FROM principal_version v
	WHERE v.workspace_key = ?2 AND v.since <= ?1 AND v.until > ?1 AND v.until <= ?3 ORDER BY v.principal_id`
	begunPrincipals = `SELECT ` + principalColumns + ` FROM principal_version v
	WHERE v.workspace_key = ?2 AND v.since > ?1 AND v.since <= ?3 AND (v.until IS NULL OR v.until > ?3) ORDER BY v.principal_id`
)

// PrincipalChanges lists what became of the principals between two snapshots of
// one workspace, ascending by id. Both must have read their directory.
func (db *DB) PrincipalChanges(ctx context.Context, from, to engine.Snapshot) ([]engine.PrincipalChange, error) {
	workspace, err := db.comparable(ctx, from, to)
	if err != nil {
		return nil, sqlite.Failure(opDiff, db.Path, err)
	}
	ended, err := db.principalVersions(ctx, endedPrincipals, from.ID, workspace, to.ID)
	if err != nil {
		return nil, sqlite.Failure(opDiff, db.Path, err)
	}
	begun, err := db.principalVersions(ctx, begunPrincipals, from.ID, workspace, to.ID)
	if err != nil {
		return nil, sqlite.Failure(opDiff, db.Path, err)
	}
	return principalPairs(ended, begun), nil
}

func (db *DB) principalVersions(ctx context.Context, query string, args ...any) (found []engine.Principal, err error) {
	known := &lists{}
	for c, err := range sqlite.Scan(ctx, db.q, query, args...) {
		if err != nil {
			return nil, err
		}
		p, err := readPrincipal(c, known)
		if err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, nil
}

func principalPairs(ended, begun []engine.Principal) (changes []engine.PrincipalChange) {
	for len(ended) > 0 || len(begun) > 0 {
		switch {
		case len(ended) == 0 || len(begun) > 0 && begun[0].ID < ended[0].ID:
			changes = append(changes, engine.PrincipalChange{Kind: engine.Appeared, After: &begun[0]})
			begun = begun[1:]
		case len(begun) == 0 || ended[0].ID < begun[0].ID:
			changes = append(changes, engine.PrincipalChange{Kind: engine.Vanished, Before: &ended[0]})
			ended = ended[1:]
		default:
			if fields := engine.PrincipalFields(&ended[0], &begun[0]); len(fields) > 0 {
				changes = append(changes, engine.PrincipalChange{Kind: engine.Changed, Before: &ended[0], After: &begun[0], Fields: fields})
			}
			ended, begun = ended[1:], begun[1:]
		}
	}
	return changes
}
