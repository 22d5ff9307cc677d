package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opSave = "save snapshot"

// SaveSnapshot stores a capture as one immutable snapshot, in one transaction:
// on any error nothing of it is stored. Principals and tokens must ascend
// strictly by id. Memory does not grow with the number of tokens.
func (db *DB) SaveSnapshot(ctx context.Context, c engine.Capture) (engine.Snapshot, error) {
	tx, err := db.Begin(ctx)
	if err != nil {
		return engine.Snapshot{}, sqlite.Failure(opSave, db.Path, err)
	}
	defer tx.Rollback()
	s, err := db.save(ctx, tx, c, newDigester(digestVersion))
	if err != nil {
		return engine.Snapshot{}, sqlite.Failure(opSave, db.Path, sqlite.Cause(ctx, err))
	}
	if err := tx.Commit(); err != nil {
		return engine.Snapshot{}, sqlite.Failure(opSave, db.Path, sqlite.Cause(ctx, err))
	}
	return s, nil
}

// save stores a capture within a transaction, and seals it with a digest that has
// nothing in it yet.
func (db *DB) save(ctx context.Context, tx *sqlite.Tx, c engine.Capture, digest *digester) (engine.Snapshot, error) {
	s, err := described(c)
	if err != nil {
		return s, err
	}
	s.DigestVersion = digest.version
	w := &s.Workspace
	if w.ID == "" {
		if w.ID, err = knownID(ctx, tx, w.Name, w.Host); err != nil {
			return s, err
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO workspace (workspace_id) VALUES (?) ON CONFLICT DO NOTHING`, w.ID); err != nil {
		return s, err
	}
	var workspace int64
	if err := tx.QueryRowContext(ctx, `SELECT key FROM workspace WHERE workspace_id = ?`, w.ID).Scan(&workspace); err != nil {
		return s, err
	}
	err = tx.QueryRowContext(ctx, `SELECT digest FROM snapshot WHERE workspace_key = ? ORDER BY id DESC LIMIT 1`, workspace).Scan(&s.Previous)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s, err
	}
	labels, err := encodeLabels(w.Labels)
	if err != nil {
		return s, err
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

// described is a capture as the snapshot that will be read back.
func described(c engine.Capture) (engine.Snapshot, error) {
	s := engine.Snapshot{
		Workspace:   c.Workspace,
		CollectedAt: time.UnixMilli(c.CollectedAt.UnixMilli()).UTC(),
		Coverage:    map[engine.SectionName]engine.Coverage{},
		Documents:   map[engine.SectionName]json.RawMessage{},
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
	return s, nil
}

// knownID finds the id of a workspace that could not tell it, from earlier
// snapshots with the same name and host.
func knownID(ctx context.Context, tx *sqlite.Tx, name, host string) (id string, err error) {
	err = tx.QueryRowContext(ctx, `SELECT w.workspace_id FROM snapshot s JOIN workspace w ON w.key = s.workspace_key
		WHERE s.name = ? AND s.host = ? AND w.workspace_id NOT LIKE 'unidentified:%' ORDER BY s.id DESC LIMIT 1`, name, host).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "unidentified:" + name, nil
	}
	return id, err
}

// saveDocument stores a text under its digest, once, and returns the digest.
func saveDocument(ctx context.Context, tx *sqlite.Tx, body json.RawMessage) (digest any, err error) {
	if body == nil {
		return nil, nil
	}
	key := documentDigest(body)
	_, err = tx.ExecContext(ctx, `INSERT INTO document (digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING`, key, string(body))
	return key, err
}

func documentDigest(body json.RawMessage) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func encodeLabels(labels map[string]string) (any, error) {
	if len(labels) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(labels)
	return string(text), err
}

func decodeLabels(text string) (labels map[string]string, err error) {
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &labels); err != nil {
		return nil, fmt.Errorf("stored labels are damaged: %w", err)
	}
	return labels, nil
}
