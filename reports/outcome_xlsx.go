package reports

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/reports/table"
)

// OutcomeXLSX writes what became of each step of a plan as a workbook.
func OutcomeXLSX(ctx context.Context, w io.Writer, r engine.OutcomeReport) (err error) {
	spill, release, err := outfile.Scratch(beside(w), ".patrol-xlsx-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	b, err := newBook(spill, engine.Report{AsOf: lastOutcome(r)}, maxDataRows)
	if err != nil {
		return err
	}
	defer func() { _ = b.file.Close() }()
	if err := fillSheet(ctx, b, "Outcome", outcomeColumns(), table.Known(r.Outcomes)); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Vanished", vanishedColumns(), table.Known(vanishedTokens(r))); err != nil {
		return err
	}
	return b.writeTo(ctx, w)
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

func outcomeColumns() []table.Column[engine.Outcome] {
	return []table.Column[engine.Outcome]{
		table.ID("step", 16, func(o engine.Outcome) any { return o.Step.ID }),
		table.Plain("state", 18, func(o engine.Outcome) any { return string(o.State) }),
		table.Plain("reason", 16, func(o engine.Outcome) any { return o.Reason }),
		table.Wrapped("detail", 50, func(o engine.Outcome) any { return o.Detail }),
		table.Plain("action", 14, func(o engine.Outcome) any { return string(o.Step.Action) }),
		table.Plain("workspace", 22, func(o engine.Outcome) any { return o.Step.Workspace }),
		table.Plain("owner", 30, func(o engine.Outcome) any { return o.Step.Owner }),
		table.ID("target", 22, func(o engine.Outcome) any { return o.Step.Target }),
		table.Plain("policies", 20, func(o engine.Outcome) any { return strings.Join(o.Step.Policies, ", ") }),
		table.Plain("attempt", 9, func(o engine.Outcome) any { return o.Attempt }),
		table.Plain("http", 7, func(o engine.Outcome) any { return o.HTTP }),
		table.ID("request_id", 36, func(o engine.Outcome) any { return o.Request }),
		table.Plain("at", 21, func(o engine.Outcome) any { return o.At }),
		table.ID("workspace_id", 20, func(o engine.Outcome) any { return o.Step.WorkspaceID }),
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
