package reports

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
	"patrol/reports/table"
	"patrol/reports/workbook"
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

// OutcomeCSV writes what became of each step of a plan, one row a step.
func OutcomeCSV(w io.Writer, r engine.OutcomeReport) error {
	columns := append(outcomeColumns(), table.ID("plan_id", 20, func(engine.Outcome) any { return r.PlanID }))
	return table.CSV(context.Background(), w, columns, table.Known(r.Outcomes))
}

// OutcomeXLSX writes what became of each step of a plan as a workbook.
func OutcomeXLSX(ctx context.Context, w io.Writer, r engine.OutcomeReport) error {
	return workbook.Write(ctx, w, "Outcome of plan "+r.PlanID, lastOutcome(r), []string{"Outcome", "Vanished"}, func(b *workbook.Book) error {
		if err := addTable(ctx, b, "Outcome", outcomeColumns(), r.Outcomes); err != nil {
			return err
		}
		return addTable(ctx, b, "Vanished", vanishedColumns(), vanishedTokens(r))
	})
}

// lastOutcome dates the workbook by what it tells, so that the same outcome
// gives the same bytes.
func lastOutcome(r engine.OutcomeReport) time.Time {
	var last time.Time
	for _, outcome := range r.Outcomes {
		if at, err := time.Parse(time.RFC3339, outcome.At); err == nil && at.After(last) {
			last = at
		}
	}
	return last
}

// outcomeColumns are those of the CSV and of the workbook.
func outcomeColumns() []table.Column[engine.Outcome] {
	return []table.Column[engine.Outcome]{
		table.ID("step", 16, func(o engine.Outcome) any { return o.Step.ID }),
		table.Plain("state", 18, func(o engine.Outcome) any { return string(o.State) }),
		table.Plain("reason", 16, func(o engine.Outcome) any { return o.Reason }),
		table.Wrapped("detail", 50, func(o engine.Outcome) any { return o.Detail }),
		table.Plain("action", 14, func(o engine.Outcome) any { return string(o.Step.Action) }),
		table.Plain("workspace", 22, func(o engine.Outcome) any { return o.Step.Workspace }),
		table.ID("workspace_id", 20, func(o engine.Outcome) any { return o.Step.WorkspaceID }),
		table.ID("target", 22, func(o engine.Outcome) any { return o.Step.Target }),
		table.Plain("owner", 30, func(o engine.Outcome) any { return o.Step.Owner }),
		table.Plain("policies", 20, func(o engine.Outcome) any { return strings.Join(o.Step.Policies, ", ") }),
		table.Plain("attempt", 9, func(o engine.Outcome) any { return o.Attempt }),
		table.Plain("http", 7, func(o engine.Outcome) any { return o.HTTP }),
		table.ID("request_id", 36, func(o engine.Outcome) any { return o.Request }),
		table.Plain("at", 21, func(o engine.Outcome) any { return o.At }),
	}
}

// vanishedToken is a token that the list showed otherwise than the journal.
type vanishedToken struct{ workspace, workspaceID, token, what string }

func vanishedTokens(r engine.OutcomeReport) []vanishedToken {
	var rows []vanishedToken
	for _, w := range r.Workspaces {
		for _, id := range w.ThirdParty {
			rows = append(rows, vanishedToken{w.Name, w.ID, id, "vanished during a run, by somebody else"})
		}
		for _, id := range w.StillListed {
			rows = append(rows, vanishedToken{w.Name, w.ID, id, "revoked, and still listed at the end"})
		}
	}
	return rows
}

func vanishedColumns() []table.Column[vanishedToken] {
	return []table.Column[vanishedToken]{
		table.Plain("workspace", 22, func(v vanishedToken) any { return v.workspace }),
		table.ID("workspace_id", 20, func(v vanishedToken) any { return v.workspaceID }),
		table.ID("token_id", 40, func(v vanishedToken) any { return v.token }),
		table.Wrapped("what", 50, func(v vanishedToken) any { return v.what }),
	}
}
