package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opSnapshots = "read snapshots"

const snapshotQuery = `SELECT s.id, w.workspace_id, s.name, s.host, s.cloud, s.labels, s.collected_ms, s.tokens, s.previous, s.digest, s.digest_version
	FROM snapshot s JOIN workspace w ON w.key = s.workspace_key`

// Snapshots lists all snapshots, newest first.
func (db *DB) Snapshots(ctx context.Context) ([]engine.Snapshot, error) {
	return db.snapshots(ctx, ` ORDER BY s.id DESC`)
}

// Snapshot returns one snapshot; the reason of the error is not_found when
// there is none of this id.
func (db *DB) Snapshot(ctx context.Context, id int64) (engine.Snapshot, error) {
	found, err := db.snapshots(ctx, ` WHERE s.id = ?`, id)
	if err != nil {
		return engine.Snapshot{}, err
	}
	if len(found) == 0 {
		return engine.Snapshot{}, sqlite.Missing("read snapshot", strconv.FormatInt(id, 10), "not_found",
			"`patrol snapshots list` shows which there are.", errors.New("does not exist"))
	}
	return found[0], nil
}

// Latest returns the newest snapshot of each workspace, by name, then id. A
// workspace that never told its id is left out once a later snapshot of the
// same name did: they are the same.
func (db *DB) Latest(ctx context.Context) ([]engine.Snapshot, error) {
	return db.snapshotsByName(ctx, `
		WHERE s.id = (SELECT max(x.id) FROM snapshot x WHERE x.workspace_key = s.workspace_key)
		AND NOT (w.workspace_id LIKE 'unidentified:%' AND EXISTS (
			SELECT 1 FROM snapshot y JOIN workspace z ON z.key = y.workspace_key
			WHERE y.name = s.name AND y.id > s.id AND z.workspace_id NOT LIKE 'unidentified:%'))`)
}

// AsOf returns of each workspace the newest snapshot that was taken at a moment
// or before, by name, then id.
func (db *DB) AsOf(ctx context.Context, at time.Time) ([]engine.Snapshot, error) {
	return db.snapshotsByName(ctx, `
		WHERE s.id = (SELECT max(x.id) FROM snapshot x WHERE x.workspace_key = s.workspace_key AND x.collected_ms <= ?)`, at.UnixMilli())
}

// Back returns of each workspace the snapshot that is so many before the newest,
// by name, then id; workspaces that have fewer are left out.
func (db *DB) Back(ctx context.Context, n int) ([]engine.Snapshot, error) {
	return db.snapshotsByName(ctx, `
		WHERE s.id = (SELECT x.id FROM snapshot x WHERE x.workspace_key = s.workspace_key ORDER BY x.id DESC LIMIT 1 OFFSET ?)`, n)
}

func (db *DB) snapshotsByName(ctx context.Context, which string, args ...any) ([]engine.Snapshot, error) {
	found, err := db.snapshots(ctx, which, args...)
	slices.SortFunc(found, byWorkspace)
	return found, err
}

func byWorkspace(a, b engine.Snapshot) int {
	return cmp.Or(strings.Compare(a.Workspace.Name, b.Workspace.Name), strings.Compare(a.Workspace.ID, b.Workspace.ID), cmp.Compare(a.ID, b.ID))
}

// snapshotsByID reads those of some snapshots that are there.
func (db *DB) snapshotsByID(ctx context.Context, ids []int64) (map[int64]engine.Snapshot, error) {
	list, err := db.snapshots(ctx, ` WHERE s.id IN (SELECT value FROM json_each(?))`, string(engine.CompactJSON(ids)))
	found := make(map[int64]engine.Snapshot, len(list))
	for _, s := range list {
		found[s.ID] = s
	}
	return found, err
}

// snapshotsOf reads some snapshots, in their order; the reason of the error is not_found
// where one is not there.
func (db *DB) snapshotsOf(ctx context.Context, ids []int64) ([]engine.Snapshot, error) {
	found, err := db.snapshotsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	list := make([]engine.Snapshot, len(ids))
	for i, id := range ids {
		s, there := found[id]
		if !there {
			_, err := db.Snapshot(ctx, id)
			return nil, err
		}
		list[i] = s
	}
	return list, nil
}

// snapshots reads snapshots with their sections. Documents that several have are read once.
func (db *DB) snapshots(ctx context.Context, which string, args ...any) (found []engine.Snapshot, err error) {
	defer db.explain(opSnapshots, &err)
	if found, err = sqlite.List(ctx, db.q, readSnapshot, snapshotQuery+which, args...); err != nil {
		return nil, err
	}
	const sections = ` FROM json_each(?) j JOIN section s ON s.snapshot_id = j.value`
	list, places := make([]int64, len(found)), map[int64]int{}
	for i, s := range found {
		list[i], places[s.ID] = s.ID, i
	}
	ids := string(engine.CompactJSON(list))
	documents := map[string]json.RawMessage{} // by digest
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT digest, body FROM document WHERE digest IN (SELECT s.document`+sections+`)`, ids) {
		if err != nil {
			return nil, err
		}
		digest := c.Text()
		documents[digest] = json.RawMessage(c.Text())
	}
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT s.snapshot_id, s.name, s.status, s.reason, s.detail, s.hint, s.count, s.document`+sections, ids) {
		if err != nil {
			return nil, err
		}
		s, name := &found[places[c.Int()]], engine.SectionName(c.Text())
		s.Coverage[name] = engine.Coverage{
			Status: engine.CoverageStatus(c.Text()), Reason: c.Text(), Detail: c.Text(), Hint: c.Text(), Count: int(c.Int()),
		}
		digest := c.TextOrNull()
		if digest == "" {
			continue
		}
		if s.Documents[name] = documents[digest]; len(documents[digest]) == 0 {
			return nil, fmt.Errorf("document of section %s of snapshot %d is gone", name, s.ID)
		}
	}
	return found, nil
}

func readSnapshot(c *sqlite.Row) engine.Snapshot {
	s := engine.Snapshot{ID: c.Int(), Coverage: map[engine.SectionName]engine.Coverage{}, Documents: map[engine.SectionName]json.RawMessage{}}
	s.Workspace = engine.Workspace{ID: c.Text(), Name: c.Text(), Host: c.Text(), Cloud: c.Text()}
	if labels := c.TextOrNull(); labels != "" {
		if err := json.Unmarshal([]byte(labels), &s.Workspace.Labels); err != nil {
			c.Fail(fmt.Errorf("stored labels are damaged: %w", err))
		}
	}
	s.CollectedAt = time.UnixMilli(c.Int()).UTC()
	s.Tokens = int(c.Int())
	s.Previous, s.Digest, s.DigestVersion = c.Text(), c.Text(), int(c.Int())
	return s
}

// usable reports whether a section of a snapshot has rows. Nothing else may
// decide that: versions hold on through snapshots that did not read them.
func usable(s engine.Snapshot, name engine.SectionName) bool { return s.Coverage[name].Usable() }

// PreviousState returns settings and grants as the last snapshots of the same
// workspace before s had them that read them whole; nil when there are none.
func (db *DB) PreviousState(ctx context.Context, s engine.Snapshot) (_ *engine.State, err error) {
	defer db.explain(opSnapshots, &err)
	state := &engine.State{}
	query := `SELECT x.collected_ms, d.body, d.digest, x.id FROM section c JOIN document d ON d.digest = c.document JOIN snapshot x ON x.id = c.snapshot_id
		WHERE c.name = ?2 AND c.snapshot_id = (SELECT max(p.snapshot_id) FROM snapshot z JOIN snapshot q ON q.workspace_key = z.workspace_key AND q.id < z.id
			JOIN section p ON p.snapshot_id = q.id AND p.name = ?2 AND p.status = 'complete' WHERE z.id = ?1)`
	for name, into := range map[engine.SectionName]*engine.Dated{engine.SectionSettings: &state.Settings, engine.SectionGrants: &state.Grants} {
		for c, err := range sqlite.Scan(ctx, db.q, query, s.ID, string(name)) {
			if err != nil {
				return nil, err
			}
			into.At, into.Document = time.UnixMilli(c.Int()).UTC(), json.RawMessage(c.Text())
			digest, from := c.Text(), c.Int()
			if c.Err == nil && engine.TextDigest(string(into.Document)) != digest {
				return nil, mismatch(from, fmt.Errorf("section %s is not what was stored", name))
			}
		}
	}
	if state.Settings.Document == nil && state.Grants.Document == nil {
		return nil, nil
	}
	return state, nil
}
