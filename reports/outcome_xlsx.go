package reports

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"patrol/engine"
)

// OutcomeXLSX writes what became of each step of a plan as a workbook.
func OutcomeXLSX(ctx context.Context, w io.Writer, r engine.OutcomeReport) (err error) {
	spill, err := os.MkdirTemp(beside(w), ".patrol-xlsx-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(spill)) }()
	b, err := newBook(spill, engine.Report{AsOf: lastOutcome(r)}, maxDataRows)
	if err != nil {
		return err
	}
	defer func() { _ = b.file.Close() }()
	if err := fillSheet(ctx, b, "Outcome", outcomeColumns(), known(r.Outcomes)); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Vanished", vanishedColumns(), known(vanishedTokens(r))); err != nil {
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

func outcomeColumns() []column[engine.Outcome] {
	return []column[engine.Outcome]{
		{"step", identifier, 16, func(o engine.Outcome) any { return o.Step.ID }},
		{"state", plain, 18, func(o engine.Outcome) any { return string(o.State) }},
		{"reason", plain, 16, func(o engine.Outcome) any { return o.Reason }},
		{"detail", wrapped, 50, func(o engine.Outcome) any { return o.Detail }},
		{"action", plain, 14, func(o engine.Outcome) any { return string(o.Step.Action) }},
		{"workspace", plain, 22, func(o engine.Outcome) any { return o.Step.Workspace }},
		{"owner", plain, 30, func(o engine.Outcome) any { return o.Step.Owner }},
		{"target", identifier, 22, func(o engine.Outcome) any { return o.Step.Target }},
		{"policies", plain, 20, func(o engine.Outcome) any { return strings.Join(o.Step.Policies, ", ") }},
		{"attempt", plain, 9, func(o engine.Outcome) any { return o.Attempt }},
		{"http", plain, 7, func(o engine.Outcome) any { return o.HTTP }},
		{"request_id", identifier, 36, func(o engine.Outcome) any { return o.Request }},
		{"at", plain, 21, func(o engine.Outcome) any { return o.At }},
		{"workspace_id", identifier, 20, func(o engine.Outcome) any { return o.Step.WorkspaceID }},
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

func vanishedColumns() []column[vanishedToken] {
	return []column[vanishedToken]{
		{"workspace", plain, 22, func(v vanishedToken) any { return v.workspace }},
		{"workspace_id", identifier, 20, func(v vanishedToken) any { return v.workspaceID }},
		{"token_id", identifier, 40, func(v vanishedToken) any { return v.token }},
		{"what", wrapped, 50, func(v vanishedToken) any { return v.what }},
	}
}
