package apply

import (
	"context"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// pacer keeps steps apart, so that a wrong plan does its harm slowly enough to
// be stopped.
type pacer struct {
	clock Clock
	every time.Duration
	next  time.Time
}

func newPacer(j Job) *pacer {
	return &pacer{clock: j.Clock, every: time.Duration(float64(time.Second) / j.Options.Rate)}
}

// before waits until a step may begin. One that sends nothing need not wait.
func (p *pacer) before(ctx context.Context, s engine.Step) error {
	if !remedy.Changes(s) {
		return nil
	}
	now := p.clock.Now()
	if wait := p.next.Sub(now); wait > 0 && !p.next.IsZero() {
		if err := p.clock.Sleep(ctx, min(wait, p.every)); err != nil {
			return context.Cause(ctx)
		}
	}
	p.next = p.clock.Now().Add(p.every)
	return nil
}
