package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"patrol/engine"
)

// How far back the first sight of a finding is followed that is fixed now.
const (
	trendDepth    = 60        // snapshots
	trendRows     = 2_000_000 // findings read
	trendFollowed = 100_000   // findings followed
)

// trend compares an evaluation with those of the workspaces' snapshots before.
// It is nil where there are none.
//
// Of the evaluations of a snapshot before, the first that was not narrowed
// counts: what somebody tried later on the same snapshot does not change what
// an audit says. Later evaluations than this one never count, so that a report
// stays as it is.
func (db *DB) trend(ctx context.Context, evaluation int64, r engine.Report, policies []engine.Policy) (*engine.Trend, error) {
	t := &trend{
		db: db, evaluation: evaluation, report: r, policies: policies,
		result: &engine.Trend{Counts: map[engine.Change]map[engine.Severity]int{}, Fixes: map[engine.Severity]engine.Fix{}},
		fixed:  map[string]*fix{},
	}
	before, err := t.before(ctx)
	if err != nil || len(before) == 0 {
		return nil, err
	}
	for _, id := range engine.SortedKeys(before) {
		if err := t.compare(ctx, id, before[id]); err != nil {
			return nil, err
		}
	}
	if err := t.follow(ctx); err != nil {
		return nil, err
	}
	t.sumFixes()
	t.result.New, err = t.findings(ctx)
	return t.result, err
}

// trend is a comparison in the making.
type trend struct {
	db         *DB
	evaluation int64
	report     engine.Report
	policies   []engine.Policy // by place
	result     *engine.Trend
	fixed      map[string]*fix // by fingerprint
	unfollowed map[engine.Severity]fixSum
	paths      []earlier // of each workspace compared
	news       []seenNow // the worst so far
}

// earlier is a workspace's place in an evaluation of a snapshot before.
type earlier struct {
	evaluation int64
	place      int64 // there
	now        int64 // its place in the evaluation compared
	snapshot   int64
	asOf       int64
}

// fix is a finding that is fixed now.
type fix struct {
	severity engine.Severity
	since    int64 // ms: when it was first seen
	now      int64 // place of its workspace
	open     bool  // its history was not yet followed to its beginning
}

type fixSum struct {
	count int
	total time.Duration
	least bool
}

// before groups the workspaces by the evaluation to compare with.
func (t *trend) before(ctx context.Context) (map[int64][]earlier, error) {
	groups := map[int64][]earlier{}
	for place, w := range t.report.Workspaces {
		e, ok, err := t.earlier(ctx, w.Snapshot.ID)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		e.now = int64(place)
		groups[e.evaluation] = append(groups[e.evaluation], e)
		t.paths = append(t.paths, e)
		t.result.Workspaces++
		if at := time.UnixMilli(e.asOf).UTC(); at.After(t.result.Since) {
			t.result.Since = at
		}
	}
	return groups, nil
}

const earlierQuery = `SELECT w.evaluation_id, w.place, w.snapshot_id, e.as_of_ms
	FROM snapshot s JOIN evaluation_workspace w ON w.snapshot_id = s.id JOIN evaluation e ON e.id = w.evaluation_id
	WHERE s.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND s.id < ?1 AND e.id < ?2
	ORDER BY s.id DESC, e.narrowed, e.id LIMIT 1`

func (t *trend) earlier(ctx context.Context, snapshot int64) (e earlier, ok bool, err error) {
	err = t.db.sql.QueryRowContext(ctx, earlierQuery, snapshot, t.evaluation).Scan(&e.evaluation, &e.place, &e.snapshot, &e.asOf)
	if errors.Is(err, sql.ErrNoRows) {
		return e, false, nil
	}
	return e, err == nil, err
}
