package simulator

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	requestLogSize = 100_000
	maxLoggedBody  = 4 << 10
)

// Request is one API call that arrived. Status is 0 while it is under way, and
// stays so when the connection was broken.
type Request struct {
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"` // simulated
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	Query     string    `json:"query,omitempty"`
	Workspace string    `json:"workspace"`
	User      string    `json:"user,omitempty"`
	Status    int       `json:"status"`
	Fault     bool      `json:"fault,omitempty"` // a fault answered
	// Body is the first 4 KiB of a write's body.
	Body string `json:"body,omitempty"`
}

// requestLog is a ring of the latest requests, and exact counters of all.
type requestLog struct {
	mu     sync.Mutex
	ring   []Request
	size   int
	seq    uint64
	counts map[string]int64
}

func newRequestLog(size int) *requestLog {
	return &requestLog{size: size, counts: map[string]int64{}}
}

func (l *requestLog) begin(r Request, counter string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	r.Seq = l.seq
	l.counts[counter]++
	if len(l.ring) < l.size {
		l.ring = append(l.ring, r)
	} else {
		l.ring[l.slot(r.Seq)] = r
	}
	return l.seq
}

func (l *requestLog) slot(seq uint64) int { return int((seq - 1) % uint64(l.size)) }

func (l *requestLog) finish(seq uint64, status int, fault bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.slot(seq)
	if i < len(l.ring) && l.ring[i].Seq == seq {
		l.ring[i].Status, l.ring[i].Fault = status, fault
	}
}

func (l *requestLog) list() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < l.size {
		return slices.Clone(l.ring)
	}
	oldest := l.slot(l.seq + 1)
	return slices.Concat(l.ring[oldest:], l.ring[:oldest])
}

func (l *requestLog) totals() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts)
}

// clear forgets requests and counts; sequence numbers start over.
func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.seq, l.counts = nil, 0, map[string]int64{}
}

func (c *call) entry() Request {
	r := Request{
		Time: c.Now().UTC(), Method: c.request.Method, Path: c.request.URL.Path,
		Query: c.request.URL.RawQuery, Workspace: c.ws.name,
	}
	if c.who.principal != nil {
		r.User = c.who.principal.name
	}
	if c.writes() {
		r.Body = string(c.body[:min(len(c.body), maxLoggedBody)])
	}
	return r
}

// Requests returns the latest 100,000 API calls, oldest first. Control-plane
// calls are not among them.
func (a *Account) Requests() []Request { return a.log.list() }

// Counts returns how often each endpoint was called since the start or the last
// ClearRequests, by names such as "DELETE /api/2.0/token-management/tokens/{id}".
func (a *Account) Counts() map[string]int64 { return a.log.totals() }

// Writes returns the recorded calls that could change something: all but GET,
// HEAD and the acquisition of OAuth tokens.
func (a *Account) Writes() []Request {
	return slices.DeleteFunc(a.Requests(), func(r Request) bool {
		return r.Method == http.MethodGet || r.Method == http.MethodHead || r.signsIn()
	})
}

// signsIn tells the calls that issue OAuth tokens, Azure's included.
func (r Request) signsIn() bool {
	return segments(r.Path)[0] == "oidc" || strings.HasSuffix(r.Path, "/oauth2/token")
}

// ClearRequests forgets what was recorded.
func (a *Account) ClearRequests() { a.log.clear() }

// names reports whether ref names the workspace, by name or id.
func (ws *workspace) names(ref string) bool {
	return ref == ws.name || ref == strconv.FormatInt(ws.id, 10)
}
