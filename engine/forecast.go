package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// ForecastKind is what is to come.
type ForecastKind string

// The kinds of what is to come.
const (
	WillExpire  ForecastKind = "expires"    // the token ends
	WillIdleOut ForecastKind = "inactivity" // unused for so long by then that the platform revokes it
	WillViolate ForecastKind = "violates"   // a policy fails from that day on that does not fail now
	Cliff       ForecastKind = "cliff"      // many tokens end on that day
)

// Forecast is something that comes on a day, if nobody does anything until then.
type Forecast struct {
	Day       string // YYYY-MM-DD, UTC
	Kind      ForecastKind
	Workspace Workspace
	TokenID   string // "" for a cliff
	Owner     string `names:"person"`
	OwnerID   string `names:"person"`
	Policy    string // of a violation
	Title     string
	Severity  Severity
	Message   string
}

// ForecastToken tells when a token ends, and when the platform revokes it for
// not being used, if that is after one moment and not after another. A token that
// has ended by then is not revoked, nor is one that stays in use. Unknown dates
// tell nothing.
func ForecastToken(w Workspace, s Subject, stays bool, from, to time.Time) (list []Forecast) {
	if s.Facts.Expired == nil || *s.Facts.Expired {
		return nil
	}
	row := Forecast{Workspace: w, TokenID: s.Token.ID, Owner: s.Owner.Label(), OwnerID: s.Token.OwnerID}
	end := *s.Token.Expires
	if within(end, from, to) {
		row.Day, row.Kind, row.Message = day(end), WillExpire, "last used "+lastUse(&s.Token)
		list = append(list, row)
	}
	idle := s.Facts.LastUsed
	if idle == nil {
		idle = s.Token.Created
	}
	if stays || s.Facts.IdleDays == nil || idle == nil {
		return list
	}
	if out := *idle + InactivityDays*Day; within(out, from, to) && (end == NeverExpires || out < end) {
		row.Day, row.Kind, row.Message = day(out), WillIdleOut, fmt.Sprintf("last used %s, %d days before", lastUse(&s.Token), InactivityDays)
		list = append(list, row)
	}
	return list
}

func within(ms int64, from, to time.Time) bool { return ms > from.UnixMilli() && ms <= to.UnixMilli() }

// Cliffs are the days on which at least so many tokens of a forecast end.
func Cliffs(list []Forecast, least int) (cliffs []Forecast) {
	ends := map[string]int{}
	for _, f := range list {
		if f.Kind == WillExpire {
			ends[f.Day]++
		}
	}
	for _, on := range SortedKeys(ends) {
		if ends[on] >= least {
			cliffs = append(cliffs, Forecast{Day: on, Kind: Cliff, Message: fmt.Sprintf("tokens that end on this day: %d", ends[on])})
		}
	}
	return cliffs
}

// SortForecast orders by day, then cliffs, violations by severity, ends and
// inactivity, then by workspace and token.
func SortForecast(list []Forecast) {
	order := map[ForecastKind]int{Cliff: 0, WillViolate: 1, WillExpire: 2, WillIdleOut: 3}
	slices.SortFunc(list, func(a, b Forecast) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(a.Severity.Rank(), b.Severity.Rank()),
			cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Workspace.Name, b.Workspace.Name), cmp.Compare(a.Workspace.ID, b.Workspace.ID), cmp.Compare(a.TokenID, b.TokenID))
	})
}
