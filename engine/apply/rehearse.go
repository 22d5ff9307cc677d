package apply

import (
	"context"
	"errors"

	"patrol/engine"
	"patrol/engine/remedy"
)

// rehearse looks at every target and says what a run would do, and does
// nothing: no request but GET is sent, and nothing is written anywhere. Its error
// is the exit that a real run would come to.
func (r *run) rehearse(ctx context.Context) (engine.OutcomeReport, error) {
	report, err := r.report(ctx)
	if err != nil {
		return report, err
	}
	expected := map[string]engine.Outcome{}
	for _, w := range r.involved() {
		open := r.openIn(w.ID)
		pace := newPacer(r.job)
		place, changing := 0, len(changingOf(open))
		for _, step := range open {
			if remedy.Changes(step) {
				place++
			}
			if err := pace.before(ctx, step); err != nil {
				return report, err
			}
			outcome, err := r.rehearseStep(ctx, step)
			if err != nil {
				return report, err
			}
			expected[step.ID] = outcome
			r.job.Tell(Event{Kind: EventStep, Workspace: w.Name, Step: step, State: outcome.State, Reason: outcome.Reason, Detail: outcome.Detail, N: place, Of: changing})
		}
	}
	report.Counts = map[engine.StepState]int{}
	for i, outcome := range report.Outcomes {
		rehearsed, known := expected[outcome.Step.ID]
		if known {
			report.Outcomes[i] = rehearsed
		}
		if known && rehearsed.Reason != reasonWouldBeDone && !rehearsed.State.CarriedOut() {
			err = &engine.Error{Class: engine.ClassPartial, Reason: "not_carried_out", Op: "rehearse", Target: r.job.Plan.ID,
				Hint: "See each step's reason; nothing was sent.", Err: errors.New("a run would not carry out every approved step")}
		}
		report.Counts[report.Outcomes[i].State]++
	}
	return report, err
}

const reasonWouldBeDone = "would_be_done"

// rehearseStep says where a look would lead a step; pending means that a request
// would be sent.
func (r *run) rehearseStep(ctx context.Context, s engine.Step) (engine.Outcome, error) {
	outcome := engine.Outcome{Step: s, State: engine.StatePending, Reason: reasonWouldBeDone}
	if !remedy.Changes(s) {
		outcome.State, outcome.Reason = engine.StateForPeople, ""
		return outcome, nil
	}
	it := &item{run: r, step: s, live: r.job.Workspaces[s.WorkspaceID], remedy: r.remedies[s.Action], entry: r.entries[s.ID]}
	l, fault, err := it.lookOnce(ctx, 1)
	if fault != nil && fault.Kind == faultListed { // a token that is not found is looked at twice
		l, fault, err = it.lookOnce(ctx, 2)
	}
	if err != nil {
		return outcome, err
	}
	switch {
	case fault != nil && stops(fault.Kind):
		return outcome, refused(string(fault.Kind), s.Workspace, "Nothing was sent; check host and credential.", "%s", fault.Detail)
	case fault != nil:
		outcome.Reason, outcome.Detail = reasonUnreadable, fault.Detail
		return outcome, nil
	}
	from := it.entry.State
	if from == "" {
		from = engine.StatePending
	}
	if to := afterLook(from, l.sight, it.remedy.Removes); to != engine.StateIntent {
		outcome.State, outcome.Reason, outcome.Detail = to, l.reason, l.detail
	}
	return outcome, nil
}
