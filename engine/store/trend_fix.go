package store

import (
	"time"

	"patrol/engine"
)

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
