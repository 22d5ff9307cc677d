package reports

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
)

// verdict writes the numbers and what they come to.
func (s *screen) verdict(r engine.Report) {
	s.wrap("", WhatIf(r))
	s.wrap("", plural(r.Summary.Tokens, "token")+" in "+plural(r.Summary.Workspaces, "workspace")+", judged as of "+timeText(r.AsOf)+".")
	s.reach(r)
	for _, shrink := range r.Shrunk {
		s.wrap("", "Suspect: "+shrunkText(shrink)+".")
	}
	s.wrap("", offText(r))
	s.configured(r.Policies)
	s.wrap("", "Findings: "+failedText(r.Summary)+othersText(r.Summary)+".")
	s.styled(verdictStyle(r.Verdict()), "Verdict: "+string(r.Verdict()))
	s.wrap("  ", explain(r)+".")
}

// reach says how many workspaces were read, where that is not plain from the
// rest, and names some of those that no snapshot tells of.
func (s *screen) reach(r engine.Report) {
	reach := r.Reach()
	if len(reach.Accounts) == 0 && reach.Read == reach.Expected {
		return
	}
	s.wrap("", fmt.Sprintf("Workspaces: expected %d, read %d (%d %%, wanted %d %%).", reach.Expected, reach.Read, reach.Percent(), 100-r.MayMiss))
	unseen := slices.DeleteFunc(reach.Missing, func(u engine.Unread) bool { return u.Status != string(engine.NotCollected) })
	for i, u := range unseen {
		if i == defaultFindings {
			s.line(fmt.Sprintf("  and %d more", len(unseen)-i))
			return
		}
		s.wrap("  ", u.Name+" ("+u.WorkspaceID+"): "+u.Detail)
	}
}

// configured says which policies the configuration switches off and changes.
func (s *screen) configured(policies []engine.PolicyReport) {
	var off, changed []string
	for _, p := range policies {
		switch {
		case p.Policy.Off != "":
			off = append(off, p.Policy.ID+" ("+p.Policy.Off+")")
		case len(configured(p.Policy)) > 0:
			changed = append(changed, p.Policy.ID)
		}
	}
	if off != nil {
		s.wrap("", "Switched off: "+strings.Join(off, ", ")+".")
	}
	if changed != nil {
		s.wrap("", "Changed by the configuration: "+strings.Join(changed, ", ")+" (patrol policies show ID).")
	}
}

func verdictStyle(v engine.Verdict) ansi {
	switch v {
	case engine.Clean:
		return green
	case engine.Violations:
		return red
	}
	return yellow
}

func failedText(sum engine.Summary) string {
	var parts []string
	for _, level := range engine.Severities() {
		if n := sum.Failed(level); n > 0 {
			parts = append(parts, comma(n)+" "+string(level))
		}
	}
	if len(parts) == 0 {
		return "none failed"
	}
	return strings.Join(parts, ", ")
}

func othersText(sum engine.Summary) string {
	text := ""
	for _, status := range []engine.Status{engine.Waived, engine.Baselined, engine.Unknown, engine.Errored} {
		if n := sum.Statuses[status]; n > 0 {
			text += "; " + comma(n) + " " + string(status)
		}
	}
	return text
}

// next names what was written and what can be done now.
func (s *screen) next(r engine.Report, files []string) {
	if len(files) > 0 {
		s.blank()
		s.line("Written:")
	}
	for _, file := range files {
		fmt.Fprintln(s.out, "  "+engine.SafeText(file)) // a path cut short is no use
	}
	steps := nextSteps(r)
	if len(steps) == 0 {
		return
	}
	s.blank()
	s.line("Next:")
	for _, step := range steps {
		s.wrap("  ", step)
	}
}

func nextSteps(r engine.Report) []string {
	var steps []string
	if r.Summary.Statuses[engine.Fail] > 0 && r.WhatIf == "" { // a plan is made of what is
		steps = append(steps, "Run patrol plan -o plan.json for a proposal on each finding; it changes nothing.")
	}
	if r.Verdict() == engine.Incomplete {
		steps = append(steps, "Run patrol audit again once it can read what it could not.")
	}
	return steps
}
