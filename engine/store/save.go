package store

import (
	"cmp"
	"context"
	"encoding/json"
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
	if section := c.Sections[engine.SectionPrincipals]; section.Coverage.Usable() {
		if err := db.savePrincipals(ctx, tx, workspace, s.ID, section.Principals, digest); err != nil {
			return s, err
		}
	}
	if section := c.Sections[engine.SectionTokens]; section.Coverage.Usable() && section.Tokens != nil {
		if s.Tokens, err = db.saveTokens(ctx, tx, workspace, s.ID, section.Tokens, digest); err != nil {
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

// versions are the rows of a table that hold before a snapshot of a workspace,
// ascending by id, and where new ones go: each is stored once, as a version that holds
// from the snapshot that first had it until one that has another or none.
type versions struct {
	tx                  *sqlite.Tx
	table               string
	workspace, snapshot int64
	insert              *sqlite.Batch
	free                int64 // the first version number that nothing has

	next func() (heldRow, error, bool)
	stop func()
	at   heldRow // the next of those that hold
	more bool    // there is one
	last string  // id of the row that came last
	some bool    // one came
}

// heldRow is the row of a version that holds before this snapshot.
type heldRow struct {
	version  int64
	key      int64  // tokens only
	lastUsed *int64 // tokens only
	row      []any  // the id first
}

// versions reads what holds by a query of version, key, last use, and the row of so many
// columns; more columns stand before them in the table. It reads beside the transaction,
// so that rows written by it do not come back. stop must be called.
func (db *DB) versions(ctx context.Context, tx *sqlite.Tx, workspace, snapshot int64, table, columns, query string, width, more int) (*versions, error) {
	v := &versions{tx: tx, table: table, workspace: workspace, snapshot: snapshot}
	v.insert = sqlite.NewBatch(tx, "INSERT INTO "+table+" ("+columns+")", width+more)
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) + 1 FROM "+table).Scan(&v.free); err != nil {
		return nil, err
	}
	v.next, v.stop = iter.Pull2(sqlite.Rows(ctx, db.q, func(c *sqlite.Row) heldRow {
		h := heldRow{version: c.Int(), key: c.Int(), lastUsed: c.IntOrNull(), row: make([]any, width)}
		c.Rest(h.row)
		return h
	}, query, snapshot, workspace))
	var err error
	if v.at, err, v.more = v.next(); err != nil {
		v.stop()
	}
	return v, err
}

// end makes a version hold no more.
func (v *versions) end(version int64) error {
	_, err := v.tx.ExecContext(context.Background(), "UPDATE "+v.table+" SET until = ? WHERE version = ?", v.snapshot, version)
	return err
}

// pass ends the versions of rows that did not come before one with an id, or of all.
func (v *versions) pass(id string, all bool) (err error) {
	for v.more && (all || v.at.row[0].(string) < id) && err == nil {
		if err = v.end(v.at.version); err == nil {
			v.at, err, v.more = v.next()
		}
	}
	return err
}

// take gives what holds of the row that came; nil: nothing. Ids that do not ascend
// strictly are refused.
func (v *versions) take(what, id string) (held *heldRow, err error) {
	if v.some && id <= v.last {
		return nil, badCapture(fmt.Sprintf("%s %q", what, id), fmt.Errorf("does not come after %q", v.last))
	}
	v.last, v.some = id, true
	if err := v.pass(id, false); err != nil {
		return nil, err
	}
	if v.more && v.at.row[0] == id {
		held = new(v.at)
		v.at, err, v.more = v.next()
	}
	return held, err
}

// finish ends what did not come and stores what is left.
func (v *versions) finish() error {
	if err := v.pass("", true); err != nil {
		return err
	}
	return v.insert.Flush()
}

// savePrincipals stores the rows of the principals section.
func (db *DB) savePrincipals(ctx context.Context, tx *sqlite.Tx, workspace, snapshot int64, list []engine.Principal, digest *digester) error {
	v, err := db.versions(ctx, tx, workspace, snapshot, "principal_version", "version, workspace_key, since, "+principalColumns,
		`SELECT version, 0, NULL, `+principalColumns+` FROM principal_version WHERE workspace_key = ?2 AND until IS NULL ORDER BY principal_id`, principalWidth, 3)
	if err != nil {
		return err
	}
	defer v.stop()
	for _, p := range list {
		if p.Raw, err = canonicalRaw(p.Raw, "principal "+p.ID); err != nil {
			return err
		}
		held, err := v.take("principal", p.ID)
		if err := cmp.Or(ctx.Err(), err); err != nil {
			return err
		}
		digest.principal(p)
		row := encodePrincipal(p)
		if held != nil {
			if slices.Equal(held.row, row) {
				continue
			}
			if err := v.end(held.version); err != nil {
				return err
			}
		}
		if err := v.insert.Add(append([]any{v.free, workspace, snapshot}, row...)...); err != nil {
			return err
		}
		v.free++
	}
	return v.finish()
}

// saveTokens stores the rows of the tokens section, and says how many there were.
func (db *DB) saveTokens(ctx context.Context, tx *sqlite.Tx, workspace, snapshot int64, list iter.Seq2[engine.Token, error], digest *digester) (stored int, err error) {
	v, err := db.versions(ctx, tx, workspace, snapshot, "token_version", "version, token_key, workspace_key, since, "+tokenColumns,
		`SELECT v.version, v.token_key, `+useIn(1)+`, `+tokenColumns+`
		FROM token_version v WHERE v.workspace_key = ?2 AND v.until IS NULL ORDER BY v.token_id`, tokenWidth, 4)
	if err != nil {
		return 0, err
	}
	defer v.stop()
	uses := sqlite.NewBatch(tx, "INSERT INTO token_use (token_key, since, day, ms)", 4)
	shapes, err := readShapes(ctx, tx)
	if err != nil {
		return 0, err
	}
	var known bool // the workspace had tokens before
	if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM token_version WHERE workspace_key = ?)", workspace).Scan(&known); err != nil {
		return 0, err
	}
	type shapedToken struct { // with its raw row in canonical form, and that row's shape
		engine.Token
		shape string
	}
	shaped := func(yield func(shapedToken, error) bool) {
		for t, err := range list {
			row := shapedToken{Token: t}
			if err != nil {
				err = fmt.Errorf("read tokens: %w", err)
			} else if row.Raw, err = canonicalRaw(t.Raw, "token "+t.ID); err == nil {
				row.shape = shapeOf(&row.Token)
			}
			if !yield(row, cmp.Or(ctx.Err(), err)) {
				return
			}
		}
	}
	for t, err := range ahead(shaped) {
		if err != nil {
			return 0, err
		}
		held, err := v.take("token", t.ID)
		if err != nil {
			return 0, err
		}
		digest.token(&t.Token)
		stored++
		shape, own, err := shapes.refer(ctx, tx, t.shape)
		if err != nil {
			return 0, err
		}
		row := encodeToken(&t.Token, shape, own)
		if held == nil || !slices.Equal(held.row, row) {
			if held != nil {
				err = v.end(held.version)
			} else if held = (&heldRow{key: v.free}); known { // it may have been gone, and come back
				_, err = sqlite.First(context.Background(), tx, `SELECT v.token_key, (SELECT u.day * 86400000 + coalesce(u.ms, 0) FROM token_use u
					WHERE u.token_key = v.token_key ORDER BY u.since DESC LIMIT 1)
					FROM token_version v WHERE v.workspace_key = ? AND v.token_id = ? ORDER BY v.since DESC LIMIT 1`, []any{workspace, t.ID}, &held.key, &held.lastUsed)
			}
			if err != nil {
				return 0, err
			}
			if err := v.insert.Add(append([]any{v.free, held.key, workspace, snapshot}, row...)...); err != nil {
				return 0, err
			}
			v.free++
		}
		if equal(held.lastUsed, t.LastUsed) {
			continue
		}
		day, ms := lastUse(t.LastUsed)
		if err := uses.Add(held.key, snapshot, day, ms); err != nil {
			return 0, err
		}
	}
	return stored, cmp.Or(v.finish(), uses.Flush())
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
