package plan

import (
	"fmt"

	"patrol/engine"
)

const (
	riskLow    = "low"
	riskMedium = "medium"
	riskHigh   = "high"
)

// longIdleDays is how long a token must have lain still for its end to surprise
// nobody: a month covers what runs at the end of each.
const longIdleDays = 35

// tokenRisk tells what a step on a token could break.
func (b *builder) tokenRisk(action engine.Action, s engine.Subject) engine.Risk {
	r := engine.Risk{IdleDays: s.Facts.IdleDays, RecentlyUsed: b.recentlyUsed(s)}
	r.Level, r.Why = riskOf(action, r, s.Facts)
	return r
}

// recentlyUsed holds as well for a token of which the last use is not known.
func (b *builder) recentlyUsed(s engine.Subject) bool {
	if s.Facts.Used == nil {
		return true
	}
	return *s.Facts.Used && (s.Facts.IdleDays == nil || *s.Facts.IdleDays <= b.in.Config.Limits.RecentlyUsedDays)
}

func riskOf(action engine.Action, r engine.Risk, f engine.Facts) (level, why string) {
	switch {
	case !action.Changes():
		return riskLow, "changes nothing"
	case action == engine.SetComment:
		return riskLow, "changes the comment only"
	case f.Expired != nil && *f.Expired:
		return riskLow, "expired already"
	case f.Used != nil && !*f.Used:
		return riskLow, "never used"
	case f.Used == nil || f.IdleDays == nil:
		return riskHigh, "last use unknown"
	case action == engine.NarrowScopes:
		return riskMedium, usedAgo(*f.IdleDays)
	case r.RecentlyUsed:
		return riskHigh, usedAgo(*f.IdleDays)
	case *f.IdleDays < longIdleDays:
		return riskMedium, usedAgo(*f.IdleDays)
	}
	return riskLow, usedAgo(*f.IdleDays)
}

func usedAgo(days int64) string {
	switch days {
	case 0:
		return "used today"
	case 1:
		return "used yesterday"
	}
	return fmt.Sprintf("used %d days ago", days)
}
