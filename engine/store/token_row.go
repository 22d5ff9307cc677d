package store

import (
	"errors"
	"fmt"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// tokenColumns are what a token's version row keeps of engine.Token, in the
// order of tokenRow.values and readToken.
const tokenColumns = `token_id, created_ms, expires_ms, owner_id, creator_id, creator_name, comment,
	scopes, autoscope_state, inferred_scopes, backfill_scopes, defects, raw_shape, raw`

const tokenWidth = 14

// tokenRow is a token as its row: comparable, so that equal rows are shared
// between snapshots.
type tokenRow [tokenWidth]any

func (r tokenRow) id() string { return r[0].(string) }

// encodeToken makes the row of a token from its columns and what refers to its
// raw row.
func encodeToken(t engine.Token, shape, own any) tokenRow {
	return tokenRow{
		t.ID, sqlite.OrNull(t.Created), sqlite.OrNull(t.Expires), t.OwnerID, t.CreatorID, t.CreatorName, t.Comment,
		encodeList(t.Scopes), t.AutoscopeState, encodeList(t.InferredScopes), encodeList(t.BackfillScopes),
		encodeDefects(t.Defects), shape, own,
	}
}

func encodeDefects(defects []engine.Defect) any {
	flat := make([]string, 0, 3*len(defects))
	for _, d := range defects {
		flat = append(flat, d.Field, d.Reason, d.Value)
	}
	return encodeList(flat)
}

func decodeDefects(text string) ([]engine.Defect, error) {
	if text == "" {
		return nil, nil
	}
	flat, err := decodeList(text)
	if err != nil || len(flat)%3 != 0 {
		return nil, errors.Join(err, errList)
	}
	var defects []engine.Defect
	for ; len(flat) > 0; flat = flat[3:] {
		defects = append(defects, engine.Defect{Field: flat[0], Reason: flat[1], Value: flat[2]})
	}
	return defects, nil
}

// tokenReader reads tokenColumns and, after them, the time of last use.
type tokenReader struct {
	lists  lists
	shapes *shapes
}

func (r *tokenReader) read(c *sqlite.Row) (t engine.Token, shape string, err error) {
	if t, shape, err = r.columns(c); err == nil {
		t.LastUsed = c.IntOrNull()
		err = c.Err
	}
	return t, shape, err
}

// columns reads tokenColumns: a token without last use, and the shape of the raw
// row, which has it, too.
func (r *tokenReader) columns(c *sqlite.Row) (t engine.Token, shape string, err error) {
	t = engine.Token{
		ID: c.Text(), Created: c.IntOrNull(), Expires: c.IntOrNull(),
		OwnerID: c.Text(), CreatorID: c.Text(), CreatorName: c.Text(), Comment: c.Text(),
	}
	scopes := c.TextOrNull()
	t.AutoscopeState = c.Text()
	inferred, backfill, defects, key, own := c.TextOrNull(), c.TextOrNull(), c.TextOrNull(), c.IntOrNull(), c.TextOrNull()
	if c.Err != nil {
		return t, "", c.Err
	}
	var errs [5]error
	t.Scopes, errs[0] = r.lists.decode(scopes)
	t.InferredScopes, errs[1] = r.lists.decode(inferred)
	t.BackfillScopes, errs[2] = r.lists.decode(backfill)
	t.Defects, errs[3] = decodeDefects(defects)
	shape, errs[4] = r.shapes.resolve(key, own)
	for _, err := range errs {
		if err != nil {
			return t, "", fmt.Errorf("token %s: %w", t.ID, err)
		}
	}
	return t, shape, nil
}

// lastUse is how token_use keeps a time: as a day, and what is beyond it.
// Both parts have the sign of the time, so that their sum cannot overflow.
func lastUse(ms *int64) (day, rest any) {
	if ms == nil {
		return nil, nil
	}
	if r := *ms % engine.Day; r != 0 {
		rest = r
	}
	return *ms / engine.Day, rest
}

// useColumn is the time of last use that holds in snapshot ?1 for the token
// version v.
const useColumn = `(SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
	WHERE u.token_key = v.token_key AND u.since <= ?1 ORDER BY u.since DESC LIMIT 1)`

// holds selects the versions v of workspace ?2 that hold in snapshot ?1.
const holds = `v.workspace_key = ?2 AND v.since <= ?1 AND (v.until IS NULL OR v.until > ?1)`
