package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"patrol/engine"
	"patrol/engine/sqlite"
)

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
