package plan

import (
	"fmt"

	"patrol/engine"
	"patrol/engine/remedy"
)

// longIdleDays is how long a token must have lain still for its end to surprise
// nobody: a month covers what runs at the end of each.
const longIdleDays = 35

// tokenRisk tells what a step on a token could break. The later counts of what
// list and audit log tell of its use.
func (b *builder) tokenRisk(w *workspace, r remedy.Remedy, s engine.Subject) engine.Risk {
	a, unknown := w.activityOf(s)
	if a != nil {
		if days := engine.DaysSince(a.Last, s.Facts.AsOf); s.Facts.IdleDays == nil || s.Facts.Used == nil || !*s.Facts.Used || days < *s.Facts.IdleDays {
			used := true
			s.Facts.Used, s.Facts.IdleDays = &used, &days
		}
	}
	risk := engine.Risk{IdleDays: s.Facts.IdleDays, RecentlyUsed: b.recentlyUsed(s)}
	risk.Level, risk.Why = riskOf(r, risk, s.Facts)
	if r.Safe == "" {
		risk.UsersUnknown = unknown
		if a != nil {
			risk.Users = []engine.TokenUser{engine.UseOf(*a)}
		}
	}
	return risk
}

// activityOf is what the audit log tells of a token, and why it tells nothing
// where it was asked for.
func (w *workspace) activityOf(s engine.Subject) (a *engine.Activity, unknown string) {
	coverage, listed := w.Snapshot.Coverage[engine.SectionAuditLog]
	switch {
	case !listed || !coverage.Requested():
		return nil, ""
	case !coverage.Complete() || s.Among == nil:
		return nil, "who uses it is not known: the audit log is " + string(coverage.Status) + " (" + coverage.Reason + ")"
	case w.log.Contradicts(&s.Token, s.Among.Activity):
		return nil, "who uses it is not known: the audit log lacks the last use that the list of tokens tells"
	}
	return s.Among.Activity, ""
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
