package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opSave = "save snapshot"

// SaveSnapshot stores a capture as one immutable snapshot, in one transaction:
// on any error nothing of it is stored. Principals and tokens must ascend
// strictly by id. Memory does not grow with the number of tokens.
func (db *DB) SaveSnapshot(ctx context.Context, c engine.Capture) (s engine.Snapshot, err error) {
	err = db.Write(ctx, opSave, func(tx *sqlite.Tx) error {
		s, err = db.save(ctx, tx, c, newDigester(digestVersion))
		return err
	})
	return s, err
}

// save stores a capture within a transaction, and seals it with a digest that has
// nothing in it yet.
func (db *DB) save(ctx context.Context, tx *sqlite.Tx, c engine.Capture, digest *digester) (engine.Snapshot, error) {
	s := engine.Snapshot{
		Workspace:     c.Workspace,
		CollectedAt:   time.UnixMilli(c.CollectedAt.UnixMilli()).UTC(),
		Coverage:      map[engine.SectionName]engine.Coverage{},
		Documents:     map[engine.SectionName]json.RawMessage{},
		DigestVersion: digest.version,
	}
	for _, name := range engine.SortedKeys(c.Sections) {
		section := c.Sections[name]
		s.Coverage[name] = section.Coverage
		if section.Document == nil || !section.Coverage.Usable() {
			continue
		}
		text, err := canonical(section.Document)
		if err != nil {
			return s, badCapture("section "+string(name), err)
		}
		s.Documents[name] = json.RawMessage(text)
	}
	w := &s.Workspace
	if w.ID == "" { // it could not tell it: that of earlier snapshots with the same name and host
		known, err := sqlite.First(ctx, tx, `SELECT w.workspace_id FROM snapshot s JOIN workspace w ON w.key = s.workspace_key
			WHERE s.name = ? AND s.host = ? AND w.workspace_id NOT LIKE 'unidentified:%' ORDER BY s.id DESC LIMIT 1`, []any{w.Name, w.Host}, &w.ID)
		if err != nil {
			return s, err
		}
		if !known {
			w.ID = "unidentified:" + w.Name
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO workspace (workspace_id) VALUES (?) ON CONFLICT DO NOTHING`, w.ID); err != nil {
		return s, err
	}
	var workspace int64
	if err := tx.QueryRowContext(ctx, `SELECT key FROM workspace WHERE workspace_id = ?`, w.ID).Scan(&workspace); err != nil {
		return s, err
	}
	_, err := sqlite.First(ctx, tx, `SELECT digest FROM snapshot WHERE workspace_key = ? ORDER BY id DESC LIMIT 1`, []any{workspace}, &s.Previous)
	if err != nil {
		return s, err
	}
	var labels any
	if len(w.Labels) > 0 {
		labels = string(engine.CompactJSON(w.Labels))
	}
	result, err := tx.ExecContext(ctx, `INSERT INTO snapshot (workspace_key, name, host, cloud, labels, collected_ms, tokens, previous, digest, digest_version)
		VALUES (?, ?, ?, ?, ?, ?, 0, ?, '', ?)`,
		workspace, w.Name, w.Host, w.Cloud, labels, s.CollectedAt.UnixMilli(), s.Previous, digest.version)
	if err != nil {
		return s, err
	}
	if s.ID, err = result.LastInsertId(); err != nil {
		return s, err
	}
	digest.header(s)
	for _, name := range engine.SortedKeys(s.Coverage) {
		document, err := saveDocument(ctx, tx, s.Documents[name])
		if err != nil {
			return s, err
		}
		c := s.Coverage[name]
		_, err = tx.ExecContext(ctx, `INSERT INTO section (snapshot_id, name, status, reason, detail, hint, count, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			s.ID, string(name), string(c.Status), c.Reason, c.Detail, c.Hint, c.Count, document)
		if err != nil {
			return s, err
		}
	}
	into := versions{db, tx, workspace, s.ID, digest}
	if section := c.Sections[engine.SectionPrincipals]; section.Coverage.Usable() {
		if err := into.principals(ctx, section.Principals); err != nil {
			return s, err
		}
	}
	if section := c.Sections[engine.SectionTokens]; section.Coverage.Usable() && section.Tokens != nil {
		if s.Tokens, err = into.tokens(ctx, section.Tokens); err != nil {
			return s, err
		}
	}
	if section := c.Sections[engine.SectionAuditLog]; section.Coverage.Usable() && section.Activity != nil {
		if err := saveActivity(ctx, tx, s.ID, section.Activity, digest); err != nil {
			return s, err
		}
	}
	s.Digest = digest.hex()
	_, err = tx.ExecContext(ctx, `UPDATE snapshot SET digest = ?, tokens = ? WHERE id = ?`, s.Digest, s.Tokens, s.ID)
	return s, err
}

// saveDocument stores a text under its digest, once, and returns the digest.
func saveDocument(ctx context.Context, tx *sqlite.Tx, body json.RawMessage) (digest any, err error) {
	if body == nil {
		return nil, nil
	}
	key := engine.TextDigest(string(body))
	_, err = tx.ExecContext(ctx, `INSERT INTO document (digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING`, key, string(body))
	return key, err
}

// versions is where the rows of a snapshot go: each is stored once, as a version that
// holds from the snapshot that first had it until one that has another or none.
type versions struct {
	db                  *DB
	tx                  *sqlite.Tx
	workspace, snapshot int64
	digest              *digester
}

// heldRow is the row of a version that holds before this snapshot.
type heldRow struct {
	version  int64
	key      int64  // tokens only
	lastUsed *int64 // tokens only
	row      []any  // the id first
}

// held streams the rows of a query: version, key, last use, and the row. It reads beside the
// transaction, so that rows written by it do not come back.
func (v versions) held(ctx context.Context, query string, width int) iter.Seq2[heldRow, error] {
	return sqlite.Rows(ctx, v.db.q, func(c *sqlite.Row) heldRow {
		h := heldRow{version: c.Int(), key: c.Int(), lastUsed: c.IntOrNull(), row: make([]any, width)}
		c.Rest(h.row)
		return h
	}, query, v.snapshot, v.workspace)
}

// mergeRows walks over the rows that came and those that hold, both ascending by id: put gets
// each that came, with the one that holds if there is one; gone the versions whose row did
// not come. Ids that do not ascend strictly are refused.
func mergeRows[T any](what string, came iter.Seq2[T, error], id func(T) string, held iter.Seq2[heldRow, error], put func(T, *heldRow) error, gone func(version int64) error) error {
	next, stop := iter.Pull2(held)
	defer stop()
	at, err, more := next()
	pass := func() error { // the version in hand has gone
		if err := gone(at.version); err != nil {
			return err
		}
		at, err, more = next()
		return err
	}
	last, begun := "", false
	for row, wrong := range came {
		if err = errors.Join(err, wrong); err != nil {
			return err
		}
		this := id(row)
		if begun && this <= last {
			return badCapture(fmt.Sprintf("%s %q", what, this), fmt.Errorf("does not come after %q", last))
		}
		last, begun = this, true
		for more && at.row[0].(string) < this {
			if err := pass(); err != nil {
				return err
			}
		}
		var found *heldRow
		if more && at.row[0] == this {
			found = new(at)
			if at, err, more = next(); err != nil {
				return err
			}
		}
		if err := put(row, found); err != nil {
			return err
		}
	}
	for err == nil && more {
		err = pass()
	}
	return err
}

// prepare finds the first free version number of a table, and makes what ends a version
// and a batch for new ones.
func (v versions) prepare(ctx context.Context, table, columns string, width int) (next int64, end func(version int64) error, insert *sqlite.Batch, err error) {
	if err = v.tx.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) + 1 FROM "+table).Scan(&next); err != nil {
		return 0, nil, nil, err
	}
	end = func(version int64) error {
		_, err := v.tx.ExecContext(context.Background(), "UPDATE "+table+" SET until = ? WHERE version = ?", v.snapshot, version)
		return err
	}
	return next, end, sqlite.NewBatch(v.tx, "INSERT INTO "+table+" ("+columns+")", width), nil
}

// principals stores the rows of the principals section.
func (v versions) principals(ctx context.Context, list []engine.Principal) error {
	next, end, insert, err := v.prepare(ctx, "principal_version", "version, workspace_key, since, "+principalColumns, principalWidth+3)
	if err != nil {
		return err
	}
	came := func(yield func(engine.Principal, error) bool) {
		for _, p := range list {
			raw, err := canonicalRaw(p.Raw, "principal "+p.ID)
			p.Raw = raw
			if !yield(p, errors.Join(ctx.Err(), err)) {
				return
			}
		}
	}
	held := v.held(ctx, `SELECT version, 0, NULL, `+principalColumns+` FROM principal_version WHERE workspace_key = ?2 AND until IS NULL ORDER BY principal_id`, principalWidth)
	err = mergeRows("principal", came, func(p engine.Principal) string { return p.ID }, held, func(p engine.Principal, held *heldRow) error {
		v.digest.principal(p)
		row := encodePrincipal(p)
		if held != nil {
			if slices.Equal(held.row, row) {
				return nil
			}
			if err := end(held.version); err != nil {
				return err
			}
		}
		next++
		return insert.Add(append([]any{next - 1, v.workspace, v.snapshot}, row...)...)
	}, end)
	if err != nil {
		return err
	}
	return insert.Flush()
}

// shapedToken is a token with its raw row in canonical form, and that row's shape.
type shapedToken struct {
	engine.Token
	shape string
}

// tokens stores the rows of the tokens section, and says how many there were.
func (v versions) tokens(ctx context.Context, list iter.Seq2[engine.Token, error]) (stored int, err error) {
	next, end, insert, err := v.prepare(ctx, "token_version", "version, token_key, workspace_key, since, "+tokenColumns, tokenWidth+4)
	if err != nil {
		return 0, err
	}
	uses := sqlite.NewBatch(v.tx, "INSERT INTO token_use (token_key, since, day, ms)", 4)
	shapes, err := readShapes(ctx, v.tx)
	if err != nil {
		return 0, err
	}
	addShape := func(text string) (int64, error) {
		result, err := v.tx.ExecContext(ctx, `INSERT INTO raw_shape (text) VALUES (?)`, text)
		if err != nil {
			return 0, err
		}
		return result.LastInsertId()
	}
	var known bool // the workspace had tokens before
	if err := v.tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM token_version WHERE workspace_key = ?)", v.workspace).Scan(&known); err != nil {
		return 0, err
	}
	shaped := func(yield func(shapedToken, error) bool) {
		for t, err := range list {
			row := shapedToken{Token: t}
			if err != nil {
				err = fmt.Errorf("read tokens: %w", err)
			} else if row.Raw, err = canonicalRaw(t.Raw, "token "+t.ID); err == nil {
				row.shape = shapeOf(&row.Token)
			}
			if !yield(row, errors.Join(ctx.Err(), err)) {
				return
			}
		}
	}
	held := v.held(ctx, `SELECT v.version, v.token_key, `+useIn(1)+`, `+tokenColumns+`
		FROM token_version v WHERE v.workspace_key = ?2 AND v.until IS NULL ORDER BY v.token_id`, tokenWidth)
	err = mergeRows("token", ahead(shaped), func(t shapedToken) string { return t.ID }, held, func(t shapedToken, held *heldRow) error {
		v.digest.token(&t.Token)
		stored++
		shape, own, err := shapes.refer(t.shape, addShape)
		if err != nil {
			return err
		}
		row := encodeToken(&t.Token, shape, own)
		if held == nil || !slices.Equal(held.row, row) {
			version := next
			next++
			if held != nil {
				err = end(held.version)
			} else {
				held, err = v.recalled(t.ID, version, known)
			}
			if err != nil {
				return err
			}
			if err := insert.Add(append([]any{version, held.key, v.workspace, v.snapshot}, row...)...); err != nil {
				return err
			}
		}
		if equal(held.lastUsed, t.LastUsed) {
			return nil
		}
		day, ms := lastUse(t.LastUsed)
		return uses.Add(held.key, v.snapshot, day, ms)
	}, end)
	if err != nil {
		return 0, err
	}
	return stored, errors.Join(insert.Flush(), uses.Flush())
}

// recalled finds the key and the last use of a token that was gone and came back; a new one
// has the number of its first version as its key.
func (v versions) recalled(id string, version int64, known bool) (*heldRow, error) {
	held := &heldRow{key: version}
	if !known {
		return held, nil
	}
	_, err := sqlite.First(context.Background(), v.tx, `SELECT v.token_key, (SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
	WHERE u.token_key = v.token_key ORDER BY u.since DESC LIMIT 1)
	FROM token_version v WHERE v.workspace_key = ? AND v.token_id = ? ORDER BY v.since DESC LIMIT 1`, []any{v.workspace, id}, &held.key, &held.lastUsed)
	return held, err
}

func canonicalRaw(raw []byte, target string) ([]byte, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	text, err := canonical(raw)
	if err != nil {
		return nil, badCapture(target, fmt.Errorf("raw row %w", err))
	}
	return []byte(text), nil
}

func equal(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
