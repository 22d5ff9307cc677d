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
	s := saver{ctx: ctx, db: db, tx: tx, capture: c, digest: newDigester(digestVersion)}
	if err := s.save(); err != nil {
		return engine.Snapshot{}, sqlite.Failure(opSave, db.Path, sqlite.Cause(ctx, err))
	}
	if err := tx.Commit(); err != nil {
		return engine.Snapshot{}, sqlite.Failure(opSave, db.Path, sqlite.Cause(ctx, err))
	}
	return s.snapshot, nil
}

// saver is one SaveSnapshot at work.
type saver struct {
	ctx       context.Context
	db        *DB
	tx        *sqlite.Tx
	capture   engine.Capture
	snapshot  engine.Snapshot
	workspace int64
	digest    *digester
}

func (s *saver) save() error {
	for _, step := range []func() error{s.describe, s.identify, s.chain, s.header, s.sections, s.principals, s.tokens, s.activity, s.seal} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// describe makes the snapshot as it will be read back.
func (s *saver) describe() error {
	s.snapshot = engine.Snapshot{
		Workspace:     s.capture.Workspace,
		DigestVersion: s.digest.version,
		CollectedAt:   time.UnixMilli(s.capture.CollectedAt.UnixMilli()).UTC(),
		Coverage:      map[engine.SectionName]engine.Coverage{},
		Documents:     map[engine.SectionName]json.RawMessage{},
	}
	for _, name := range engine.SortedKeys(s.capture.Sections) {
		section := s.capture.Sections[name]
		s.snapshot.Coverage[name] = section.Coverage
		if section.Document == nil || !section.Coverage.Usable() {
			continue
		}
		text, err := canonical(section.Document)
		if err != nil {
			return badCapture("section "+string(name), err)
		}
		s.snapshot.Documents[name] = json.RawMessage(text)
	}
	return nil
}

const unidentified = "unidentified:"

// identify finds the id of a workspace that could not tell it, from earlier
// snapshots with the same name and host.
func (s *saver) identify() error {
	w := &s.snapshot.Workspace
	if w.ID == "" {
		id, err := s.knownID(w.Name, w.Host)
		if err != nil {
			return err
		}
		w.ID = id
	}
	if _, err := s.exec(`INSERT INTO workspace (workspace_id) VALUES (?) ON CONFLICT DO NOTHING`, w.ID); err != nil {
		return err
	}
	return s.tx.QueryRowContext(s.ctx, `SELECT key FROM workspace WHERE workspace_id = ?`, w.ID).Scan(&s.workspace)
}

func (s *saver) knownID(name, host string) (id string, err error) {
	err = s.tx.QueryRowContext(s.ctx, `SELECT w.workspace_id FROM snapshot s JOIN workspace w ON w.key = s.workspace_key
		WHERE s.name = ? AND s.host = ? AND w.workspace_id NOT LIKE 'unidentified:%' ORDER BY s.id DESC LIMIT 1`, name, host).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return unidentified + name, nil
	}
	return id, err
}

// chain finds the digest of the workspace's snapshot before.
func (s *saver) chain() error {
	err := s.tx.QueryRowContext(s.ctx, `SELECT digest FROM snapshot WHERE workspace_key = ? ORDER BY id DESC LIMIT 1`, s.workspace).Scan(&s.snapshot.Previous)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func (s *saver) header() error {
	w := s.snapshot.Workspace
	labels, err := encodeLabels(w.Labels)
	if err != nil {
		return err
	}
	result, err := s.exec(`INSERT INTO snapshot (workspace_key, name, host, cloud, labels, collected_ms, tokens, previous, digest, digest_version)
		VALUES (?, ?, ?, ?, ?, ?, 0, ?, '', ?)`,
		s.workspace, w.Name, w.Host, w.Cloud, labels, s.snapshot.CollectedAt.UnixMilli(), s.snapshot.Previous, s.digest.version)
	if err != nil {
		return err
	}
	s.snapshot.ID, err = result.LastInsertId()
	s.digest.header(s.snapshot)
	return err
}

func (s *saver) sections() error {
	for _, name := range engine.SortedKeys(s.snapshot.Coverage) {
		document, err := saveDocument(s.ctx, s.tx, s.snapshot.Documents[name])
		if err != nil {
			return err
		}
		c := s.snapshot.Coverage[name]
		_, err = s.exec(`INSERT INTO section (snapshot_id, name, status, reason, detail, hint, count, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			s.snapshot.ID, string(name), string(c.Status), c.Reason, c.Detail, c.Hint, c.Count, document)
		if err != nil {
			return err
		}
	}
	return nil
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

// seal writes what is known only when all rows were read.
func (s *saver) seal() error {
	s.snapshot.Digest = s.digest.hex()
	_, err := s.exec(`UPDATE snapshot SET digest = ?, tokens = ? WHERE id = ?`, s.snapshot.Digest, s.snapshot.Tokens, s.snapshot.ID)
	return err
}

func documentDigest(body json.RawMessage) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func (s *saver) exec(query string, args ...any) (sql.Result, error) {
	return s.tx.ExecContext(s.ctx, query, args...)
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
