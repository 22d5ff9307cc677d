package collectors

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestPaceByFamily: within any second no family is asked as often as the
// platform's limit, and one family's calls do not wait for another's.
func TestPaceByFamily(t *testing.T) {
	for path, test := range map[string]struct{ perSecond, documented float64 }{
		tokensPath:            {20, 40},
		tokensPath + "/x":     {20, 40},
		grantsPath:            {50, 100},
		scimPath + "Users":    {127, 255},
		settingsPath:          {10, math.Inf(1)},
		"/api/2.0/unheard-of": {10, math.Inf(1)},
	} {
		l := newPace(0).bucket(path)
		if got := float64(l.Limit()); got != test.perSecond {
			t.Errorf("%s: %v calls a second, want %v", path, got, test.perSecond)
		}
		if most := float64(l.Limit()) + float64(l.Burst()); most >= test.documented {
			t.Errorf("%s: up to %v calls in a second, %v are allowed", path, most, test.documented)
		}
	}
	p := newPace(0)
	if p.bucket(tokensPath) == p.bucket(grantsPath) || p.bucket(settingsPath) != p.bucket(restrictPath) {
		t.Error("families share a bucket that should not, or the others do not")
	}
	if l := newPace(10_000).bucket(tokensPath); l.Limit() != 10_000 {
		t.Errorf("a rate that was asked for is not kept: %v", l.Limit())
	}
}

// TestPaceBoundsCallsAtOnce: never more than a few calls are under way.
func TestPaceBoundsCallsAtOnce(t *testing.T) {
	p := newPace(1e6)
	var under, most atomic.Int64
	var callers sync.WaitGroup
	for range 40 {
		callers.Go(func() {
			done, err := p.enter(t.Context(), settingsPath)
			if err != nil {
				t.Error(err)
				return
			}
			defer done()
			n := under.Add(1)
			defer under.Add(-1)
			for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
			}
			time.Sleep(time.Millisecond)
		})
	}
	callers.Wait()
	if got := most.Load(); got < 2 || got > callsAtOnce {
		t.Errorf("%d calls at once", got)
	}
}

func TestPaceEndsWithItsContext(t *testing.T) {
	p := newPace(1e6)
	for range callsAtOnce {
		if _, err := p.enter(t.Context(), settingsPath); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := p.enter(ctx, settingsPath); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestBudgets(t *testing.T) {
	b := newBudget(time.Minute, 2)
	if !b.take(90*time.Second) || b.take(31*time.Second) || !b.take(30*time.Second) || b.take(1) {
		t.Errorf("left %s", b.left)
	}
	if b := newBudget(math.MaxInt64/2, 3); b.left != math.MaxInt64 {
		t.Errorf("left %s", b.left)
	}
}
