package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
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
func (h TokenHistory) Events(why func(Token, int64) (Cause, string)) (events []TokenEvent) {
	add := func(at int64, what, detail string) {
		events = append(events, TokenEvent{At: at, What: what, Detail: detail})
	}
	for i, v := range h.Versions {
		switch {
		case i == 0 && h.FirstSeen < v.SinceAt:
			add(h.FirstSeen, "first seen", "by a snapshot that was pruned")
			add(v.SinceAt, "known as", firstSeen(v.Token))
		case i == 0:
			add(v.SinceAt, "first seen", firstSeen(v.Token))
		case *h.Versions[i-1].Until == v.Since:
			before := &h.Versions[i-1].Token
			if fields := TokenFields(before, &v.Token); len(fields) > 0 {
				row := TokenChange{Kind: Changed, Before: before, After: &v.Token, Fields: fields}.Row()
				add(v.SinceAt, "changed", row.Before+" → "+row.After)
			}
		default:
			add(v.SinceAt, "came back", firstSeen(v.Token))
		}
		if v.Until != nil && (i == len(h.Versions)-1 || h.Versions[i+1].Since != *v.Until) {
			t := v.Token
			for _, use := range h.Uses {
				if use.Snapshot < *v.Until {
					t.LastUsed = use.LastUsed
				}
			}
			cause, detail := why(t, *v.UntilAt)
			add(*v.UntilAt, "vanished", string(cause)+", "+detail)
		}
	}
	for i, use := range h.Uses {
		if i > 0 || use.LastUsed != nil {
			add(use.At, "last used", lastUse(&Token{LastUsed: use.LastUsed}))
		}
	}
	events = append(events, h.spans()...)
	slices.SortStableFunc(events, func(a, b TokenEvent) int { return cmp.Compare(a.At, b.At) }) // within one moment as they are
	return events
}

func firstSeen(t Token) string {
	text := "created " + dayOf(t.Created) + ", expires " + dayOf(t.Expires) + ", owner " + t.OwnerID
	if t.Comment != "" {
		text += ", " + RedactSecrets(t.Comment)
	}
	return text
}

func dayOf(ms *int64) string { return strings.Split(moment(ms), "T")[0] }

// PolicyRun is an evaluation in which a policy came to a verdict on the
// workspace of a token, whether it listed the token or not.
type PolicyRun struct {
	Evaluation int64
	AsOf       int64 // ms
	Policy     string
}

// spans folds the findings on a token: those of a policy with the same status,
// as long as no evaluation came to another verdict in between. One that could
// not judge the workspace ends nothing. The message of a span is that of its last
// evaluation, since days and counts in it move on.
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
	var span []TokenResult // of one policy with one status
	end := func(word string) {
		if len(span) == 0 {
			return
		}
		first, last := span[0], span[len(span)-1]
		e := TokenEvent{At: first.AsOf, What: string(first.Status), Detail: last.Policy + " " + RedactSecrets(last.Message), Until: last.AsOf, Evaluations: len(span)}
		if len(span) > 1 {
			e.Detail += fmt.Sprintf(" (%s %s, %d evaluations)", word, moment(&last.AsOf), len(span))
		}
		events, span = append(events, e), nil
	}
	for _, run := range slices.Compact(runs) {
		r, found := listed[run]
		switch {
		case len(span) == 0:
		case run.Policy != span[0].Policy: // nothing else was said since
			end("still at")
		case r.Status != span[0].Status:
			end("until")
		}
		if found {
			span = append(span, r)
		}
	}
	end("still at")
	return events
}
