package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"patrol/engine"
)

// report is what the journal says now.
func (r *run) report(ctx context.Context) (engine.OutcomeReport, error) {
	if r.job.Journal == nil {
		return Report(r.job.Plan, r.job.SHA, nil, func(func(engine.JournalEvent, error) bool) {})
	}
	entries, err := r.job.Journal.Entries(ctx, r.job.SHA)
	if err != nil {
		return engine.OutcomeReport{}, err
	}
	return Report(r.job.Plan, r.job.SHA, entries, r.job.Journal.Events(ctx, r.job.SHA))
}

// Report tells what became of a plan. It is a function of the plan and of the
// journal's entries and events of that plan alone, so that making it again
// gives the same bytes.
func Report(p engine.Plan, sha string, entries []engine.Entry, events iter.Seq2[engine.JournalEvent, error]) (engine.OutcomeReport, error) {
	report := engine.OutcomeReport{
		Schema: engine.OutcomeSchema, PlanID: p.ID, PlanSHA: sha, Finished: len(entries) > 0, Carried: len(entries) > 0,
		Counts: map[engine.StepState]int{}, Workspaces: []engine.OutcomeWorkspace{}, Outcomes: []engine.Outcome{},
	}
	known := map[string]engine.Entry{}
	for _, entry := range entries {
		known[entry.Step] = entry
		report.Finished = report.Finished && entry.State.Terminal()
		report.Carried = report.Carried && entry.State.CarriedOut()
	}
	for _, step := range p.Steps {
		outcome := outcomeOf(step, known)
		report.Counts[outcome.State]++
		report.Outcomes = append(report.Outcomes, outcome)
	}
	err := addRuns(&report, p, events)
	return report, err
}

func outcomeOf(s engine.Step, known map[string]engine.Entry) engine.Outcome {
	entry, ok := known[s.ID]
	if !ok {
		return engine.Outcome{Step: s, State: engine.StateSkippedApproval, Reason: "not_approved"}
	}
	at := time.UnixMilli(entry.At).UTC()
	outcome := engine.Outcome{
		Step: s, State: entry.State, Reason: entry.Reason, Detail: entry.Detail,
		Attempt: entry.Attempt, HTTP: entry.HTTP, Request: entry.Request, At: at.Format(time.RFC3339),
	}
	if entry.State == engine.StateIntent && entry.Reason == "" {
		outcome.Reason = "in_flight"
		outcome.Detail = fmt.Sprintf("a request may have been sent, and may take effect until %s", at.Add(engine.RequestLimit).Format(time.RFC3339))
	}
	return outcome
}

// addRuns adds what is told of whole workspaces.
func addRuns(report *engine.OutcomeReport, p engine.Plan, events iter.Seq2[engine.JournalEvent, error]) error {
	found := map[string]*engine.OutcomeWorkspace{}
	for _, w := range p.Workspaces {
		found[w.ID] = &engine.OutcomeWorkspace{ID: w.ID, Name: w.Name, Host: w.Host, StillListed: []string{}, ThirdParty: []string{}}
	}
	for event, err := range events {
		if err != nil {
			return err
		}
		w := found[event.Workspace]
		if event.Step != "" || w == nil {
			continue
		}
		if err := addNote(report, w, event); err != nil {
			return err
		}
	}
	for _, w := range p.Workspaces {
		one := found[w.ID]
		slices.Sort(one.ThirdParty)
		one.ThirdParty = slices.Compact(one.ThirdParty)
		report.Carried = report.Carried && len(one.StillListed) == 0
		report.Workspaces = append(report.Workspaces, *one)
	}
	return nil
}

func addNote(report *engine.OutcomeReport, w *engine.OutcomeWorkspace, e engine.JournalEvent) error {
	switch engine.NoteKind(e.To) {
	case "begun":
		w.Epoch, report.Stopped = e.Epoch, ""
	case engine.NoteStopped:
		var detail struct {
			Why string `json:"why"`
		}
		if err := json.Unmarshal(e.Detail, &detail); err != nil {
			return fmt.Errorf("read event %d: %w", e.Seq, err)
		}
		report.Stopped = detail.Why
	case engine.NoteReconciled:
		var detail engine.Reconciliation
		if err := json.Unmarshal(e.Detail, &detail); err != nil {
			return fmt.Errorf("read event %d: %w", e.Seq, err)
		}
		w.StillListed = detail.StillListed
		w.ThirdParty = append(w.ThirdParty, detail.ThirdParty...)
	}
	return nil
}
