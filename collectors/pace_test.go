package collectors

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPaceByFamily: within any second no family is asked as often as the
// platform's limit, and one family's calls do not wait for another's.
func TestPaceByFamily(t *testing.T) {
	t.Parallel()
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

// answering is a workspace that takes a while to answer, and notes when it was
// asked for what. In a bubble of synctest nobody waits for that in earnest.
type answering struct {
	mu    sync.Mutex
	takes time.Duration
	asked map[string][]time.Time // by path
	under int                    // calls under way
	most  int
	reply func(n int) (status int, header http.Header) // to the n-th call; nil: 200
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	n := len(a.asked[r.URL.Path])
	a.asked[r.URL.Path] = append(a.asked[r.URL.Path], time.Now())
	a.under++
	a.most = max(a.most, a.under)
	a.mu.Unlock()
	time.Sleep(a.takes)
	a.mu.Lock()
	a.under--
	a.mu.Unlock()
	status, header := http.StatusOK, http.Header{}
	if a.reply != nil {
		status, header = a.reply(n)
	}
	header.Set("Content-Type", "application/json")
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

// clientOf asks a workspace as a run without any options does.
func clientOf(a *answering) *Client {
	a.asked = map[string][]time.Time{}
	base := &url.URL{Scheme: "https", Host: "workspace.example.com"}
	return newClient(Options{}.withDefaults(), "test", base, a, &session{})
}

// get asks, wants an answer, and frees it.
func get(t *testing.T, c *Client, path string) {
	t.Helper()
	answer, problem := c.Get(t.Context(), path, nil, 1<<10)
	if problem != nil {
		t.Error(problem)
		return
	}
	discard(answer)
}

// TestPaceOfCalls: whoever asks, and however eagerly, no second has more calls of
// a family than the platform allows, and no family waits for another.
func TestPaceOfCalls(t *testing.T) {
	t.Parallel()
	const each = 200
	for name, families := range map[string]map[string]float64{ // path → calls in any second at most
		"each by itself, tokens": {tokensPath: 30},
		"all at once":            {tokensPath: 30, grantsPath: 75, scimPath + "Users": 190, settingsPath: 15},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &answering{}
				c := clientOf(w)
				began := time.Now()
				var callers sync.WaitGroup
				for path := range families {
					for range 5 {
						callers.Go(func() {
							for range each / 5 {
								get(t, c, path)
							}
						})
					}
				}
				callers.Wait()
				for path, most := range families {
					at := w.asked[path]
					slices.SortFunc(at, time.Time.Compare)
					for i := range at {
						j := i
						for j < len(at) && at[j].Sub(at[i]) < time.Second {
							j++
						}
						if n := j - i; float64(n) > most {
							t.Fatalf("%s: %d calls within a second, want %v at most", path, n, most)
						}
					}
					rate := most * 2 / 3
					if took := at[len(at)-1].Sub(began).Seconds(); len(at) != each || took > each/rate+1 {
						t.Errorf("%s: %d calls in %.1f s, want %d within %.1f s", path, len(at), took, each, each/rate+1)
					}
				}
			})
		})
	}
}

// TestPaceBoundsCallsAtOnce: never more than a few calls are under way.
func TestPaceBoundsCallsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &answering{takes: time.Second}
		c := clientOf(w)
		var callers sync.WaitGroup
		for range 40 {
			callers.Go(func() { get(t, c, grantsPath) })
		}
		callers.Wait()
		if w.most != callsAtOnce {
			t.Errorf("%d calls at once, want %d", w.most, callsAtOnce)
		}
	})
}

// TestWaitingTakesTime: what a run waits, with no sleep of a test's own, is what
// the server asks for, or grows and differs from call to call.
func TestWaitingTakesTime(t *testing.T) {
	t.Parallel()
	waits := func(t *testing.T, times int, header func() http.Header) time.Duration {
		t.Helper()
		w := &answering{reply: func(n int) (int, http.Header) {
			if n < times {
				return http.StatusTooManyRequests, header()
			}
			return http.StatusOK, http.Header{}
		}}
		get(t, clientOf(w), tokensPath)
		at := w.asked[tokensPath]
		if len(at) != times+1 {
			t.Fatalf("asked %d times, want %d", len(at), times+1)
		}
		return at[times].Sub(at[0])
	}
	synctest.Test(t, func(t *testing.T) {
		if got := waits(t, 1, func() http.Header { return http.Header{"Retry-After": {"77"}} }); got != 77*time.Second {
			t.Errorf("waited %v, want 77 s", got)
		}
		date := func() http.Header {
			return http.Header{"Retry-After": {time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)}}
		}
		if got := waits(t, 1, date); got < 89*time.Second || got > 90*time.Second {
			t.Errorf("waited %v, want until a date in 90 s", got)
		}
		seen := map[time.Duration]bool{}
		for range 20 {
			got := waits(t, 3, func() http.Header { return http.Header{} })
			if got > (1+2+4)*time.Second {
				t.Errorf("waited %v in three times, want 7 s at most", got)
			}
			seen[got] = true
		}
		if len(seen) < 15 {
			t.Errorf("20 callers waited %d different times: they come back together", len(seen))
		}
	})
}

func TestPaceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace(1e6)
		for range callsAtOnce {
			if _, err := p.enter(t.Context(), settingsPath); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := p.enter(ctx, settingsPath); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// TestNoTurnInTime: a section whose next turn comes after its time is up was not
// read in time; nobody interrupted it.
func TestNoTurnInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &answering{}
		c := clientOf(w)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errSectionTimeout)
		defer cancel()
		for range 100 * unlisted { // turns of others, for more than a minute
			c.pace.others.Reserve()
		}
		if _, problem := c.Get(ctx, settingsPath, nil, 1<<10); problem == nil || problem.Reason != reasonTimeout {
			t.Errorf("got %+v, want %s", problem, reasonTimeout)
		}
		if n := len(w.asked[settingsPath]); n != 0 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	b := newBudget(time.Minute, 2)
	if !b.take(90*time.Second) || b.take(31*time.Second) || !b.take(30*time.Second) || b.take(1) {
		t.Errorf("left %s", b.left)
	}
	if b := newBudget(math.MaxInt64/2, 3); b.left != math.MaxInt64 {
		t.Errorf("left %s", b.left)
	}
}
