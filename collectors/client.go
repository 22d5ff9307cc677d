package collectors

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

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

// trouble is why nothing more can be read, as one section met it.
type trouble struct {
	mu    sync.Mutex
	fatal *Problem // the first
}

// note remembers a problem that makes further calls pointless.
func (t *trouble) note(p *Problem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.Fatal() && t.fatal == nil {
		t.fatal = p
	}
}

// session is what all sections of a workspace share.
type session struct {
	spools

	mu       sync.Mutex // guards date and reached
	date     time.Time  // by the workspace's clock; zero until it told
	cloud    string
	metaID   string // workspace id that the host's metadata tells
	authType string
	scopes   []string // of the credential; nil: not known
	me       caller
	meFault  *Problem
	reached  bool          // some answer came
	skew     time.Duration // how far our clock is ahead of the first answer's
	// Of stages that are over, for the sections that come after them:
	fatal  *Problem       // why nothing more can be read
	tokens engine.Section // zero until it was read

	evidence           // of the reading that is under way
	elsewhere *Problem // another workspace answered: nothing more is asked; guarded by mu
}

// sameWorkspace finds out that another workspace answers than the one that was
// signed in to. Then nothing more is sent.
func (s *session) sameWorkspace(h http.Header) *Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := workspaceIDOf(h)
	if s.elsewhere == nil && got != "" && s.me.workspaceID != "" && got != s.me.workspaceID {
		s.elsewhere = problem(engine.Failed, reasonWrongWorkspace, "Find out what stands before the workspace's host and sends calls elsewhere; nothing more was sent.",
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

// Answer is a body that arrived whole.
type Answer struct {
	Header http.Header
	body   *spool
}

// Reader reads the body from its beginning.
func (a *Answer) Reader() io.Reader { return a.body.Reader() }

// Close frees the body.
func (a *Answer) Close() error { return a.body.Close() }

// Get asks for a path until an answer arrives whole, the call turns out to be
// hopeless, or the section's budget is spent. limit bounds the body.
func (c *Client) Get(ctx context.Context, path string, query url.Values, limit int64) (*Answer, *Problem) {
	return c.ask(ctx, path, query, nil, limit)
}

// ask is Get; with a body, it is posted.
func (c *Client) ask(ctx context.Context, path string, query url.Values, body []byte, limit int64) (*Answer, *Problem) {
	for n := 0; ; n++ {
		answer, failure := c.once(ctx, path, query, body, limit)
		if failure == nil {
			return answer, nil
		}
		if problem := c.wait(ctx, failure, n); problem != nil {
			c.trouble.note(problem)
			return nil, problem
		}
	}
}

// wait pauses before another attempt, or returns why there is none.
func (c *Client) wait(ctx context.Context, f *failure, n int) *Problem {
	d := pause(f, n, c.o.Jitter)
	switch {
	case n >= f.retries:
		return f.after(n+1, "")
	case !c.budget.take(d):
		return f.after(n+1, ", with no time left to wait "+d.Round(time.Second).String())
	case !c.o.waiting.take(d):
		return f.after(n+1, ", with no time left in this run to wait "+d.Round(time.Second).String())
	}
	c.event(Event{Kind: EventRetry, Reason: f.Reason, Detail: "again in " + d.Round(time.Millisecond).String() + ": " + f.Detail})
	if err := c.o.Sleep(ctx, d); err != nil {
		return interrupted(ctx)
	}
	return nil
}

// once makes one attempt.
func (c *Client) once(ctx context.Context, path string, query url.Values, body []byte, limit int64) (*Answer, *failure) {
	done, err := c.pace.enter(ctx, path)
	if err != nil {
		return nil, final(endedBy(err))
	}
	defer done()
	if problem := c.session.sameWorkspace(nil); problem != nil {
		return nil, final(problem)
	}
	a := newAttempt(ctx, c.o.IdleTimeout)
	defer a.stop()
	request, problem := c.request(a.ctx, path, query, body)
	if problem != nil {
		return nil, final(problem)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.lost(a, path, err)
	}
	defer response.Body.Close()
	c.noteAnswer(response.Header)
	if problem := c.session.sameWorkspace(response.Header); problem != nil {
		return nil, final(problem)
	}
	watched := a.watch(response.Body)
	if response.StatusCode != http.StatusOK {
		return nil, c.refusal(path, response, watched)
	}
	return c.receive(a, path, response, watched, limit)
}

func (c *Client) request(ctx context.Context, path string, query url.Values, body []byte) (*http.Request, *Problem) {
	to := c.base.JoinPath(path)
	to.RawQuery = query.Encode()
	method, content := http.MethodGet, io.Reader(nil)
	if body != nil {
		method, content = http.MethodPost, bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, to.String(), content)
	if err != nil {
		return nil, configProblem("Check the host of the workspace.", "make request for %s: %v", path, err)
	}
	if c.sign != nil {
		if problem := c.sign(ctx, request); problem != nil {
			return nil, problem
		}
	}
	if c.routeID != "" {
		request.Header.Set("X-Databricks-Workspace-Id", c.routeID)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent(c.o))
	return request, nil
}

func userAgent(o Options) string { return "patrol/" + o.UserAgentVersion }

// receive reads a body to its end before anybody decodes it: a decoder would
// not notice that the transfer broke off behind a complete value.
func (c *Client) receive(a *attempt, path string, response *http.Response, body io.Reader, limit int64) (*Answer, *failure) {
	if problem := jsonContent(path, response.Header); problem != nil {
		return nil, final(problem)
	}
	s := newSpool(c.o.SpoolDir, limit)
	_, err := io.CopyBuffer(struct{ io.Writer }{s}, body, make([]byte, copyBufBytes))
	if err == nil {
		return &Answer{Header: response.Header, body: s}, nil
	}
	err = errors.Join(err, s.Close())
	return nil, c.brokenOff(a, path, s, err)
}

func (c *Client) noteAnswer(h http.Header) {
	at, err := http.ParseTime(h.Get("Date"))
	c.session.mu.Lock()
	c.session.reached = true
	first := err == nil && c.session.date.IsZero()
	if first {
		c.session.date = at.UTC()
	}
	c.session.mu.Unlock()
	if first {
		c.warnOfSkew(at)
	}
}

const clockTolerance = 5 * time.Minute

func (c *Client) warnOfSkew(at time.Time) {
	skew := c.o.Now().Sub(at).Round(time.Second)
	c.session.mu.Lock()
	c.session.skew = skew
	c.session.mu.Unlock()
	if skew.Abs() > clockTolerance {
		c.event(Event{Kind: EventWarning, Reason: "clock_skew",
			Detail: "the local clock differs from the workspace's by " + skew.String() + "; the workspace's counts"})
	}
}

// hoursOff is by how many whole hours our clock was ahead of the workspace's, or
// behind it.
func (c *Client) hoursOff() int {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return int(c.session.skew / time.Hour)
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

// attempt is one request with a limit on silence, not on length: a long list
// may take its time while bytes arrive.
type attempt struct {
	parent    context.Context
	ctx       context.Context
	cancel    context.CancelCauseFunc
	timer     *time.Timer
	idle      time.Duration
	mu        sync.Mutex
	connected bool
}

var errIdle = errors.New("no byte arrived in time")

func newAttempt(parent context.Context, idle time.Duration) *attempt {
	a := &attempt{parent: parent, idle: idle}
	a.ctx, a.cancel = context.WithCancelCause(parent)
	a.ctx = httptrace.WithClientTrace(a.ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { a.connect() }})
	a.timer = time.AfterFunc(idle, func() { a.cancel(errIdle) })
	return a
}

func (a *attempt) connect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.connected = true
}

func (a *attempt) wasConnected() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.connected
}

func (a *attempt) stop() {
	a.timer.Stop()
	a.cancel(nil)
}

func (a *attempt) watch(r io.Reader) io.Reader { return watched{r, a} }

type watched struct {
	io.Reader
	a *attempt
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.a.timer.Reset(w.a.idle)
	}
	return n, err
}
