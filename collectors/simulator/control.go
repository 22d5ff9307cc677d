package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serveControl is the control plane. It needs no credential, and so answers
// loopback clients only.
func (a *Account) serveControl(w http.ResponseWriter, r *http.Request) {
	a.stamp(w.Header(), 0)
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		send(w, fail(http.StatusForbidden, "PERMISSION_DENIED", "The control plane answers loopback clients only."))
		return
	}
	key := r.Method + " " + strings.TrimRight(r.URL.Path, "/")
	if key == "GET /_sim/config" {
		c := call{Account: a, request: r}
		send(w, &answer{
			status: http.StatusOK, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
			body: []byte(a.ConfigFile(c.base())),
		})
		return
	}
	var body any
	data, err := readBody(r)
	known := true
	if err == nil {
		body, known, err = a.control(key, r.URL.Query().Get, data)
	}
	switch {
	case !known:
		send(w, fail(http.StatusNotFound, "ENDPOINT_NOT_FOUND", "No control endpoint %s", key))
	case err != nil:
		send(w, invalid("%v", err))
	default:
		send(w, ok(body))
	}
}

// control carries a request out. known is false where there is no such endpoint.
func (a *Account) control(key string, query func(string) string, data []byte) (body any, known bool, err error) {
	switch key {
	case "GET /_sim/faults":
	case "POST /_sim/faults": // one fault, or a list of them
		faults, err := ParseFaults(data)
		if err != nil {
			return nil, true, err
		}
		for _, f := range faults {
			a.AddFault(f)
		}
	case "DELETE /_sim/faults":
		a.ClearFaults()
	case "GET /_sim/contradict":
		return obj{"contradictions": Contradictions()}, true, nil
	case "POST /_sim/contradict":
		var order struct {
			Name      string `json:"name"`
			Workspace string `json:"workspace"`
		}
		err := decodeStrict(data, &order)
		if err == nil {
			err = a.Contradict(order.Name, order.Workspace)
		}
		if err != nil {
			return nil, true, err
		}
	case "GET /_sim/requests": // by ?method= and ?path=, a prefix
		method, path := query("method"), query("path")
		rows := slices.DeleteFunc(a.Requests(), func(q Request) bool {
			return method != "" && !strings.EqualFold(q.Method, method) || !strings.HasPrefix(q.Path, path)
		})
		return obj{"requests": append([]Request{}, rows...), "counts": a.Counts()}, true, nil
	case "DELETE /_sim/requests":
		a.ClearRequests()
		return obj{}, true, nil
	case "GET /_sim/state":
		body, err := a.controlState(query)
		return body, true, err
	case "POST /_sim/state":
		var change Change
		if err := decodeStrict(data, &change); err != nil {
			return nil, true, err
		}
		stored, err := a.Change(change)
		if err != nil || change.PutToken == nil {
			return obj{}, true, err
		}
		return obj{"token_id": stored.ID}, true, nil
	case "POST /_sim/clock":
		var move struct {
			Advance string `json:"advance"`
		}
		if err := decodeStrict(data, &move); err != nil {
			return nil, true, err
		}
		d, err := time.ParseDuration(move.Advance)
		if err != nil {
			return nil, true, fmt.Errorf("advance: %w", err)
		}
		a.Advance(d)
		return a.clock(), true, nil
	case "GET /_sim/clock":
		return a.clock(), true, nil
	default:
		return nil, false, nil
	}
	rows := []any{}
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	for _, f := range a.faults.list {
		rows = append(rows, struct {
			faultDoc
			Seen int `json:"seen"`
		}{f.doc(), f.seen})
	}
	return obj{"faults": rows}, true, nil
}

func (a *Account) clock() obj { return obj{"now": a.Now().UTC().Format(time.RFC3339Nano)} }

// decodeStrict reads one JSON value; an unknown key is an error that names it.
func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// ParseFaults reads a fault in JSON, or a list of them. An unknown key is an
// error that names it.
func ParseFaults(data []byte) ([]Fault, error) {
	docs := make([]faultDoc, 1)
	var into any = &docs[0]
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		into = &docs
	}
	if err := decodeStrict(data, into); err != nil {
		return nil, err
	}
	faults := make([]Fault, 0, len(docs))
	for i, d := range docs {
		f, err := d.fault()
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

// faultDoc is a fault in JSON: the delay is text ("250ms"), and a body may be a
// string or the JSON itself.
type faultDoc struct {
	Fault
	Body  json.RawMessage `json:"body,omitempty"`
	Delay string          `json:"delay,omitempty"`
}

func (f Fault) doc() faultDoc {
	d := faultDoc{Fault: f}
	if f.Body != "" {
		d.Body = encode(f.Body)
	}
	if f.Delay != 0 {
		d.Delay = f.Delay.String()
	}
	return d
}

func (d faultDoc) fault() (f Fault, err error) {
	f = d.Fault
	f.Body = string(d.Body)
	if bytes.HasPrefix(d.Body, []byte(`"`)) {
		if err := json.Unmarshal(d.Body, &f.Body); err != nil {
			return f, fmt.Errorf("body: %w", err)
		}
	}
	if d.Delay != "" {
		if f.Delay, err = time.ParseDuration(d.Delay); err != nil {
			return f, fmt.Errorf("delay: %w", err)
		}
	}
	if d.Then != nil {
		if err := decodeStrict(d.Then, &Change{}); err != nil {
			return f, fmt.Errorf("then: %w", err)
		}
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return f, fmt.Errorf("status: %d is not between 200 and 599", f.Status)
	}
	return f, nil
}

// controlState describes the account; ?workspace= narrows it to one, and
// ?tokens=true adds the rows of the tokens. What it answers shares nothing with
// the state: it is encoded after the lock is gone.
func (a *Account) controlState(query func(string) string) (any, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	only := query("workspace")
	rows := []obj{}
	for _, ws := range a.workspaces {
		if only != "" && !ws.names(only) {
			continue
		}
		feature := "enabled"
		if ws.tokensOff {
			feature = "disabled"
		}
		row := obj{
			"name": ws.name, "workspace_id": strconv.FormatInt(ws.id, 10), "cloud": ws.cloud, "labels": ws.labels,
			"profile": ws.name, "admin": ws.admin.name, "token": ws.adminToken,
			"viewer": ws.viewer.name, "viewer_token": ws.viewerToken,
			"client_id": ws.client.name, "client_secret": ws.client.secret,
			"token_count": ws.tokens.len(), "kinds": ws.kinds(),
			"conf": maps.Clone(ws.conf), "grants": ws.grantState, "access_control_list": slices.Clone(ws.grants),
			"tokens_feature": feature, "restrict_workspace_admins": ws.restrict.status,
		}
		if query("tokens") == "true" {
			row["tokens"] = ws.tokens.export()
		}
		rows = append(rows, row)
	}
	if only != "" && len(rows) == 0 {
		return nil, errUnknown("workspace", only)
	}
	auditor := a.directory.auditor
	return obj{
		"account_id": a.id, "client_id": auditor.name, "client_secret": auditor.secret,
		"seed": a.opts.Seed, "now": a.Now().UTC().Format(time.RFC3339Nano), "workspaces": rows,
	}, nil
}

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
func (a *Account) Counts() map[string]int64 {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	return maps.Clone(a.log.counts)
}

// Writes returns the recorded calls that could change something: all but GET,
// HEAD and the acquisition of OAuth tokens.
func (a *Account) Writes() []Request {
	return slices.DeleteFunc(a.Requests(), func(r Request) bool {
		signsIn := segments(r.Path)[0] == "oidc" || strings.HasSuffix(r.Path, "/oauth2/token")
		return r.Method == http.MethodGet || r.Method == http.MethodHead || signsIn
	})
}

// ClearRequests forgets requests and counts; sequence numbers start over.
func (a *Account) ClearRequests() {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	a.log.ring, a.log.seq, a.log.counts = nil, 0, map[string]int64{}
}

// names reports whether ref names the workspace, by name or id.
func (ws *workspace) names(ref string) bool {
	return ref == ws.name || ref == strconv.FormatInt(ws.id, 10)
}
