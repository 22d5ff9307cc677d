package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"patrol/engine"
)

// trend compares an evaluation with what its policies said of the workspaces
// before. It is nil where no snapshot before was judged.
//
// Later evaluations than this one never count, so that a report stays as it is.
func (db *DB) trend(ctx context.Context, evaluation int64, r engine.Report, policies []engine.Policy) (*engine.Trend, error) {
	t := &trend{
		db: db, evaluation: evaluation, report: r, policies: policies, groups: map[int64]*both{}, fixes: map[engine.Severity]fixSum{},
		result: &engine.Trend{Counts: map[engine.Change]map[engine.Severity]int{}, Fixes: map[engine.Severity]engine.Fix{}},
	}
	if err := t.before(ctx); err != nil || t.result.Workspaces == 0 {
		return nil, err
	}
	if err := t.lookForGaps(ctx); err != nil {
		return nil, err
	}
	for _, id := range engine.SortedKeys(t.groups) {
		if err := t.db.IntactEvaluation(ctx, id); err != nil {
			return nil, err
		}
		if err := t.compare(ctx, id, t.groups[id]); err != nil {
			return nil, err
		}
	}
	if err := t.countUnsure(ctx); err != nil {
		return nil, err
	}
	t.sumFixes()
	var err error
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
	groups     map[int64]*both // by the evaluation to compare with
	unsure     map[pair]bool   // run now, and no verdict before
	unjudged   map[pair]bool   // now: the whole workspace
	fixes      map[engine.Severity]fixSum
	news       []seenNow // the worst so far
}

// both tells what two evaluations have in common.
type both struct {
	asOf   int64
	now    map[pair]pair // judged before → in this evaluation
	before map[pair]bool // in this evaluation → judged before
}

// before groups policies and workspaces by the evaluation to compare with.
func (t *trend) before(ctx context.Context) error {
	t.unsure = map[pair]bool{}
	for place, w := range t.report.Workspaces {
		newest, asOf, ok, err := t.earlier(ctx, w.Snapshot.ID)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		t.result.Workspaces++
		if asOf.After(t.result.Since) {
			t.result.Since = asOf
		}
		for policy, p := range t.policies {
			if !takesPart(w, p) {
				continue
			}
			if err := t.place(ctx, pair{int64(policy), int64(place)}, newest); err != nil {
				return err
			}
		}
	}
	return nil
}

// place finds what a policy in a workspace is compared with. newest is the
// snapshot before.
func (t *trend) place(ctx context.Context, at pair, newest int64) error {
	b, ok, err := judgedBefore(ctx, t.db.q, t.evaluation, t.report.Workspaces[at.workspace].Snapshot.ID, t.report.AsOf.UnixMilli(), t.policies[at.policy])
	if err != nil {
		return err
	}
	if !ok {
		t.unsure[at] = true
		return nil
	}
	if moment := time.UnixMilli(b.asOf).UTC(); b.snapshot != newest && (t.result.Earliest.IsZero() || moment.Before(t.result.Earliest)) {
		t.result.Earliest = moment
	}
	if t.groups[b.evaluation] == nil {
		t.groups[b.evaluation] = &both{asOf: b.asOf, now: map[pair]pair{}, before: map[pair]bool{}}
	}
	past := pair{b.policy, b.workspace}
	t.groups[b.evaluation].now[past], t.groups[b.evaluation].before[at] = at, true
	return nil
}

// takesPart reports whether a policy was run on a workspace, with what it needs
// asked for. One that is disabled there has no results; nor has any where there
// is no token.
func takesPart(w engine.WorkspaceReport, p engine.Policy) bool {
	for _, section := range neededSections(p) {
		if coverage, known := w.Snapshot.Coverage[engine.SectionName(section)]; known && !coverage.Requested() {
			return false
		}
	}
	for _, count := range w.Policies[p.ID] {
		if count > 0 {
			return true
		}
	}
	return w.Snapshot.Tokens == 0 && usable(w.Snapshot, engine.SectionTokens)
}

const earlierQuery = `SELECT s.id, e.as_of_ms
	FROM snapshot s JOIN evaluation_workspace w ON w.snapshot_id = s.id JOIN evaluation e ON e.id = w.evaluation_id
	WHERE s.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND s.id < ?1 AND e.id < ?2 AND e.as_of_ms <= ?3 AND e.what_if = ''
	ORDER BY s.id DESC, e.narrowed, e.id LIMIT 1`

// earlier is the newest snapshot of the same workspace before one that was
// judged, and as of when.
func (t *trend) earlier(ctx context.Context, snapshot int64) (id int64, asOf time.Time, ok bool, err error) {
	var ms int64
	err = t.db.q.QueryRowContext(ctx, earlierQuery, snapshot, t.evaluation, t.report.AsOf.UnixMilli()).Scan(&id, &ms)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, time.Time{}, false, nil
	}
	return id, time.UnixMilli(ms).UTC(), err == nil, err
}
