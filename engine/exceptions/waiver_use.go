package exceptions

import (
	"cmp"
	"slices"
	"strings"

	"patrol/engine"
)

// Judged notes which policies were run in a workspace. Without it nobody can
// tell a waiver that excuses nothing from one whose matter was not looked at.
func (m *WaiverMatcher) Judged(s engine.Snapshot, tallies map[string]engine.Tally) {
	name, id := strings.ToLower(s.Workspace.Name), strings.ToLower(s.Workspace.ID)
	for _, r := range m.rules {
		for _, policy := range r.Policies {
			tally, ran := tallies[policy]
			if !ran || !r.in(name, id) {
				continue
			}
			r.judged = true
			whole := s.Coverage[engine.SectionTokens].Whole() || (r.id == nil && r.owner == nil)
			r.undecided = r.undecided || !whole || tally[engine.Unknown]+tally[engine.Errored] > 0
		}
	}
}

// Uses tells what each waiver came to, in the order of the file.
func (m *WaiverMatcher) Uses() []engine.WaiverUse {
	uses := make([]engine.WaiverUse, len(m.rules))
	for i, r := range m.rules {
		uses[i] = engine.WaiverUse{
			WaiverRule: r.WaiverRule, State: r.state(m.day), DaysLeft: m.day.Until(r.Expires),
			Waived: r.waived, Lapsed: r.lapsed, Refusals: r.allRefusals(),
		}
		soon := r.InForce(m.day) && uses[i].DaysLeft <= engine.WaiverNotice
		uses[i].ExpiresSoon = soon && uses[i].State != engine.WaiverRefused
	}
	return uses
}

func (r *rule) state(day engine.Date) engine.WaiverState {
	switch {
	case day > r.Expires:
		return engine.WaiverExpired
	case day < r.Created:
		return engine.WaiverPending
	case r.waived > 0:
		return engine.WaiverInForce
	case len(r.refusals) > 0:
		return engine.WaiverRefused
	case !r.judged || r.undecided:
		return engine.WaiverNotJudged
	}
	return engine.WaiverUnmatched
}

func (r *rule) allRefusals() []engine.WaiverRefusal {
	var list []engine.WaiverRefusal
	for why, findings := range r.refusals {
		list = append(list, engine.WaiverRefusal{Policy: why.policy, Message: why.message, Findings: findings})
	}
	slices.SortFunc(list, func(a, b engine.WaiverRefusal) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Message, b.Message))
	})
	return list
}
