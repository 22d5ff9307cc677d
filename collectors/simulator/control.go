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
	c := &call{Account: a, request: r}
	key := r.Method + " " + strings.TrimRight(r.URL.Path, "/")
	command := controls[key]
	if key == "GET /_sim/config" {
		send(w, &answer{
			status: http.StatusOK, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
			body: []byte(a.ConfigFile(c.base())),
		})
		return
	}
	if command == nil {
		send(w, fail(http.StatusNotFound, "ENDPOINT_NOT_FOUND", "No control endpoint %s", key))
		return
	}
	var body any
	if c.body, err = readBody(r); err == nil {
		body, err = command(c)
	}
	if err != nil {
		send(w, invalid("%v", err))
		return
	}
	send(w, ok(body))
}

// controls are the commands of the control plane.
var controls = map[string]func(*call) (any, error){
	"GET /_sim/faults": func(c *call) (any, error) { return c.armed(), nil },
	"POST /_sim/faults": func(c *call) (any, error) { // one fault, or a list of them
		faults, err := ParseFaults(c.body)
		if err != nil {
			return nil, err
		}
		for _, f := range faults {
			c.AddFault(f)
		}
		return c.armed(), nil
	},
	"DELETE /_sim/faults":  func(c *call) (any, error) { c.ClearFaults(); return c.armed(), nil },
	"GET /_sim/contradict": func(*call) (any, error) { return obj{"contradictions": Contradictions()}, nil },
	"POST /_sim/contradict": func(c *call) (any, error) {
		var order struct {
			Name      string `json:"name"`
			Workspace string `json:"workspace"`
		}
		if err := decodeStrict(c.body, &order); err != nil {
			return nil, err
		}
		err := c.Contradict(order.Name, order.Workspace)
		return c.armed(), err
	},
	"GET /_sim/requests": func(c *call) (any, error) { // by ?method= and ?path=, a prefix
		method, path := c.query("method"), c.query("path")
		rows := slices.DeleteFunc(c.Requests(), func(q Request) bool {
			return method != "" && !strings.EqualFold(q.Method, method) || !strings.HasPrefix(q.Path, path)
		})
		return obj{"requests": append([]Request{}, rows...), "counts": c.Counts()}, nil
	},
	"DELETE /_sim/requests": func(c *call) (any, error) { c.ClearRequests(); return obj{}, nil },
	"GET /_sim/state":       (*call).state,
	"POST /_sim/state": func(c *call) (any, error) {
		var change Change
		if err := decodeStrict(c.body, &change); err != nil {
			return nil, err
		}
		stored, err := c.Change(change)
		if err != nil || change.PutToken == nil {
			return obj{}, err
		}
		return obj{"token_id": stored.ID}, nil
	},
	"GET /_sim/clock": func(c *call) (any, error) { return obj{"now": c.Now().UTC()}, nil },
	"POST /_sim/clock": func(c *call) (any, error) {
		var move struct {
			Advance string `json:"advance"`
		}
		if err := decodeStrict(c.body, &move); err != nil {
			return nil, err
		}
		d, err := time.ParseDuration(move.Advance)
		if err != nil {
			return nil, fmt.Errorf("advance: %w", err)
		}
		c.Advance(d)
		return obj{"now": c.Now().UTC()}, nil
	},
}

func (c *call) query(name string) string { return c.request.URL.Query().Get(name) }

// armed are the faults, with how often each matched.
func (a *Account) armed() obj {
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	rows := []any{}
	for _, f := range a.faults.list {
		rows = append(rows, struct {
			faultDoc
			Seen int `json:"seen"`
		}{f.doc(), f.seen})
	}
	return obj{"faults": rows}
}

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

// state describes the account; ?workspace= narrows it to one, and ?tokens=true adds
// the rows of the tokens. What it answers shares nothing with the state: it is
// encoded after the lock is gone.
func (c *call) state() (any, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	type row struct {
		Workspace
		Count    int               `json:"token_count"`
		Kinds    map[string]int    `json:"kinds"`
		Conf     map[string]string `json:"conf"`
		State    GrantState        `json:"grants"`
		ACL      []Grant           `json:"access_control_list"`
		Feature  string            `json:"tokens_feature"`
		Restrict string            `json:"restrict_workspace_admins"`
		Tokens   []Token           `json:"tokens,omitempty"`
	}
	only := c.query("workspace")
	rows := []row{}
	for _, ws := range c.workspaces {
		if only != "" && !ws.names(only) {
			continue
		}
		r := row{
			Workspace: ws.Workspace, Count: len(ws.tokens.index), Kinds: ws.kinds(), Conf: maps.Clone(ws.conf),
			State: ws.grantState, ACL: slices.Clone(ws.grants), Feature: "enabled", Restrict: ws.restrict.status,
		}
		if ws.tokensOff {
			r.Feature = "disabled"
		}
		if c.query("tokens") == "true" {
			r.Tokens = ws.tokens.list()
		}
		rows = append(rows, r)
	}
	if only != "" && len(rows) == 0 {
		return nil, errUnknown("workspace", only)
	}
	auditor := c.directory.auditor
	return obj{
		"account_id": c.id, "client_id": auditor.Name, "client_secret": auditor.secret,
		"seed": c.opts.Seed, "now": c.Now().UTC(), "workspaces": rows,
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

// requestLog holds the latest requests, and exact counters of all.
type requestLog struct {
	mu     sync.Mutex
	seq    uint64
	latest []Request // without gaps, up to seq
	counts map[string]int64
}

func (l *requestLog) begin(r Request, counter string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.latest) == 2*requestLogSize {
		l.latest = append([]Request{}, l.latest[requestLogSize:]...)
	}
	l.seq++
	r.Seq = l.seq
	l.latest = append(l.latest, r)
	l.counts[counter]++
	return l.seq
}

func (l *requestLog) finish(seq uint64, status int, fault bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ago := l.seq - seq; ago < uint64(len(l.latest)) {
		r := &l.latest[len(l.latest)-1-int(ago)]
		r.Status, r.Fault = status, fault
	}
}

func (c *call) entry() Request {
	r := Request{
		Time: c.Now().UTC(), Method: c.request.Method, Path: c.request.URL.Path,
		Query: c.request.URL.RawQuery, Workspace: c.ws.Name,
	}
	if c.who.principal != nil {
		r.User = c.who.principal.Name
	}
	if c.writes() {
		r.Body = string(c.body[:min(len(c.body), maxLoggedBody)])
	}
	return r
}

// Requests returns the latest 100,000 API calls, oldest first. Control-plane
// calls are not among them.
func (a *Account) Requests() []Request {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	return slices.Clone(a.log.latest[max(0, len(a.log.latest)-requestLogSize):])
}

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
		signsIn := strings.HasPrefix(r.Path, "/oidc/") || strings.HasSuffix(r.Path, "/oauth2/token")
		return r.Method == http.MethodGet || r.Method == http.MethodHead || signsIn
	})
}

// ClearRequests forgets requests and counts; sequence numbers start over.
func (a *Account) ClearRequests() {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	a.log.latest, a.log.seq, a.log.counts = nil, 0, map[string]int64{}
}

// names reports whether ref names the workspace, by name or id.
func (ws *workspace) names(ref string) bool {
	return ref == ws.Name || ref == strconv.FormatInt(ws.ID, 10)
}
