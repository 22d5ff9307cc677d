package pipeline

import (
	"context"
	"iter"
	"sync"
	"time"

	"patrol/engine"
	"patrol/engine/eval"
	"patrol/engine/store"
)

// Forecasting says how far a forecast looks, and what it presumes.
type Forecasting struct {
	From  time.Time
	Days  int
	InUse int // tokens used within so many days before From stay in use; 0: none
	Cliff int // tokens that end on one day and make it a cliff; 0: 5 % of all, and 10
}

// Forecast is what comes if nobody does anything.
type Forecast struct {
	List     []engine.Forecast
	Tokens   int
	Unjudged int // results of the first day that are unknown or errors
}

// on is the moment to judge at on the n-th day.
func (o Forecasting) on(n int) time.Time { return o.From.Add(time.Duration(n) * 24 * time.Hour) }

// staysInUse presumes of a token that was used that it stays in use.
func (o Forecasting) staysInUse(used int64) bool {
	return o.InUse > 0 && o.From.UnixMilli()-used <= int64(o.InUse)*engine.Day
}

// presume is a token as it and the one that took its place are presumed to be on
// the n-th day: those in use are used until they end.
func (o Forecasting) presume(token engine.FutureToken, n int) (engine.Subject, bool) {
	subject, there := token(n)
	if !there || subject.Facts.Expired != nil && *subject.Facts.Expired {
		return subject, false
	}
	later := o.on(n).Sub(o.From).Milliseconds()
	if used := subject.Facts.LastUsed; used != nil && o.staysInUse(*used) {
		subject.Token.LastUsed = new(*used + later)
		subject.Derive(o.on(n).UnixMilli())
	}
	if peers := subject.Peers; peers != nil && peers.Successor != nil && o.staysInUse(peers.Successor.LastUsed) {
		changed, successor := *peers, *peers.Successor
		successor.LastUsed += later
		changed.Successor, subject.Peers = &successor, &changed
	}
	return subject, true
}

// Forecast judges the tokens of snapshots on each of the coming days, and adds
// what follows from their dates alone.
func (p *Policies) Forecast(ctx context.Context, db *store.DB, snapshots []engine.Snapshot, o Forecasting) (Forecast, error) {
	judges, stop := p.Chosen.Select(func(p engine.Policy) bool { return p.Resource == engine.ResourceToken }).Keep()
	defer stop()
	var forecast Forecast
	var lock sync.Mutex // of forecast: workspaces are judged side by side
	days := make([]time.Time, o.Days+1)
	for n := range days {
		days[n] = o.on(n)
	}
	err := sideBySide(ctx, snapshots, func(ctx context.Context, s engine.Snapshot) error {
		job := eval.ForecastJob{Snapshot: s, At: days, Tuning: p.Effective(s.Workspace), Tokens: func(peers bool) iter.Seq2[engine.FutureToken, error] {
			return func(yield func(engine.FutureToken, error) bool) {
				for token, err := range db.Forecast(ctx, s.ID, days, peers) {
					if !yield(func(n int) (engine.Subject, bool) { return o.presume(token, n) }, err) {
						return
					}
				}
			}
		}}
		if s.Coverage[engine.SectionTokens].Usable() {
			err := judges.Forecast(ctx, job, func(n int, found engine.Finding) error {
				lock.Lock()
				defer lock.Unlock()
				if found.Status != engine.Fail {
					forecast.Unjudged++
					return nil
				}
				found = found.Redacted()
				forecast.List = append(forecast.List, engine.Forecast{
					Day: days[n].UTC().Format(time.DateOnly), Kind: engine.WillViolate, Workspace: s.Workspace, TokenID: found.ResourceID,
					Owner: found.Owner, OwnerID: found.OwnerID, Policy: found.Policy, Title: found.Title, Severity: found.Severity, Message: found.Message,
				})
				return nil
			})
			if err != nil {
				return err
			}
		}
		for token, err := range db.Forecast(ctx, s.ID, []time.Time{o.From}, false) {
			if err != nil {
				return err
			}
			subject, _ := token(0)
			stays := subject.Facts.LastUsed != nil && o.staysInUse(*subject.Facts.LastUsed)
			comes := engine.ForecastToken(s.Workspace, subject, stays, o.From, o.on(o.Days))
			lock.Lock()
			forecast.Tokens++
			forecast.List = append(forecast.List, comes...)
			lock.Unlock()
		}
		return nil
	})
	if err != nil {
		return forecast, err
	}
	least := o.Cliff
	if least == 0 {
		least = max(10, forecast.Tokens/20)
	}
	forecast.List = append(forecast.List, engine.Cliffs(forecast.List, least)...)
	engine.SortForecast(forecast.List)
	return forecast, nil
}
