package store

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"patrol/engine"
)

// seenRow is a finding, as far as the comparison needs it.
type seenRow struct {
	fingerprint string
	rank        int64
	policy      int64
	workspace   int64
	whole       bool // on the workspace
	status      engine.Status
}

const seenColumns = `SELECT fingerprint, rank, policy, workspace, resource, status FROM finding WHERE evaluation_id = ?`

func (t *trend) seen(ctx context.Context, query string, evaluation int64) iter.Seq2[seenRow, error] {
	return func(yield func(seenRow, error) bool) {
		for c, err := range scan(ctx, t.db.sql, query, evaluation) {
			var row seenRow
			if err == nil {
				row = seenRow{fingerprint: decodeFingerprint(c), rank: c.integer(), policy: c.integer(), workspace: c.integer()}
				row.whole = engine.Resource(c.text()) == engine.ResourceWorkspace
				row.status, err = engine.Status(c.text()), c.err
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
func (t *trend) compare(ctx context.Context, before int64, workspaces []earlier) error {
	both, err := t.newBoth(ctx, before, workspaces)
	if err != nil {
		return err
	}
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

// both tells what two evaluations have in common.
type both struct {
	asOf     int64
	now      map[pair]pair // judged before → judged now, too
	before   map[pair]bool // judged now → judged before
	unjudged map[pair]bool // now: the whole workspace
}

func (t *trend) newBoth(ctx context.Context, before int64, workspaces []earlier) (*both, error) {
	h, err := t.db.Evaluation(ctx, before)
	if err != nil {
		return nil, err
	}
	judgedThen, err := t.judged(ctx, before, h.Snapshots)
	if err != nil {
		return nil, err
	}
	judgedNow, err := t.judged(ctx, t.evaluation, snapshotIDs(t.report))
	if err != nil {
		return nil, err
	}
	b := &both{asOf: h.AsOf.UnixMilli(), now: map[pair]pair{}, before: map[pair]bool{}, unjudged: map[pair]bool{}}
	for place, policy := range t.policies {
		then := slices.IndexFunc(h.Policies, func(p engine.Policy) bool { return p.ID == policy.ID })
		for _, w := range workspaces {
			past, present := pair{int64(then), w.place}, pair{int64(place), w.now}
			if then >= 0 && judgedThen(past) && judgedNow(present) {
				b.now[past], b.before[present] = present, true
			}
		}
	}
	return b, t.lookForGaps(ctx, b)
}

func snapshotIDs(r engine.Report) []int64 {
	ids := make([]int64, len(r.Workspaces))
	for i, w := range r.Workspaces {
		ids[i] = w.Snapshot.ID
	}
	return ids
}

// judged tells whether a policy was run in a workspace. One that is disabled
// there has no results; nor has any where there is no token.
func (t *trend) judged(ctx context.Context, evaluation int64, snapshots []int64) (func(pair) bool, error) {
	results, empty := map[pair]bool{}, map[int64]bool{}
	for c, err := range scan(ctx, t.db.sql, `SELECT policy, workspace FROM tally WHERE evaluation_id = ? AND count > 0`, evaluation) {
		if err != nil {
			return nil, err
		}
		results[pair{c.integer(), c.integer()}] = true
	}
	for place, id := range snapshots {
		s, err := t.db.Snapshot(ctx, id)
		if err != nil {
			return nil, err
		}
		empty[int64(place)] = s.Tokens == 0 && usable(s, engine.SectionTokens)
	}
	return func(p pair) bool { return results[p] || empty[p.workspace] }, nil
}

// lookForGaps finds what could not be judged for a whole workspace: its
// findings are not gone, only unseen.
func (t *trend) lookForGaps(ctx context.Context, b *both) error {
	const query = seenColumns + ` AND resource = 'workspace' AND status IN ('unknown', 'error')`
	for row, err := range t.seen(ctx, query, t.evaluation) {
		if err != nil {
			return err
		}
		b.unjudged[pair{row.policy, row.workspace}] = true
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
		before = old.seen()
	}
	if new != nil {
		place = pair{new.policy, new.workspace}
		known, now = b.before[place], new.seen()
	}
	if !known {
		return
	}
	if now == nil && b.unjudged[place] {
		now = &engine.Seen{Status: engine.Unknown, Severity: before.Severity}
	}
	t.count(engine.CompareSeen(before, now), before, now)
	switch engine.CompareSeen(before, now) {
	case engine.ChangeNew, engine.ChangeWorse:
		t.remember(*new)
	case engine.ChangeFixed:
		t.fix(old.fingerprint, before.Severity, place.workspace, b.asOf)
	}
}

func (t *trend) count(change engine.Change, before, now *engine.Seen) {
	if change == "" {
		return
	}
	severity := before
	if now != nil {
		severity = now
	}
	if t.result.Counts[change] == nil {
		t.result.Counts[change] = map[engine.Severity]int{}
	}
	t.result.Counts[change][severity.Severity]++
}
