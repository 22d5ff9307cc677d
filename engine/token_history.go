package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TokenHistory is what the database remembers of a token.
type TokenHistory struct {
	Workspace Workspace // as its newest snapshot has it
	FirstSeen int64     // when the first snapshot that held it was taken, though it may be pruned, ms
	Versions  []TokenVersion
	Uses      []TokenUse
	Results   []TokenResult
	Runs      []PolicyRun // of the policies in Results
}

// TokenVersion is a token as it was from one snapshot on until before another.
// Its last use is in Uses.
type TokenVersion struct {
	Since   int64  // snapshot that first held it
	SinceAt int64  // when that was taken, ms
	Until   *int64 // snapshot that first did not hold it any more; nil: it holds still
	UntilAt *int64
	Token   Token
}

// TokenUse is the last use of a token as it was from a snapshot on.
type TokenUse struct {
	Snapshot int64
	At       int64  // when the snapshot was taken, ms
	LastUsed *int64 // ms; nil: never
}

// TokenResult is a finding on a token.
type TokenResult struct {
	Evaluation int64
	AsOf       int64 // ms
	Policy     string
	Status     Status
	Message    string
}

// TokenEvent is a line of a token's history: of a finding, a span of time in
// which evaluations repeated it.
type TokenEvent struct {
	At          int64  `json:"at"` // ms
	What        string `json:"what"`
	Detail      string `json:"detail"`
	Until       int64  `json:"until,omitempty"`       // ms: as of the last evaluation of the span
	Evaluations int    `json:"evaluations,omitempty"` // of the span
}

// Events tells a history in the order of time: when the token was first seen,
// changed, went and came back; how its last use moved; and what policies found.
// why explains that it went, from the last that was seen of it.
func (h TokenHistory) Events(why func(Token, int64) (Cause, string)) []TokenEvent {
	events := h.versionEvents(why)
	for i, use := range h.Uses {
		if i > 0 || use.LastUsed != nil {
			events = append(events, tokenEvent(use.At, "last used", lastUse(&Token{LastUsed: use.LastUsed})))
		}
	}
	events = append(events, h.spans()...)
	sortEvents(events)
	return events
}

func tokenEvent(at int64, what, detail string) TokenEvent {
	return TokenEvent{At: at, What: what, Detail: detail}
}

func (h TokenHistory) versionEvents(why func(Token, int64) (Cause, string)) (events []TokenEvent) {
	for i, v := range h.Versions {
		switch {
		case i == 0 && h.FirstSeen < v.SinceAt:
			events = append(events, tokenEvent(h.FirstSeen, "first seen", "by a snapshot that was pruned"), tokenEvent(v.SinceAt, "known as", firstSeen(v.Token)))
		case i == 0:
			events = append(events, tokenEvent(v.SinceAt, "first seen", firstSeen(v.Token)))
		case *h.Versions[i-1].Until == v.Since:
			change := TokenChange{Kind: Changed, Before: &h.Versions[i-1].Token, After: &h.Versions[i].Token, Fields: TokenFields(&h.Versions[i-1].Token, &v.Token)}
			if row := change.Row(); len(row.Fields) > 0 {
				events = append(events, tokenEvent(v.SinceAt, "changed", row.Before+" → "+row.After))
			}
		default:
			events = append(events, tokenEvent(v.SinceAt, "came back", firstSeen(v.Token)))
		}
		last := i == len(h.Versions)-1
		if v.Until != nil && (last || h.Versions[i+1].Since != *v.Until) {
			t := v.Token
			t.LastUsed = h.usedAt(*v.Until)
			cause, detail := why(t, *v.UntilAt)
			events = append(events, tokenEvent(*v.UntilAt, "vanished", string(cause)+", "+detail))
		}
	}
	return events
}

// usedAt is the last use as known before a snapshot.
func (h TokenHistory) usedAt(snapshot int64) (used *int64) {
	for _, use := range h.Uses {
		if use.Snapshot < snapshot {
			used = use.LastUsed
		}
	}
	return used
}

func firstSeen(t Token) string {
	text := "created " + dayOf(t.Created) + ", expires " + dayOf(t.Expires) + ", owner " + t.OwnerID
	if t.Comment != "" {
		text += ", " + RedactSecrets(t.Comment)
	}
	return text
}

func dayOf(ms *int64) string { return strings.Split(moment(ms), "T")[0] }

// sortEvents keeps the order within one moment.
func sortEvents(events []TokenEvent) {
	slices.SortStableFunc(events, func(a, b TokenEvent) int { return cmp.Compare(a.At, b.At) })
}

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
