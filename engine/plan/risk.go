package plan

import (
	"fmt"

	"patrol/engine"
	"patrol/engine/remedy"
)

// longIdleDays is how long a token must have lain still for its end to surprise
// nobody: a month covers what runs at the end of each.
const longIdleDays = 35

// tokenRisk tells what a step on a token could break.
func (b *builder) tokenRisk(r remedy.Remedy, s engine.Subject) engine.Risk {
	risk := engine.Risk{IdleDays: s.Facts.IdleDays, RecentlyUsed: b.recentlyUsed(s)}
	risk.Level, risk.Why = riskOf(r, risk, s.Facts)
	return risk
}

// recentlyUsed holds as well for a token of which the last use is not known.
func (b *builder) recentlyUsed(s engine.Subject) bool {
	if s.Facts.Used == nil {
		return true
	}
	return *s.Facts.Used && (s.Facts.IdleDays == nil || *s.Facts.IdleDays <= b.in.Config.Limits.RecentlyUsedDays)
}

func riskOf(r remedy.Remedy, risk engine.Risk, f engine.Facts) (level, why string) {
	switch {
	case r.Safe != "":
		return remedy.Low, r.Safe
	case f.Expired != nil && *f.Expired:
		return remedy.Low, "expired already"
	case f.Used != nil && !*f.Used:
		return remedy.Low, "never used"
	case f.Used == nil || f.IdleDays == nil:
		return remedy.High, "last use unknown"
	case r.Partial:
		return remedy.Medium, usedAgo(*f.IdleDays)
	case risk.RecentlyUsed:
		return remedy.High, usedAgo(*f.IdleDays)
	case *f.IdleDays < longIdleDays:
		return remedy.Medium, usedAgo(*f.IdleDays)
	}
	return remedy.Low, usedAgo(*f.IdleDays)
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
