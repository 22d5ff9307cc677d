package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// PolicyRun is an evaluation in which a policy came to a verdict on the
// workspace of a token, whether it listed the token or not.
type PolicyRun struct {
	Evaluation int64
	AsOf       int64 // ms
	Policy     string
}

// span is a run of evaluations in which a policy said the same of a token.
type span struct {
	first, last TokenResult
	count       int
	open        bool // nothing else was said since
}

// event tells a span: the message is that of its last evaluation, since days
// and counts in it move on.
func (s span) event() TokenEvent {
	e := TokenEvent{At: s.first.AsOf, What: string(s.first.Status), Detail: s.last.Policy + " " + RedactSecrets(s.last.Message), Until: s.last.AsOf, Evaluations: s.count}
	if s.count > 1 {
		word := "until"
		if s.open {
			word = "still at"
		}
		e.Detail += fmt.Sprintf(" (%s %s, %d evaluations)", word, time.UnixMilli(s.last.AsOf).UTC().Format(time.RFC3339), s.count)
	}
	return e
}

// spans folds the findings on a token: those of a policy with the same status,
// as long as no evaluation came to another verdict in between. One that could
// not judge the workspace ends nothing.
func (h TokenHistory) spans() (events []TokenEvent) {
	listed := map[PolicyRun]TokenResult{}
	runs := slices.Clone(h.Runs)
	for _, r := range h.Results {
		run := PolicyRun{r.Evaluation, r.AsOf, r.Policy}
		listed[run] = r
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b PolicyRun) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.AsOf, b.AsOf), cmp.Compare(a.Evaluation, b.Evaluation))
	})
	var now span
	end := func() {
		if now.count > 0 {
			events = append(events, now.event())
		}
		now = span{}
	}
	for i, run := range slices.Compact(runs) {
		r, found := listed[run]
		if i == 0 || r.Policy != now.first.Policy || r.Status != now.first.Status {
			now.open = now.count > 0 && run.Policy != now.first.Policy
			end()
		}
		if !found {
			continue
		}
		if now.count == 0 {
			now.first = r
		}
		now.last = r
		now.count++
	}
	now.open = true
	end()
	return events
}
