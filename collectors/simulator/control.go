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
	"time"
)

// serveControl is the control plane. It needs no credential, and so answers
// loopback clients only.
func (a *Account) serveControl(w http.ResponseWriter, r *http.Request) {
	a.stamp(w.Header(), 0)
	if !fromLoopback(r) {
		send(w, fail(http.StatusForbidden, "PERMISSION_DENIED", "The control plane answers loopback clients only."))
		return
	}
	handlers := map[string]func(query func(string) string, body []byte) (any, error){
		"GET /_sim/faults":      a.controlFaults,
		"POST /_sim/faults":     a.controlAddFaults,
		"DELETE /_sim/faults":   func(func(string) string, []byte) (any, error) { a.ClearFaults(); return a.controlFaults(nil, nil) },
		"GET /_sim/contradict":  func(func(string) string, []byte) (any, error) { return obj{"contradictions": Contradictions()}, nil },
		"POST /_sim/contradict": a.controlContradict,
		"GET /_sim/requests":    a.controlRequests,
		"DELETE /_sim/requests": func(func(string) string, []byte) (any, error) { a.ClearRequests(); return obj{}, nil },
		"GET /_sim/state":       a.controlState,
		"POST /_sim/state":      a.controlChange,
		"GET /_sim/clock":       a.controlClock,
		"POST /_sim/clock":      a.controlMoveClock,
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
	handle, known := handlers[key]
	if !known {
		send(w, fail(http.StatusNotFound, "ENDPOINT_NOT_FOUND", "No control endpoint %s", key))
		return
	}
	var body any
	data, err := readBody(r)
	if err == nil {
		body, err = handle(r.URL.Query().Get, data)
	}
	if err != nil {
		send(w, invalid("%v", err))
		return
	}
	send(w, ok(body))
}

func fromLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
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

func (a *Account) controlFaults(func(string) string, []byte) (any, error) {
	rows := []any{}
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	for _, f := range a.faults.list {
		rows = append(rows, struct {
			faultDoc
			Seen int `json:"seen"`
		}{f.doc(), f.seen})
	}
	return obj{"faults": rows}, nil
}

// controlAddFaults takes one fault, or a list of them.
func (a *Account) controlAddFaults(_ func(string) string, data []byte) (any, error) {
	faults, err := ParseFaults(data)
	if err != nil {
		return nil, err
	}
	for _, f := range faults {
		a.AddFault(f)
	}
	return a.controlFaults(nil, nil)
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

func (a *Account) controlContradict(_ func(string) string, data []byte) (any, error) {
	var body struct {
		Name      string `json:"name"`
		Workspace string `json:"workspace"`
	}
	if err := decodeStrict(data, &body); err != nil {
		return nil, err
	}
	if err := a.Contradict(body.Name, body.Workspace); err != nil {
		return nil, err
	}
	return a.controlFaults(nil, nil)
}

// controlRequests filters by ?method= and ?path= (a prefix).
func (a *Account) controlRequests(query func(string) string, _ []byte) (any, error) {
	method, path := query("method"), query("path")
	rows := slices.DeleteFunc(a.Requests(), func(q Request) bool {
		return method != "" && !strings.EqualFold(q.Method, method) || !strings.HasPrefix(q.Path, path)
	})
	return obj{"requests": append([]Request{}, rows...), "counts": a.Counts()}, nil
}

func (a *Account) controlClock(func(string) string, []byte) (any, error) {
	return obj{"now": a.Now().UTC().Format(time.RFC3339Nano)}, nil
}

func (a *Account) controlMoveClock(_ func(string) string, data []byte) (any, error) {
	var body struct {
		Advance string `json:"advance"`
	}
	if err := decodeStrict(data, &body); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(body.Advance)
	if err != nil {
		return nil, fmt.Errorf("advance: %w", err)
	}
	a.Advance(d)
	return a.controlClock(nil, nil)
}

func (a *Account) controlChange(_ func(string) string, data []byte) (any, error) {
	var change Change
	if err := decodeStrict(data, &change); err != nil {
		return nil, err
	}
	stored, err := a.Change(change)
	if err != nil {
		return nil, err
	}
	if change.PutToken == nil {
		return obj{}, nil
	}
	return obj{"token_id": stored.ID}, nil
}

// controlState describes the account; ?workspace= narrows it to one, and
// ?tokens=true adds the rows of the tokens. What it answers shares nothing with
// the state: it is encoded after the lock is gone.
func (a *Account) controlState(query func(string) string, _ []byte) (any, error) {
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
