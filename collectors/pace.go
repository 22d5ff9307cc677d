package collectors

import (
	"cmp"
	"context"
	"strings"

	"golang.org/x/time/rate"
)

// callsAtOnce bounds what one workspace answers at a time.
const callsAtOnce = 4

// unlisted is what endpoints without a documented limit are asked, in calls
// per second.
const unlisted = 10

// family is endpoints that the platform counts together, for each workspace.
type family struct {
	prefix    string  // of their paths
	perSecond float64 // half of what is documented: others call, too
}

// families are those that have a documented limit: Token Management 40,
// permissions 100, the directory of a workspace 255.
func families() []family {
	return []family{
		{"/api/2.0/token-management/", 20},
		{"/api/2.0/permissions/", 50},
		{scimPath, 127},
	}
}

// pace keeps calls to a workspace below the platform's limits: a bucket for
// each family of endpoints, and few calls at a time.
type pace struct {
	buckets []bucket
	others  *rate.Limiter
	calls   chan struct{}
}

type bucket struct {
	prefix  string
	limiter *rate.Limiter
}

// newPace makes the buckets; perSecond, unless 0, is the rate of each.
func newPace(perSecond float64) *pace {
	p := &pace{others: limiter(unlisted, perSecond), calls: make(chan struct{}, callsAtOnce)}
	for _, f := range families() {
		p.buckets = append(p.buckets, bucket{f.prefix, limiter(f.perSecond, perSecond)})
	}
	return p
}

// limiter lets through half a second's calls at once, so that no second has
// more than three quarters of what is documented.
func limiter(usual, instead float64) *rate.Limiter {
	orDefault(&instead, usual)
	return rate.NewLimiter(rate.Limit(instead), max(1, int(instead/2)))
}

// enter waits until a path may be asked. The caller calls done when the answer
// has arrived.
func (p *pace) enter(ctx context.Context, path string) (done func(), err error) {
	if err := p.bucket(path).Wait(ctx); err != nil {
		// A bucket does not wait for a turn that comes after the end of ctx.
		return nil, cmp.Or(context.Cause(ctx), context.DeadlineExceeded)
	}
	select {
	case p.calls <- struct{}{}:
		return func() { <-p.calls }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *pace) bucket(path string) *rate.Limiter {
	for _, b := range p.buckets {
		if strings.HasPrefix(path, b.prefix) {
			return b.limiter
		}
	}
	return p.others
}
