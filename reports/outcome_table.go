package reports

import (
	"fmt"
	"io"
	"strings"

	"patrol/engine"
	"patrol/engine/remedy"
	"patrol/reports/table"
)

// OutcomeView is what is shown of an outcome.
type OutcomeView struct {
	Report    engine.OutcomeReport
	Rehearsed bool     // nothing was done: it tells what would be
	Files     []string // written beside the plan
}

// OutcomeTable writes what became of a plan for a terminal: counts, then the
// steps that were not carried out, then what others did meanwhile.
func OutcomeTable(w io.Writer, v OutcomeView, o table.Options) error {
	s := newScreen(w, o)
	s.outcomeHead(v)
	s.outcomeCounts(v)
	for _, outcome := range v.Report.Outcomes {
		if noteworthy(outcome, v.Rehearsed) {
			s.outcomeStep(outcome)
		}
	}
	for _, workspace := range v.Report.Workspaces {
		s.outcomeWorkspace(workspace)
	}
	for _, file := range v.Files {
		s.Line("  " + file)
	}
	return s.Flush()
}

func (s *screen) outcomeHead(v OutcomeView) {
	r := v.Report
	switch {
	case v.Rehearsed:
		s.Styled(table.Bold, "Rehearsal of plan "+r.PlanID+": nothing was sent")
	case r.Carried:
		s.Styled(table.Bold, "Plan "+r.PlanID+": every approved step was carried out")
	case r.Finished:
		s.Styled(table.Bold, "Plan "+r.PlanID+": finished, not every approved step was carried out")
	default:
		s.Styled(table.Bold, "Plan "+r.PlanID+": not finished")
	}
	if r.Stopped != "" {
		s.Wrap("  ", "stopped: "+r.Stopped)
	}
}

func (s *screen) outcomeCounts(v OutcomeView) {
	var parts []string
	for _, state := range engine.SortedKeys(v.Report.Counts) {
		name := string(state)
		if v.Rehearsed && state == engine.StatePending {
			name = "would be done"
		}
		parts = append(parts, fmt.Sprintf("%s %s", engine.Comma(v.Report.Counts[state]), strings.ReplaceAll(name, "_", " ")))
	}
	s.Wrap("  ", strings.Join(parts, ", "))
}

// noteworthy holds for approved steps that did not come to their purpose.
func noteworthy(o engine.Outcome, rehearsed bool) bool {
	if o.State == engine.StateSkippedApproval && o.Reason == "not_approved" {
		return false
	}
	return !o.State.CarriedOut() && (!rehearsed || o.Reason != "would_be_done")
}

func (s *screen) outcomeStep(o engine.Outcome) {
	target := o.Step.Target
	if remedy.OnToken(o.Step) {
		target = "token " + shortID(target)
	}
	s.Line(fmt.Sprintf("  %s  %s  %s  %s", o.Step.ID, o.Step.Action, o.Step.Workspace, target))
	text := strings.ReplaceAll(string(o.State), "_", " ")
	if o.Reason != "" {
		text += " (" + o.Reason + ")"
	}
	if o.Detail != "" {
		text += ": " + o.Detail
	}
	s.Wrap("    ", text)
}

func (s *screen) outcomeWorkspace(w engine.OutcomeWorkspace) {
	for _, id := range w.StillListed {
		s.Styled(table.Yellow, fmt.Sprintf("  %s: token %s was revoked and is still listed", w.Name, shortID(id)))
	}
	if n := len(w.ThirdParty); n > 0 {
		s.Wrap("  ", fmt.Sprintf("%s: %s vanished during the run, by somebody else; the outcome file lists them", w.Name, engine.Plural(n, "token")))
	}
}
