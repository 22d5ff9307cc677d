package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const seenQuery = `SELECT policy, workspace, rank, fingerprint, status, resource FROM finding WHERE evaluation_id = ?`

// trend compares an evaluation with what its policies said of the workspaces
// before. It is nil where no snapshot before was judged. Later evaluations than
// this one never count, so that a report stays as it is.
//
// Each finding is looked up among those of the verdict before; what nobody looked up
// there is gone, unless the policy could not judge the workspace at all now.
func (db *DB) trend(ctx context.Context, evaluation int64, r engine.Report, policies []engine.Policy) (*engine.Trend, error) {
	t := &engine.Trend{Counts: map[engine.Change]map[engine.Severity]int{}, Fixes: map[engine.Severity]engine.Fix{}}
	verdicts, err := db.verdictsBefore(ctx, evaluation, r, policies, t)
	if err != nil || t.Workspaces == 0 {
		return nil, err
	}
	before := map[int64]*earlier{}
	for _, v := range verdicts {
		if v != nil && before[v.evaluation] == nil {
			if before[v.evaluation], err = db.earlier(ctx, v.evaluation); err != nil {
				return nil, err
			}
		}
	}
	count := func(change engine.Change, severity engine.Severity) {
		if change == "" {
			return
		}
		if t.Counts[change] == nil {
			t.Counts[change] = map[engine.Severity]int{}
		}
		t.Counts[change][severity]++
	}
	unjudged := map[pair]bool{} // the workspace as a whole: its findings are not gone, only unseen
	var worst []newFinding      // of those that are new or worse
	for c, err := range sqlite.Scan(ctx, db.q, seenQuery, evaluation) {
		if err != nil {
			return nil, err
		}
		at := pair{c.Int(), c.Int()}
		rank, fingerprint := c.Int(), decodeFingerprint(c)
		now := &engine.Seen{Status: engine.Status(c.Text()), Severity: severityAt(rank)}
		if engine.Resource(c.Text()) == engine.ResourceWorkspace && (now.Status == engine.Unknown || now.Status == engine.Errored) {
			unjudged[at] = true
		}
		if c.Err != nil {
			return nil, c.Err
		}
		last, takesPart := verdicts[at]
		switch {
		case !takesPart:
			continue
		case last == nil:
			if now.Status == engine.Fail {
				count(engine.ChangeUnsure, now.Severity)
			}
			continue
		}
		var was *engine.Seen
		if f := before[last.evaluation].find(last, fingerprint); f != nil {
			f.seen = true
			was = before[last.evaluation].lastJudged(f)
		}
		change := engine.CompareSeen(was, now)
		count(change, now.Severity)
		if change == engine.ChangeNew || change == engine.ChangeWorse {
			n := newFinding{rank, at, fingerprint}
			if i, _ := slices.BinarySearchFunc(worst, n, newFinding.compare); i < engine.TrendShown {
				worst = slices.Insert(worst, i, n)
				worst = worst[:min(len(worst), engine.TrendShown)]
			}
		}
	}
	lasted := map[engine.Severity]time.Duration{}
	for at, last := range verdicts {
		if last == nil {
			continue
		}
		of := before[last.evaluation]
		for _, f := range of.findings[pair{last.policy, last.workspace}] {
			if f.seen {
				continue
			}
			was := of.lastJudged(&f)
			var now *engine.Seen
			if unjudged[at] {
				now = &engine.Seen{Status: engine.Unknown, Severity: was.Severity}
			}
			change := engine.CompareSeen(was, now)
			count(change, was.Severity)
			if change != engine.ChangeFixed {
				continue
			}
			from := last.asOf // where its beginning was not stored, it lasted at least from the verdict
			if f.moment > 0 {
				from = of.moments[f.moment-1]
			}
			lasted[was.Severity] += max(0, r.AsOf.Sub(time.UnixMilli(from)))
			fix := t.Fixes[was.Severity]
			t.Fixes[was.Severity] = engine.Fix{Count: fix.Count + 1, AtLeast: fix.AtLeast || f.moment == 0}
		}
	}
	for severity, fix := range t.Fixes {
		fix.Mean = lasted[severity] / time.Duration(fix.Count)
		t.Fixes[severity] = fix
	}
	for _, n := range worst {
		f, err := db.findingOf(ctx, evaluation, n, r.Workspaces, policies)
		if err != nil {
			return nil, err
		}
		t.New = append(t.New, f)
	}
	return t, nil
}

// verdictsBefore finds what each policy in each workspace is compared with; nil where
// it never came to a verdict before. Those that did not run now are left out. It fills
// in since when, and how many workspaces were judged before.
func (db *DB) verdictsBefore(ctx context.Context, evaluation int64, r engine.Report, policies []engine.Policy, t *engine.Trend) (map[pair]*verdict, error) {
	const newestQuery = `SELECT s.id, e.as_of_ms
	FROM snapshot s JOIN evaluation_workspace w ON w.snapshot_id = s.id JOIN evaluation e ON e.id = w.evaluation_id
	WHERE s.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND s.id < ?1 AND e.id < ?2 AND e.as_of_ms <= ?3 AND e.what_if = ''
	ORDER BY s.id DESC, e.narrowed, e.id LIMIT 1`
	verdicts := map[pair]*verdict{}
	for place, w := range r.Workspaces {
		var newest, asOf int64 // the newest snapshot before that was judged, and as of when
		err := db.q.QueryRowContext(ctx, newestQuery, w.Snapshot.ID, evaluation, r.AsOf.UnixMilli()).Scan(&newest, &asOf)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t.Workspaces++
		if at := time.UnixMilli(asOf).UTC(); at.After(t.Since) {
			t.Since = at
		}
		for policy, p := range policies {
			if !takesPart(w, p) {
				continue
			}
			last, err := verdictBefore(ctx, db.q, evaluation, w.Snapshot.ID, r.AsOf.UnixMilli(), p)
			if err != nil {
				return nil, err
			}
			verdicts[pair{int64(policy), int64(place)}] = last
			if last == nil || last.snapshot == newest {
				continue
			}
			if at := time.UnixMilli(last.asOf).UTC(); t.Earliest.IsZero() || at.Before(t.Earliest) {
				t.Earliest = at
			}
		}
	}
	return verdicts, nil
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

// newFinding is a finding that is new or worse: the order of its members is that of
// reports, as far as a fingerprint tells.
type newFinding struct {
	rank        int64
	at          pair
	fingerprint string
}

func (n newFinding) compare(o newFinding) int {
	return cmp.Or(cmp.Compare(n.rank, o.rank), cmp.Compare(n.at.policy, o.at.policy), cmp.Compare(n.at.workspace, o.at.workspace), cmp.Compare(n.fingerprint, o.fingerprint))
}

func (db *DB) findingOf(ctx context.Context, evaluation int64, n newFinding, workspaces []engine.WorkspaceReport, policies []engine.Policy) (engine.Finding, error) {
	const query = findingSelect + findingFrom + `WHERE f.evaluation_id = ? AND f.rank = ? AND f.policy = ? AND f.workspace = ? AND f.fingerprint = ?`
	for c, err := range sqlite.Scan(ctx, db.q, query, evaluation, n.rank, n.at.policy, n.at.workspace, encodeFingerprint(n.fingerprint)) {
		if err != nil {
			return engine.Finding{}, err
		}
		return readFinding(c, workspaces, policies)
	}
	return engine.Finding{}, fmt.Errorf("the finding %s, just read, is gone", n.fingerprint)
}
