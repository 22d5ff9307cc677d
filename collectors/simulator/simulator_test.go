package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
)

// noon is the simulated time of the tests.
var noon = time.Date(2026, time.March, 10, 12, 34, 56, 0, time.UTC)

func frozen() time.Time { return noon }

// world is an account with its server and a plain HTTP client.
type world struct {
	*simulator.Account
	t   *testing.T
	url string
	ws  []simulator.Workspace
}

func newWorld(t *testing.T, change ...func(*simulator.Options)) *world {
	t.Helper()
	opts := simulator.Options{Seed: 7, Tokens: 60, Now: frozen}
	for _, f := range change {
		f(&opts)
	}
	a := simulator.New(opts)
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return &world{Account: a, t: t, url: server.URL, ws: a.Workspaces()}
}

// reply is a response that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	d := json.NewDecoder(strings.NewReader(r.body))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("decode %q: %v", r.body, err)
	}
	return doc
}

// try sends a request and returns what a careful client sees, errors included.
func (w *world) try(method, path, bearer, body string, header ...string) (reply, error) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(data)}, err
}

func (w *world) do(method, path, bearer, body string, header ...string) reply {
	w.t.Helper()
	r, err := w.try(method, path, bearer, body, header...)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// as calls as the admin of workspace i.
func (w *world) as(i int, method, path, body string) reply {
	w.t.Helper()
	return w.do(method, path, w.ws[i].Token, body)
}

func (w *world) wantError(r reply, status int, code, message string) {
	w.t.Helper()
	if r.status != status || !strings.Contains(r.body, code) || !strings.Contains(r.body, message) {
		w.t.Errorf("got %d %s, want %d with %s and %q", r.status, r.body, status, code, message)
	}
}

// firstToken is the first token of a kind in workspace i.
func (w *world) firstToken(i int, kind string) simulator.Token {
	w.t.Helper()
	for _, tok := range w.Tokens(w.ws[i].Name) {
		if tok.Kind == kind {
			return tok
		}
	}
	w.t.Fatalf("no token of kind %q", kind)
	return simulator.Token{}
}
