package store

import (
	"context"
	"time"

	"patrol/engine"
)

// fix takes note of a finding that is fixed. Beyond a number of them the first
// sight is not looked for: the time to fix is then a lower bound.
func (t *trend) fix(fingerprint string, severity engine.Severity, workspace, since int64) {
	if len(t.fixed) < trendFollowed {
		t.fixed[fingerprint] = &fix{severity: severity, since: since, now: workspace, open: true}
		return
	}
	if t.unfollowed == nil {
		t.unfollowed = map[engine.Severity]fixSum{}
	}
	sum := t.unfollowed[severity]
	sum.add(t.lasted(since), true)
	t.unfollowed[severity] = sum
}

func (s *fixSum) add(lasted time.Duration, least bool) {
	s.count++
	s.total += lasted
	s.least = s.least || least
}

func (t *trend) lasted(since int64) time.Duration {
	return max(0, t.report.AsOf.Sub(time.UnixMilli(since)))
}

// follow looks for the first sight of what is fixed, snapshot by snapshot, as
// long as a finding was there without a break.
func (t *trend) follow(ctx context.Context) error {
	rows := 0
	for range trendDepth {
		groups, err := t.stepBack(ctx)
		if err != nil || len(groups) == 0 {
			return err
		}
		sighted := map[string]bool{}
		for _, evaluation := range engine.SortedKeys(groups) {
			if err := t.sight(ctx, evaluation, groups[evaluation], sighted, &rows); err != nil {
				return err
			}
		}
		if t.settle(sighted) == 0 || rows >= trendRows {
			return nil
		}
	}
	return nil
}

// stepBack goes to the snapshot before of each workspace. Where there is none,
// the history of its findings is complete.
func (t *trend) stepBack(ctx context.Context) (map[int64]map[int64]earlier, error) {
	open := map[int64]bool{}
	for _, f := range t.fixed {
		open[f.now] = open[f.now] || f.open
	}
	groups := map[int64]map[int64]earlier{}
	for i, path := range t.paths {
		if !open[path.now] {
			continue
		}
		e, ok, err := t.earlier(ctx, path.snapshot)
		if err != nil {
			return nil, err
		}
		if !ok {
			t.close(path.now)
			continue
		}
		e.now = path.now
		t.paths[i] = e
		if groups[e.evaluation] == nil {
			groups[e.evaluation] = map[int64]earlier{}
		}
		groups[e.evaluation][e.place] = e
	}
	return groups, nil
}

func (t *trend) close(workspace int64) {
	for _, f := range t.fixed {
		if f.now == workspace {
			f.open = false
		}
	}
}

// sight looks for fixed findings in an earlier evaluation.
func (t *trend) sight(ctx context.Context, evaluation int64, workspaces map[int64]earlier, sighted map[string]bool, rows *int) error {
	for row, err := range t.seen(ctx, seenColumns, evaluation) {
		if err != nil {
			return err
		}
		*rows++
		e, compared := workspaces[row.workspace]
		f := t.fixed[row.fingerprint]
		if !compared || f == nil || !f.open || f.now != e.now || row.status != engine.Fail {
			continue
		}
		f.since = min(f.since, e.asOf)
		sighted[row.fingerprint] = true
	}
	return nil
}

// settle ends the search for what was not there, and counts what is left.
func (t *trend) settle(sighted map[string]bool) (left int) {
	for fingerprint, f := range t.fixed {
		f.open = f.open && sighted[fingerprint]
		if f.open {
			left++
		}
	}
	return left
}

func (t *trend) sumFixes() {
	sums := t.unfollowed
	if sums == nil {
		sums = map[engine.Severity]fixSum{}
	}
	for _, f := range t.fixed {
		sum := sums[f.severity]
		sum.add(t.lasted(f.since), f.open)
		sums[f.severity] = sum
	}
	for severity, sum := range sums {
		t.result.Fixes[severity] = engine.Fix{Count: sum.count, Mean: sum.total / time.Duration(sum.count), AtLeast: sum.least}
	}
}
