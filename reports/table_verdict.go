package reports

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// verdict writes the numbers and what they come to.
func (s *screen) verdict(r engine.Report) {
	s.Wrap("", WhatIf(r))
	s.Wrap("", engine.Plural(r.Summary.Tokens, "token")+" in "+engine.Plural(r.Summary.Workspaces, "workspace")+", judged as of "+table.TimeText(r.AsOf)+".")
	s.reach(r)
	s.Wrap("", offText(r))
	s.configured(r.Policies)
	s.Wrap("", "Findings: "+failedText(r.Summary)+othersText(r.Summary)+".")
	s.Styled(verdictStyle(r.Verdict()), "Verdict: "+string(r.Verdict()))
	s.Wrap("  ", explain(r)+".")
}

// reach says how many workspaces were read, where that is not plain from the
// rest, and names some of those that no snapshot tells of.
func (s *screen) reach(r engine.Report) {
	reach := r.Reach()
	if len(reach.Accounts) == 0 && reach.Read == reach.Expected {
		return
	}
	s.Wrap("", fmt.Sprintf("Workspaces: expected %d, read %d (%d %%, wanted %d %%).", reach.Expected, reach.Read, reach.Percent(), 100-r.MayMiss))
	unseen := slices.DeleteFunc(reach.Missing, func(u engine.Unread) bool { return u.Status != string(engine.NotCollected) })
	for i, u := range unseen {
		if i == defaultFindings {
			s.Line(fmt.Sprintf("  and %d more", len(unseen)-i))
			return
		}
		s.Wrap("  ", u.Name+" ("+u.WorkspaceID+"): "+u.Detail)
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
		s.Wrap("", "Switched off: "+strings.Join(off, ", ")+".")
	}
	if changed != nil {
		s.Wrap("", "Changed by the configuration: "+strings.Join(changed, ", ")+" (patrol policies show ID).")
	}
}

func verdictStyle(v engine.Verdict) table.Style {
	switch v {
	case engine.Clean:
		return table.Green
	case engine.Violations:
		return table.Red
	}
	return table.Yellow
}

func failedText(sum engine.Summary) string {
	var parts []string
	for _, level := range engine.Severities() {
		if n := sum.Failed(level); n > 0 {
			parts = append(parts, engine.Comma(n)+" "+string(level))
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
			text += "; " + engine.Comma(n) + " " + string(status)
		}
	}
	return text
}

// next names what was written and what can be done now.
func (s *screen) next(r engine.Report, files []string) {
	if len(files) > 0 {
		s.Blank()
		s.Line("Written:")
	}
	for _, file := range files {
		s.Raw("  " + file)
	}
	steps := nextSteps(r)
	if len(steps) == 0 {
		return
	}
	s.Blank()
	s.Line("Next:")
	for _, step := range steps {
		s.Wrap("  ", step)
	}
}

func nextSteps(r engine.Report) []string {
	var steps []string
	if r.Summary.Statuses[engine.Fail] > 0 && r.WhatIf == "" { // a plan is made of what is
		counts := map[string]int{}
		for _, p := range r.Policies {
			counts[string(p.Policy.Remedy)] += p.Tally[engine.Fail]
		}
		var remedies []string
		for _, remedy := range engine.SortedKeys(counts) {
			if n := counts[remedy]; n > 0 {
				remedies = append(remedies, remedy+" for "+engine.Plural(n, "finding"))
			}
		}
		steps = append(steps,
			"patrol findings --severity critical,high lists findings; --group owner, workspace, policy or token counts them.",
			"patrol plan -o plan.json proposes "+strings.Join(remedies, ", ")+"; it changes nothing.")
	}
	if r.Verdict() == engine.Incomplete {
		steps = append(steps, "patrol doctor tells what to do about what could not be read; then audit again.")
	}
	return steps
}
