package collectors

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/time/rate"

	"patrol/engine"
)

// Client reads from one workspace. It sends GET and, where usage is asked for, the
// queries of our own table; readOnly holds it to that. Sections may be read at
// once, each through a client of its own.
type Client struct {
	o       Options
	name    string // of the target, for events
	base    *url.URL
	http    *http.Client
	pace    *pace
	scrub   scrubber
	sign    func(ctx context.Context, r *http.Request) *Problem // nil: without a credential
	routeID string                                              // workspace to address on a host that serves several
	scim    string                                              // path of the directory: the workspace's, or the account's
	session *session

	section engine.SectionName
	budget  *budget
	trouble *trouble
}

// trouble is why nothing more can be read, as one section met it first.
type trouble struct {
	mu    sync.Mutex
	fatal *Problem
}

// session is what all sections of a workspace share.
type session struct {
	cloud    string
	metaID   string // workspace id that the host's metadata tells
	authType string
	scopes   []string // of the credential; nil: not known
	me       Caller
	meFault  *Problem
	// Of stages that are over, for the sections that come after them:
	fatal  *Problem       // why nothing more can be read
	tokens engine.Section // zero until it was read

	evidence // of the reading that is under way

	mu        sync.Mutex    // guards what follows
	date      time.Time     // by the workspace's clock; zero until it told
	skew      time.Duration // how far our clock is ahead of the first answer's
	reached   bool          // some answer came
	elsewhere *Problem      // another workspace answered: nothing more is asked
	kept      []*spool      // answers that outlive the call that brought them
}

func (s *session) keep(one *spool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, one)
}

func (s *session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, one := range s.kept {
		errs = append(errs, one.Close())
	}
	s.kept = nil
	return errors.Join(errs...)
}

// sameWorkspace finds out that another workspace answers than the one that was
// signed in to. Then nothing more is sent.
func (s *session) sameWorkspace(h http.Header) *Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := engine.Response{Header: h}.WorkspaceID()
	if s.elsewhere == nil && got != "" && s.me.workspaceID != "" && got != s.me.workspaceID {
		s.elsewhere = problemOf(reasonWrongWorkspace, "Find out what stands before the workspace's host and sends calls elsewhere; nothing more was sent.",
			"signed in to workspace %s, then workspace %s answered", engine.SafeText(s.me.workspaceID), engine.SafeText(got))
	}
	return s.elsewhere
}

func (s *session) wasReached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reached
}

func newClient(o Options, name string, base *url.URL, transport http.RoundTripper, s *session) *Client {
	return &Client{
		o: o, name: name, base: base, session: s, scim: scimPath,
		http:    &http.Client{Transport: readOnly{transport}, CheckRedirect: neverRedirect},
		pace:    newPace(o.RequestRate),
		budget:  newBudget(o.RetryBudget, 1),
		trouble: &trouble{},
	}
}

// forSection is the client with a budget of its own for one section.
func (c *Client) forSection(name engine.SectionName) *Client {
	copied := *c
	copied.section = name
	copied.budget = newBudget(c.o.RetryBudget, 1)
	copied.trouble = &trouble{}
	return &copied
}

// Answer is a body that arrived whole. Close frees it.
type Answer struct {
	*spool

	header http.Header
}

// Get asks for a path until an answer arrives whole, the call turns out to be
// hopeless, or the section's budget is spent. limit bounds the body.
func (c *Client) Get(ctx context.Context, path string, query url.Values, limit int64) (Answer, *Problem) {
	return c.ask(ctx, path, query, nil, limit)
}

// ask is Get; with a body, it is posted.
func (c *Client) ask(ctx context.Context, path string, query url.Values, body []byte, limit int64) (Answer, *Problem) {
	for n := 0; ; n++ {
		answer, problem := c.once(ctx, path, query, body, limit)
		if problem == nil {
			return answer, nil
		}
		if problem = c.wait(ctx, problem, n); problem != nil {
			c.trouble.mu.Lock()
			defer c.trouble.mu.Unlock()
			if c.trouble.fatal == nil && problem.Fatal() {
				c.trouble.fatal = problem
			}
			return Answer{}, problem
		}
	}
}

// wait pauses before another attempt, or returns why there is none.
func (c *Client) wait(ctx context.Context, p *Problem, n int) *Problem {
	d := pause(p, n, c.o.Jitter)
	why := ""
	switch {
	case n >= p.retries:
	case !c.budget.take(d):
		why = ", with no time left to wait " + d.Round(time.Second).String()
	case !c.o.waiting.take(d):
		why = ", with no time left in this run to wait " + d.Round(time.Second).String()
	default:
		c.event(Event{Kind: EventRetry, Reason: p.Reason, Detail: "again in " + d.Round(time.Millisecond).String() + ": " + p.Detail})
		if err := c.o.Sleep(ctx, d); err != nil {
			return interrupted(ctx)
		}
		return nil
	}
	if n > 0 || why != "" {
		p.Detail += fmt.Sprintf(" (attempt %d%s)", n+1, why)
	}
	return p
}

var errIdle = errors.New("no byte arrived in time")

// once makes one attempt, with a limit on silence, not on length: a long list may
// take its time while bytes arrive. A body is read to its end before anybody decodes
// it: a decoder would not notice that the transfer broke off behind a complete value.
func (c *Client) once(ctx context.Context, path string, query url.Values, body []byte, limit int64) (Answer, *Problem) {
	done, err := c.pace.enter(ctx, path)
	if err != nil {
		return Answer{}, endedBy(err)
	}
	defer done()
	if problem := c.session.sameWorkspace(nil); problem != nil {
		return Answer{}, problem
	}
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.o.IdleTimeout, func() { cancel(errIdle) })
	defer silence.Stop()
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(attempt, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	to := c.base.JoinPath(path)
	to.RawQuery = query.Encode()
	method, content := http.MethodGet, io.Reader(nil)
	if body != nil {
		method, content = http.MethodPost, bytes.NewReader(body)
	}
	request, problem := c.request(traced, method, to, content)
	if problem != nil {
		return Answer{}, problem
	}
	response, err := c.http.Do(request)
	switch {
	case err != nil && ctx.Err() != nil:
		return Answer{}, interrupted(ctx)
	case err != nil && connected.Load() && errors.Is(context.Cause(attempt), errIdle):
		return Answer{}, c.timeout(path)
	case err != nil:
		return Answer{}, c.lost(path, connected.Load(), err)
	}
	defer response.Body.Close()
	c.noteAnswer(response.Header)
	if problem := c.session.sameWorkspace(response.Header); problem != nil {
		return Answer{}, problem
	}
	text := response.Body
	arriving := readerFunc(func(p []byte) (int, error) {
		n, err := text.Read(p)
		if n > 0 {
			silence.Reset(c.o.IdleTimeout)
		}
		return n, err
	})
	if response.StatusCode != http.StatusOK {
		return Answer{}, c.refusal(path, response, arriving)
	}
	if problem := jsonContent(path, response.Header); problem != nil {
		return Answer{}, problem
	}
	s := newSpool(c.o.SpoolDir, limit)
	_, err = io.CopyBuffer(struct{ io.Writer }{s}, arriving, make([]byte, copyBufBytes))
	if err == nil {
		return Answer{s, response.Header}, nil
	}
	err = errors.Join(err, s.Close())
	switch {
	case errors.Is(err, errTooLarge):
		return Answer{}, badBody("GET %s: the answer is larger than %d MiB", path, limit>>20)
	case ctx.Err() != nil:
		return Answer{}, interrupted(ctx)
	case errors.Is(context.Cause(attempt), errIdle):
		return Answer{}, c.timeout(path)
	case s.broken != nil:
		return Answer{}, problemOf(reasonSpool, hintSpool, "GET %s: keep the answer: %s", path, c.cause(err))
	}
	problem = truncatedBody("GET %s: the answer broke off after %d bytes", path, s.size)
	problem.retries = retriesOfBody
	return Answer{}, problem
}

const hintSpool = "Make room for temporary files, or name another directory for them."

// request is one with the credential. content is nil for a request without a body.
func (c *Client) request(ctx context.Context, method string, to *url.URL, content io.Reader) (*http.Request, *Problem) {
	request, err := http.NewRequestWithContext(ctx, method, to.String(), content)
	if err != nil {
		return nil, configProblem("Check the host of the workspace.", "make request %s %s: %v", method, to.Path, err)
	}
	if c.sign != nil {
		if problem := c.sign(ctx, request); problem != nil {
			return nil, problem
		}
	}
	if c.routeID != "" {
		request.Header.Set("X-Databricks-Workspace-Id", c.routeID)
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "patrol/"+c.o.UserAgentVersion)
	return request, nil
}

const clockTolerance = 5 * time.Minute

func (c *Client) noteAnswer(h http.Header) {
	at, err := http.ParseTime(h.Get("Date"))
	skew := c.o.Now().Sub(at).Round(time.Second)
	c.session.mu.Lock()
	c.session.reached = true
	first := err == nil && c.session.date.IsZero()
	if first {
		c.session.date, c.session.skew = at.UTC(), skew
	}
	c.session.mu.Unlock()
	if first && skew.Abs() > clockTolerance {
		c.event(Event{Kind: EventWarning, Reason: "clock_skew",
			Detail: "the local clock differs from the workspace's by " + skew.String() + "; the workspace's counts"})
	}
}

// now is the workspace's clock where it told, else ours.
func (c *Client) now() time.Time {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	if !c.session.date.IsZero() {
		return c.session.date
	}
	return c.o.Now().UTC()
}

func (c *Client) event(e Event) {
	e.Workspace = c.name
	if e.Section == "" {
		e.Section = c.section
	}
	c.o.report(e)
}

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
func pause(p *Problem, n int, jitter func() float64) time.Duration {
	if p.quick {
		return quickPause
	}
	ceiling := min(backoffMost, backoffBase<<min(n, 10))
	return max(p.least, time.Duration(jitter()*float64(ceiling)))
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

// callsAtOnce bounds what one workspace answers at a time.
const callsAtOnce = 4

// unlisted is what endpoints without a documented limit are asked, in calls
// per second.
const unlisted = 10

// pace keeps calls to a workspace below the platform's limits: a bucket for
// each family of endpoints, which it counts together, and few calls at a time.
type pace struct {
	buckets []bucket
	others  *rate.Limiter
	calls   chan struct{}
}

type bucket struct {
	prefix  string // of the family's paths
	limiter *rate.Limiter
}

// newPace makes the buckets; perSecond, unless 0, is the rate of each. They let
// through half of what is documented, since others call, too: Token Management 40,
// permissions 100, the directory of a workspace 255. At once go half a second's
// calls, so that no second has more than three quarters of what is documented.
func newPace(perSecond float64) *pace {
	limiter := func(usual float64) *rate.Limiter {
		each := cmp.Or(perSecond, usual)
		return rate.NewLimiter(rate.Limit(each), max(1, int(each/2)))
	}
	return &pace{
		buckets: []bucket{{"/api/2.0/token-management/", limiter(20)}, {"/api/2.0/permissions/", limiter(50)}, {scimPath, limiter(127)}},
		others:  limiter(unlisted),
		calls:   make(chan struct{}, callsAtOnce),
	}
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

// newTransport connects to workspaces and to whoever signs us in.
func newTransport(o Options) (*http.Transport, *Problem) {
	var authorities *x509.CertPool // nil: the system's only
	if o.CAFile != "" {
		const hint = "Give a PEM file with one or more certificates of authorities."
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, configProblem(hint, "read certificate authorities: %v", err)
		}
		if authorities, err = x509.SystemCertPool(); err != nil {
			authorities = x509.NewCertPool()
		}
		if !authorities.AppendCertsFromPEM(text) {
			return nil, configProblem(hint, "read certificate authorities: %s holds no certificate", o.CAFile)
		}
	}
	dialer := &net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return proxy(o, r.URL) },
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
		TLSHandshakeTimeout:   o.ConnectTimeout,
		ResponseHeaderTimeout: o.IdleTimeout,
		MaxIdleConnsPerHost:   max(2, o.Parallel), // an account may serve all its workspaces by one host
		IdleConnTimeout:       time.Minute,
	}, nil
}

// proxy is what the environment says to connect through to a host; nil: directly.
// Loopback hosts are always reached directly.
func proxy(o Options, to *url.URL) (*url.URL, error) {
	if o.NoProxy {
		return nil, nil
	}
	return httpproxy.FromEnvironment().ProxyFunc()(to)
}

// neverRedirect hands redirects to the caller, who refuses them: following one
// would carry the credential elsewhere.
func neverRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// secureURL reports whether a credential may be sent there: by https, or to
// this very machine.
func secureURL(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// signInTransport carries the requests that the SDK sends to obtain a
// credential. Clouds serve their own on a link-local address by plain http.
type signInTransport struct {
	next    http.RoundTripper
	version string // of patrol
}

func (t signInTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	addr, err := netip.ParseAddr(r.URL.Hostname())
	if !secureURL(r.URL) && (err != nil || !addr.IsLinkLocalUnicast()) {
		return nil, fmt.Errorf("sign in through %s: plain http is accepted for loopback hosts only", r.URL.Host)
	}
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", "patrol/"+t.version)
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		answer.Body.Close()
		return nil, fmt.Errorf("sign in through %s: redirect refused", r.URL.Host)
	}
	return answer, nil
}
