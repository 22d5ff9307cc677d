package engine

import (
	"cmp"
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
