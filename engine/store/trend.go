package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
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
	asOf   int64         // of the earlier one
	before map[pair]pair // in this evaluation → in the earlier one
}

// before groups policies and workspaces by the evaluation to compare with.
func (t *trend) before(ctx context.Context) error {
	t.unsure = map[pair]bool{}
	for place, w := range t.report.Workspaces {
		newest, asOf, ok, err := t.snapshotBefore(ctx, w.Snapshot.ID)
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
		t.groups[b.evaluation] = &both{asOf: b.asOf, before: map[pair]pair{}}
	}
	t.groups[b.evaluation].before[at] = pair{b.policy, b.workspace}
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

// snapshotBefore is the newest snapshot of the same workspace before one that was
// judged, and as of when.
func (t *trend) snapshotBefore(ctx context.Context, snapshot int64) (id int64, asOf time.Time, ok bool, err error) {
	var ms int64
	err = t.db.q.QueryRowContext(ctx, earlierQuery, snapshot, t.evaluation, t.report.AsOf.UnixMilli()).Scan(&id, &ms)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, time.Time{}, false, nil
	}
	return id, time.UnixMilli(ms).UTC(), err == nil, err
}

// seenRow is a finding, as far as the comparison needs it.
type seenRow struct {
	fingerprint string
	rank        int64
	policy      int64
	workspace   int64
	status      engine.Status
	since       *int64 // ms; nil: not known
}

const seenColumns = `SELECT fingerprint, rank, policy, workspace, status, since_ms FROM finding WHERE evaluation_id = ?`

func (t *trend) seen(ctx context.Context, query string, evaluation int64) iter.Seq2[seenRow, error] {
	return func(yield func(seenRow, error) bool) {
		for c, err := range sqlite.Scan(ctx, t.db.q, query, evaluation) {
			var row seenRow
			if err == nil {
				row = seenRow{fingerprint: decodeFingerprint(c), rank: c.Int(), policy: c.Int(), workspace: c.Int()}
				row.status, row.since = engine.Status(c.Text()), c.IntOrNull()
				err = c.Err
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (r seenRow) seen() *engine.Seen {
	severity := engine.Severity("")
	if known := engine.Severities(); within(r.rank, known) {
		severity = known[r.rank]
	}
	return &engine.Seen{Status: r.status, Severity: severity}
}

// compare looks up each finding of this evaluation among those of the one before;
// what nobody looked up is gone.
func (t *trend) compare(ctx context.Context, id int64, both *both) error {
	before, err := t.db.earlier(ctx, id)
	if err != nil {
		return err
	}
	for row, err := range t.seen(ctx, seenColumns, t.evaluation) {
		if err != nil {
			return err
		}
		at, known := both.before[pair{row.policy, row.workspace}]
		if !known {
			continue
		}
		var old *seenRow
		if f := before.find(at, row.fingerprint); f != nil {
			f.seen = true
			old = t.seenBefore(before, at, f)
		}
		t.note(both.asOf, pair{row.policy, row.workspace}, old, &row)
	}
	for now, at := range both.before {
		for i, f := range before.findings[at] {
			if !f.seen {
				t.note(both.asOf, now, t.seenBefore(before, at, &before.findings[at][i]), nil)
			}
		}
	}
	return nil
}

func (t *trend) seenBefore(of *earlier, at pair, f *earlierFinding) *seenRow {
	row := seenRow{rank: int64(f.rank), policy: at.policy, workspace: at.workspace, status: of.statuses[f.status]}
	if f.moment > 0 {
		row.since = &of.moments[f.moment-1]
	}
	return &row
}

// note classifies a finding that both evaluations, or one of them, list.
func (t *trend) note(asOfBefore int64, place pair, old, found *seenRow) {
	var before, now *engine.Seen
	if old != nil {
		before = old.lastJudged()
	}
	if found != nil {
		now = found.seen()
	}
	if now == nil && t.unjudged[place] {
		now = &engine.Seen{Status: engine.Unknown, Severity: before.Severity}
	}
	change := engine.CompareSeen(before, now)
	t.count(change, before, now)
	switch change {
	case engine.ChangeNew, engine.ChangeWorse:
		t.remember(*found)
	case engine.ChangeFixed:
		t.fix(before.Severity, old.since, asOfBefore)
	}
}

// lastJudged is a finding as its last verdict had it: what could not be judged
// and has a beginning stood when it was judged last.
func (r seenRow) lastJudged() *engine.Seen {
	seen := r.seen()
	if !seen.Status.Judged() && r.since != nil {
		seen.Status = engine.Fail
	}
	return seen
}

func (t *trend) count(change engine.Change, before, now *engine.Seen) {
	if change == "" {
		return
	}
	severity := before
	if now != nil {
		severity = now
	}
	t.add(change, severity.Severity, 1)
}

func (t *trend) add(change engine.Change, severity engine.Severity, n int) {
	if t.result.Counts[change] == nil {
		t.result.Counts[change] = map[engine.Severity]int{}
	}
	t.result.Counts[change][severity] += n
}

// lookForGaps finds what could not be judged for a whole workspace: its
// findings are not gone, only unseen.
func (t *trend) lookForGaps(ctx context.Context) error {
	t.unjudged = map[pair]bool{}
	const query = seenColumns + ` AND resource = 'workspace' AND status IN ('unknown', 'error')`
	for row, err := range t.seen(ctx, query, t.evaluation) {
		if err != nil {
			return err
		}
		t.unjudged[pair{row.policy, row.workspace}] = true
	}
	return nil
}

// countUnsure counts what fails where no verdict was before.
func (t *trend) countUnsure(ctx context.Context) error {
	if len(t.unsure) == 0 {
		return nil
	}
	for row, err := range t.seen(ctx, seenColumns+` AND status = 'fail'`, t.evaluation) {
		if err != nil {
			return err
		}
		if t.unsure[pair{row.policy, row.workspace}] {
			t.add(engine.ChangeUnsure, row.seen().Severity, 1)
		}
	}
	return nil
}

// fixSum adds up how long findings lasted that are fixed now.
type fixSum struct {
	count int
	total time.Duration
	least bool
}

// fix takes note of a finding that is fixed. Where its beginning was not stored
// it lasted at least from the verdict before.
func (t *trend) fix(severity engine.Severity, since *int64, judged int64) {
	from := judged
	if since != nil {
		from = *since
	}
	sum := t.fixes[severity]
	sum.count++
	sum.total += max(0, t.report.AsOf.Sub(time.UnixMilli(from)))
	sum.least = sum.least || since == nil
	t.fixes[severity] = sum
}

func (t *trend) sumFixes() {
	for severity, sum := range t.fixes {
		t.result.Fixes[severity] = engine.Fix{Count: sum.count, Mean: sum.total / time.Duration(sum.count), AtLeast: sum.least}
	}
}

// seenNow is a new finding: the order of its members is that of reports, as far
// as a fingerprint tells.
type seenNow struct {
	rank, policy, workspace int64
	fingerprint             string
}

func compareNew(a, b seenNow) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.policy, b.policy), cmp.Compare(a.workspace, b.workspace), cmp.Compare(a.fingerprint, b.fingerprint))
}

// remember keeps the worst of the new findings.
func (t *trend) remember(row seenRow) {
	n := seenNow{row.rank, row.policy, row.workspace, row.fingerprint}
	i, _ := slices.BinarySearchFunc(t.news, n, compareNew)
	if i >= engine.TrendShown {
		return
	}
	t.news = slices.Insert(t.news, i, n)
	t.news = t.news[:min(len(t.news), engine.TrendShown)]
}

// findings reads what is remembered, in the order of reports.
func (t *trend) findings(ctx context.Context) ([]engine.Finding, error) {
	var list []engine.Finding
	for _, n := range t.news {
		f, err := t.finding(ctx, n)
		if err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

const newFindingQuery = findingSelect + `WHERE f.evaluation_id = ? AND f.rank = ? AND f.policy = ? AND f.workspace = ? AND f.fingerprint = ?`

func (t *trend) finding(ctx context.Context, n seenNow) (engine.Finding, error) {
	for c, err := range sqlite.Scan(ctx, t.db.q, newFindingQuery, t.evaluation, n.rank, n.policy, n.workspace, encodeFingerprint(n.fingerprint)) {
		if err != nil {
			return engine.Finding{}, err
		}
		return readFinding(c, t.report.Workspaces, t.policies)
	}
	return engine.Finding{}, fmt.Errorf("the finding %s, just read, is gone", n.fingerprint)
}
