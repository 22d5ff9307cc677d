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
	"strings"
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
	if command == nil {
		send(w, fail(http.StatusNotFound, "ENDPOINT_NOT_FOUND", "No control endpoint %s", key))
		return
	}
	var body any
	if c.body, err = readBody(r); err == nil {
		body, err = command(c)
	}
	text, isText := body.(string)
	switch {
	case err != nil:
		send(w, invalid("%v", err))
	case isText:
		send(w, &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, body: []byte(text)})
	default:
		send(w, ok(body))
	}
}

// controls are the commands of the control plane; each returns a document, or a text.
var controls = map[string]func(*call) (any, error){
	"GET /_sim/faults": func(c *call) (any, error) { return obj{"faults": c.Faults()}, nil },
	"POST /_sim/faults": func(c *call) (any, error) { // one fault, or a list of them
		faults, err := ParseFaults(c.body)
		if err != nil {
			return nil, err
		}
		for _, f := range faults {
			c.AddFault(f)
		}
		return obj{"faults": c.Faults()}, nil
	},
	"DELETE /_sim/faults":  func(c *call) (any, error) { c.ClearFaults(); return obj{"faults": c.Faults()}, nil },
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
		return obj{"faults": c.Faults()}, err
	},
	"GET /_sim/requests": func(c *call) (any, error) { // by ?method= and ?path=, a prefix
		method, path := c.query("method"), c.query("path")
		rows := slices.DeleteFunc(c.Requests(), func(q Request) bool {
			return method != "" && !strings.EqualFold(q.Method, method) || !strings.HasPrefix(q.Path, path)
		})
		return obj{"requests": rows, "counts": c.Counts()}, nil
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
	"GET /_sim/config": func(c *call) (any, error) { return c.ConfigFile(c.base()), nil },
	"GET /_sim/clock":  func(c *call) (any, error) { return obj{"now": c.Now().UTC()}, nil },
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

// state describes the account; ?workspace= narrows it to one, and ?tokens=true adds
// the rows of the tokens. What it answers shares nothing with the state: it is
// encoded after the lock is gone.
func (c *call) state() (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	type row struct {
		Workspace
		Count    int               `json:"token_count"`
		Kinds    map[string]int    `json:"kinds"`
		Conf     map[string]string `json:"conf"`
		State    string            `json:"grants"`
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
			r.Tokens = ws.copies()
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

// record notes the call as it arrives.
func (c *call) record() *Request {
	if len(c.requests) == 2*requestLogSize {
		c.requests = slices.Clone(c.requests[requestLogSize:])
	}
	c.seq++
	r := &Request{
		Seq: c.seq, Time: c.Now().UTC(), Method: c.request.Method, Path: c.request.URL.Path,
		Query: c.request.URL.RawQuery, Workspace: c.ws.Name,
	}
	counter := r.Method + " unknown"
	if c.route != nil {
		counter = r.Method + " " + c.route.path
	}
	c.counts[counter]++
	if c.who.principal != nil {
		r.User = c.who.principal.Name
	}
	if c.writes() {
		r.Body = string(c.body[:min(len(c.body), maxLoggedBody)])
	}
	c.requests = append(c.requests, r)
	return r
}

// Requests returns the latest 100,000 API calls, oldest first. Control-plane
// calls are not among them.
func (a *Account) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	latest := a.requests[max(0, len(a.requests)-requestLogSize):]
	rows := make([]Request, 0, len(latest))
	for _, r := range latest {
		rows = append(rows, *r)
	}
	return rows
}

// Counts returns how often each endpoint was called since the start or the last
// ClearRequests, by names such as "DELETE /api/2.0/token-management/tokens/{id}".
func (a *Account) Counts() map[string]int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.counts)
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
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests, a.seq, a.counts = nil, 0, map[string]int64{}
}
