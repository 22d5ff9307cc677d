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
	var counts []string
	for _, state := range engine.SortedKeys(r.Counts) {
		name := strings.ReplaceAll(string(state), "_", " ")
		if v.Rehearsed && state == engine.StatePending {
			name = "would be done"
		}
		counts = append(counts, engine.Comma(r.Counts[state])+" "+name)
	}
	s.Wrap("  ", strings.Join(counts, ", "))
	for _, outcome := range r.Outcomes {
		unwanted := outcome.State == engine.StateSkippedApproval && outcome.Reason == "not_approved"
		if unwanted || outcome.State.CarriedOut() || v.Rehearsed && outcome.Reason == "would_be_done" {
			continue
		}
		step := outcome.Step
		s.Line(fmt.Sprintf("  %s  %s  %s  %s", step.ID, step.Action, step.Workspace, targetText(step, remedy.OnToken(step))))
		text := strings.ReplaceAll(string(outcome.State), "_", " ")
		if outcome.Reason != "" {
			text += " (" + outcome.Reason + ")"
		}
		if outcome.Detail != "" {
			text += ": " + outcome.Detail
		}
		s.Wrap("    ", text)
	}
	for _, w := range r.Workspaces {
		for _, id := range w.StillListed {
			s.Styled(table.Yellow, fmt.Sprintf("  %s: token %s was revoked and is still listed", w.Name, shortID(id)))
		}
		if n := len(w.ThirdParty); n > 0 {
			s.Wrap("  ", fmt.Sprintf("%s: %s vanished during the run, by somebody else; the outcome file lists them", w.Name, engine.Plural(n, "token")))
		}
	}
	for _, file := range v.Files {
		s.Line("  " + file)
	}
	return s.Flush()
}

// OutcomeCSV writes what became of each step of a plan, one row a step.
func OutcomeCSV(w io.Writer, r engine.OutcomeReport) error {
	columns := append(outcomeColumns(), table.ID("plan_id", 20, func(engine.Outcome) any { return r.PlanID }))
	return table.CSV(context.Background(), w, columns, table.Known(r.Outcomes))
}

// OutcomeXLSX writes what became of each step of a plan as a workbook. It is dated by
// what it tells, so that the same outcome gives the same bytes.
func OutcomeXLSX(ctx context.Context, w io.Writer, r engine.OutcomeReport) error {
	var last time.Time
	for _, outcome := range r.Outcomes {
		if at, err := time.Parse(time.RFC3339, outcome.At); err == nil && at.After(last) {
			last = at
		}
	}
	type token struct{ workspace, workspaceID, id, what string } // which the list showed otherwise than the journal
	var vanished []token
	for _, w := range r.Workspaces {
		for _, id := range w.ThirdParty {
			vanished = append(vanished, token{w.Name, w.ID, id, "vanished during a run, by somebody else"})
		}
		for _, id := range w.StillListed {
			vanished = append(vanished, token{w.Name, w.ID, id, "revoked, and still listed at the end"})
		}
	}
	return workbook.Write(ctx, w, "Outcome of plan "+r.PlanID, last, []string{"Outcome", "Vanished"}, func(b *workbook.Book) error {
		if err := addTable(ctx, b, "Outcome", outcomeColumns(), r.Outcomes); err != nil {
			return err
		}
		return addTable(ctx, b, "Vanished", []table.Column[token]{
			table.Plain("workspace", 22, func(t token) any { return t.workspace }),
			table.ID("workspace_id", 20, func(t token) any { return t.workspaceID }),
			table.ID("token_id", 40, func(t token) any { return t.id }),
			table.Wrapped("what", 50, func(t token) any { return t.what }),
		}, vanished)
	})
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
