package store

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"patrol/engine"
	"patrol/engine/sqlite"
)

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

// pair is a policy in a workspace, by their places.
type pair struct{ policy, workspace int64 }

// compare walks the findings of both evaluations side by side, in the order of
// their fingerprints.
func (t *trend) compare(ctx context.Context, before int64, both *both) error {
	const sorted = seenColumns + ` ORDER BY CASE typeof(fingerprint) WHEN 'blob' THEN lower(hex(fingerprint)) ELSE fingerprint END`
	nextOld, stopOld := iter.Pull2(t.seen(ctx, sorted, before))
	defer stopOld()
	nextNew, stopNew := iter.Pull2(t.seen(ctx, sorted, t.evaluation))
	defer stopNew()
	old, errOld, okOld := nextOld()
	new, errNew, okNew := nextNew()
	for okOld || okNew {
		if err := errors.Join(errOld, errNew); err != nil {
			return err
		}
		order := cmp.Compare(old.fingerprint, new.fingerprint)
		oldFirst := okOld && (!okNew || order < 0)
		newFirst := okNew && (!okOld || order > 0)
		switch {
		case oldFirst:
			t.note(both, &old, nil)
		case newFirst:
			t.note(both, nil, &new)
		default:
			t.note(both, &old, &new)
		}
		if !newFirst {
			old, errOld, okOld = nextOld()
		}
		if !oldFirst {
			new, errNew, okNew = nextNew()
		}
	}
	return nil
}

// note classifies a finding that both evaluations, or one of them, list.
func (t *trend) note(b *both, old, new *seenRow) {
	place := pair{}
	known := false
	var before, now *engine.Seen
	if old != nil {
		place, known = b.now[pair{old.policy, old.workspace}]
		before = old.lastJudged()
	}
	if new != nil {
		place = pair{new.policy, new.workspace}
		known, now = b.before[place], new.seen()
	}
	if !known {
		return
	}
	if now == nil && t.unjudged[place] {
		now = &engine.Seen{Status: engine.Unknown, Severity: before.Severity}
	}
	change := engine.CompareSeen(before, now)
	t.count(change, before, now)
	switch change {
	case engine.ChangeNew, engine.ChangeWorse:
		t.remember(*new)
	case engine.ChangeFixed:
		t.fix(before.Severity, old.since, b.asOf)
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
