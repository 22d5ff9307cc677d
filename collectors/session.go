package collectors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"patrol/engine"
)

// Session is a workspace that a credential has signed in to, for those who act
// on it one request at a time. Methods may be called by one goroutine at a time.
type Session struct {
	client    *Client
	transport *http.Transport
	http      *http.Client // unlike the client's own, it may change things
	skew      time.Duration
}

const (
	sendTimeout = 30 * time.Second // for a request with its answer
	sendLimit   = 16 << 20         // of an answer, in bytes
)

// SignIn signs in to a workspace by unified authentication and proves the
// credential. Its error is an *engine.Error as in Outcome.
func SignIn(ctx context.Context, t Target, o Options) (*Session, error) {
	o = o.withDefaults()
	transport, problem := newTransport(o)
	if problem != nil {
		return nil, problem.error("collect", t.Label())
	}
	client, problem := signIn(ctx, t, o, transport)
	if problem == nil && client.session.meFault != nil {
		problem = client.session.meFault
	}
	if problem != nil {
		transport.CloseIdleConnections()
		return nil, problem.error("collect", t.Label())
	}
	s := &Session{client: client, transport: transport, http: &http.Client{Transport: transport, CheckRedirect: neverRedirect}}
	s.skew = o.Now().Sub(client.now())
	return s, nil
}

// Workspace is what is known of the workspace that answered.
func (s *Session) Workspace() engine.Workspace { return s.client.identity() }

// Caller tells whom the credential belongs to.
func (s *Session) Caller() Caller {
	me := s.client.session.me
	me.TokenID = s.client.tokenInUse(context.Background())
	return me
}

// Skew is how far our clock is ahead of the workspace's.
func (s *Session) Skew() time.Duration { return s.skew }

// Now is the time by the workspace's clock.
func (s *Session) Now() time.Time { return s.client.o.Now().Add(-s.skew).UTC() }

// Capture reads all sections afresh, as Collect does. The receiver closes the
// outcome when it has taken what it needs.
func (s *Session) Capture(ctx context.Context) Outcome {
	outcome := outcomeOf(Target{Name: s.client.name}, s.client, s.client.o, nil)
	outcome.Err = s.client.read(ctx, outcome.Capture.Sections)
	outcome.Capture.CollectedAt = s.Now()
	return outcome
}

// Tokens reads the list of tokens afresh.
func (s *Session) Tokens(ctx context.Context) (engine.Section, error) {
	section := readTokens(ctx, s.client.forSection(engine.SectionTokens))
	if c := section.Coverage; !c.Usable() {
		return section, &engine.Error{Class: engine.ClassIncomplete, Reason: c.Reason, Op: "list tokens of", Target: s.client.name, Hint: c.Hint, Err: errors.New(c.Detail)}
	}
	return section, nil
}

// Section reads one section afresh, as Capture does.
func (s *Session) Section(ctx context.Context, name engine.SectionName) engine.Section {
	for _, collector := range All() {
		if collector.Section == name {
			return s.client.forSection(name).readSection(ctx, collector)
		}
	}
	return engine.Section{Coverage: engine.Coverage{Status: engine.NotCollected}}
}

// Close frees what was kept and ends connections.
func (s *Session) Close() error {
	s.transport.CloseIdleConnections()
	return s.client.session.Close()
}

// Send implements engine.Client: one request, one answer, whatever it is.
func (s *Session) Send(ctx context.Context, method, target string, body []byte) (engine.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	relative, err := url.Parse(target)
	if err != nil || relative.Host != "" || relative.Scheme != "" {
		return engine.Response{}, fmt.Errorf("%s: %q is no path", method, target)
	}
	to := s.client.base.JoinPath(relative.EscapedPath())
	to.RawQuery = relative.RawQuery
	var content io.Reader
	if body != nil {
		content = struct{ io.Reader }{bytes.NewReader(body)} // not rewindable: nothing can send it twice
	}
	request, problem := s.client.request(ctx, method, to, content)
	if problem != nil {
		return engine.Response{}, errors.New(problem.Detail)
	}
	if body != nil {
		request.ContentLength = int64(len(body))
	}
	what := method + " " + request.URL.Path
	if problem := s.client.session.sameWorkspace(nil); problem != nil {
		return engine.Response{}, &engine.Fault{Kind: engine.FaultWorkspace, Detail: what + ": not sent: " + problem.Detail}
	}
	answer, err := s.http.Do(request)
	if err != nil {
		return engine.Response{}, fmt.Errorf("%s: %s", what, s.client.cause(err))
	}
	defer answer.Body.Close()
	if problem := s.client.session.sameWorkspace(answer.Header); problem != nil {
		return engine.Response{}, &engine.Fault{
			Kind: engine.FaultWorkspace, Detail: what + ": " + problem.Detail, HTTP: answer.StatusCode, Request: answer.Header.Get("X-Request-Id"),
		}
	}
	whole, err := io.ReadAll(io.LimitReader(answer.Body, sendLimit+1))
	switch {
	case err != nil:
		return engine.Response{}, fmt.Errorf("%s: the answer broke off: %s", what, s.client.cause(err))
	case len(whole) > sendLimit:
		return engine.Response{}, fmt.Errorf("%s: %w", what, errTooLarge)
	}
	return engine.Response{Status: answer.StatusCode, Header: answer.Header, Body: whole}, nil
}

// ParseToken reads one row of the token API as a list would, with the same
// window of times and the same notes of what is defective.
func ParseToken(raw []byte, now time.Time) (engine.Token, error) {
	if json.Valid(raw) {
		if t, _, ok := decodeToken(raw, windowAt(now)); ok {
			return t, nil
		}
	}
	return engine.Token{}, errors.New("the row is no token")
}

// Scrub takes the session's secrets and anything that looks like one out of a text.
func (s *Session) Scrub(text string) string { return s.client.scrub.excerpt(text) }

var _ engine.Client = (*Session)(nil)

// ParsePrincipal reads one principal as the directory answers it when it is
// asked for by its id.
func ParsePrincipal(raw []byte, kind engine.Kind) (engine.Principal, error) {
	name := "userName"
	if kind == engine.ServicePrincipal {
		name = "applicationId"
	}
	if !json.Valid(raw) {
		return engine.Principal{}, errors.New("the answer is no JSON")
	}
	var t tally
	row := newSCIMRow(raw, &t)
	if row.members == nil || len(row.twice) > 0 {
		return engine.Principal{}, errors.New("the answer is no JSON object, or has a key twice")
	}
	p := engine.Principal{ID: row.id, Kind: kind, Name: row.text(name), DisplayName: row.text("displayName"), Active: row.truth("active")}
	if len(t.examples) > 0 {
		return p, errors.New("a field is of another type than it should be")
	}
	return p, nil
}
