package collectors

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Waiting between attempts.
const (
	backoffBase   = time.Second
	backoffMost   = time.Minute
	retryAfterCap = 5 * time.Minute
	quickPause    = 400 * time.Millisecond
)

// How often a call is tried again, by what went wrong.
const (
	retriesOfServer  = 6
	retriesOfTimeout = 2
	retriesOfBody    = 2
	retriesOfContact = 1 // a host that never answered: fail while people watch
)

// failure is a problem of one attempt and what may be tried about it.
type failure struct {
	*Problem
	retries int           // attempts that are worth it
	quick   bool          // a short pause instead of backing off
	least   time.Duration // what the server asks to wait
}

// after is the problem as it stands after some attempts.
func (f *failure) after(attempts int, why string) *Problem {
	if attempts > 1 || why != "" {
		f.Detail += fmt.Sprintf(" (attempt %d%s)", attempts, why)
	}
	return f.Problem
}

func final(p *Problem) *failure { return &failure{Problem: p} }

// budget is the waiting that a section, or a run, may still cost in sum.
type budget struct {
	mu   sync.Mutex
	left time.Duration
}

// newBudget is times as much as each may cost.
func newBudget(each time.Duration, times int) *budget {
	if each > math.MaxInt64/time.Duration(times) {
		return &budget{left: math.MaxInt64}
	}
	return &budget{left: each * time.Duration(times)}
}

func (b *budget) take(d time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d > b.left {
		return false
	}
	b.left -= d
	return true
}

// pause is how long to wait before attempt n+1: exponential with full jitter,
// so that many callers do not come back together, and never less than asked.
func pause(f *failure, n int, jitter func() float64) time.Duration {
	if f.quick {
		return quickPause
	}
	ceiling := min(backoffMost, backoffBase<<min(n, 10))
	return max(f.least, time.Duration(jitter()*float64(ceiling)))
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	wait := time.Duration(0)
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		wait = time.Duration(min(seconds, int64(retryAfterCap/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, retryAfterCap))
}
