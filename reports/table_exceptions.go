package reports

import (
	"fmt"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// exceptions tells what was excused, by whom and until when, and which
// exceptions do no longer what they were made for.
func (s *screen) exceptions(r engine.Report, limit int) {
	x := r.Exceptions
	if x.None() {
		return
	}
	s.Styled(table.Bold, "EXCEPTIONS")
	waiving, waived := waiving(x)
	s.waivers(engine.Plural(waived, "finding")+" waived", waiving, limit, s.inForce)
	s.waivers("Expired, counting no more", x.In(engine.WaiverExpired), limit, s.expired)
	s.waivers(fmt.Sprintf("Expiring within %d days", engine.WaiverNotice), x.Expiring(), limit, s.expiring)
	s.waivers("Refused by policy", x.Refused(), limit, s.refused)
	s.waivers("Matching nothing, free to go", x.In(engine.WaiverUnmatched), limit, s.scope)
	s.waivers("Not yet in force", x.In(engine.WaiverPending), limit, s.pending)
	s.waivers("About what was not judged", x.In(engine.WaiverNotJudged), limit, s.scope)
	s.baseline(x.Baseline, limit)
	s.Blank()
}

// waiving lists the waivers that excuse something, and counts what.
func waiving(x engine.Exceptions) (uses []engine.WaiverUse, findings int) {
	for _, use := range x.Waivers {
		if use.Waived > 0 {
			uses = append(uses, use)
			findings += use.Waived
		}
	}
	return uses, findings
}

// waivers shows the first few of a kind.
func (s *screen) waivers(heading string, uses []engine.WaiverUse, limit int, show func(engine.WaiverUse)) {
	if len(uses) == 0 {
		return
	}
	s.Line("  " + heading + ": " + engine.Plural(len(uses), "waiver"))
	for _, use := range uses[:min(limit, len(uses))] {
		show(use)
	}
	if more := len(uses) - limit; more > 0 && limit > 0 {
		s.Line("    … and " + engine.Comma(more) + " more")
	}
}

func (s *screen) inForce(w engine.WaiverUse) {
	s.Wrap("    ", fmt.Sprintf("%s  %s, until %s, approved by %s%s: %s", w.ID, engine.Plural(w.Waived, "finding"), w.Expires, w.Approver, ticket(w), w.Reason))
}

func ticket(w engine.WaiverUse) string {
	if w.Ticket == "" {
		return ""
	}
	return " (" + w.Ticket + ")"
}

func (s *screen) expired(w engine.WaiverUse) {
	text := fmt.Sprintf("%s  on %s, %s ago", w.ID, w.Expires, engine.Plural(-w.DaysLeft, "day"))
	if w.Lapsed > 0 {
		text += "; failing again: " + engine.Plural(w.Lapsed, "finding")
	}
	s.Wrap("    ", text)
}

func (s *screen) expiring(w engine.WaiverUse) {
	s.Wrap("    ", fmt.Sprintf("%s  on %s, %s left; approved by %s%s", w.ID, w.Expires, engine.Plural(w.DaysLeft, "day"), w.Approver, ticket(w)))
}

func (s *screen) refused(w engine.WaiverUse) {
	for _, why := range w.Refusals {
		s.Wrap("    ", fmt.Sprintf("%s  %s: %s (%s)", w.ID, why.Policy, why.Message, engine.Plural(why.Findings, "finding")))
	}
}

func (s *screen) pending(w engine.WaiverUse) {
	s.Wrap("    ", fmt.Sprintf("%s  from %s on", w.ID, w.Created))
}

func (s *screen) scope(w engine.WaiverUse) {
	s.Wrap("    ", w.ID+"  "+strings.Join(w.Policies, ", ")+" on "+w.Scope())
}

func (s *screen) baseline(b *engine.BaselineUse, limit int) {
	if b == nil {
		return
	}
	text := fmt.Sprintf("Baseline of %s: %s, of which %s still failing, %s gone", b.AsOf, engine.Plural(b.Entries, "finding"), engine.Comma(b.Baselined), engine.Comma(len(b.Gone)))
	if b.NotJudged > 0 {
		text += ", " + engine.Comma(b.NotJudged) + " not judged"
	}
	s.Wrap("  ", text)
	for _, e := range b.Gone[:min(limit, len(b.Gone))] {
		s.Line(fmt.Sprintf("    gone: %s  %s  %s", e.Policy, e.Workspace, shortID(e.ResourceID)))
	}
	if more := len(b.Gone) - limit; more > 0 && limit > 0 {
		s.Line("    … and " + engine.Comma(more) + " more (-v lists them)")
	}
}
