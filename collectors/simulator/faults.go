package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault spoils the calls that match all of its conditions. The first fault that
// matches, in order of AddFault, applies.
type Fault struct {
	// Conditions; empty means any.
	Method string `json:"method,omitempty"`
	// Path is a prefix of the path; with a trailing "$" it must be the whole
	// path, and "*" stands for any characters, "/" included.
	Path      string `json:"path,omitempty"`
	Workspace string `json:"workspace,omitempty"` // id or name
	Query     string `json:"query,omitempty"`     // part of the raw query

	// Status, Body and Headers replace the answer. A status without a body gets
	// the error document that goes with it; a body without a status gets 200.
	// Headers alone are added to the true answer.
	Status  int               `json:"status,omitempty"`
	Body    string            `json:"-"`
	Headers map[string]string `json:"headers,omitempty"`
	// Delay comes before everything else. Clearing faults ends it.
	Delay time.Duration `json:"-"`
	// Truncate, when positive, sends only that many bytes of the body and breaks
	// the connection, after announcing the full Content-Length. With Chunked the
	// answer ends cleanly instead, as if it were whole.
	Truncate int  `json:"truncate,omitempty"`
	Chunked  bool `json:"chunked,omitempty"`
	// Reset ends the connection with a TCP reset, after Truncate bytes if that
	// is set.
	Reset bool `json:"reset,omitempty"`
	// After lets the call have its effect before it fails.
	After bool `json:"after,omitempty"`

	// What follows changes a true answer into one that cannot be true.

	// Hide leaves rows out of lists: an id or a name, "caller", "token-in-use",
	// "own" (the caller's tokens), "20%" (the last fifth), "owners:20%" (a fifth of
	// those whose tokens were used yesterday or today), or "*". Totals agree with
	// what is left, and single resources are still found.
	Hide []string `json:"hide,omitempty"`
	// Strip leaves fields out of each row; Twice lets a field stand again in each
	// row, or in the answer itself where that is no list; Set sets a field of the
	// answer; Total is added to its totalResults.
	Strip []string                   `json:"strip,omitempty"`
	Twice map[string]json.RawMessage `json:"twice,omitempty"`
	Set   map[string]json.RawMessage `json:"set,omitempty"`
	Total int                        `json:"total,omitempty"`
	// FirstPage answers the first page whatever page was asked for.
	FirstPage bool `json:"first_page,omitempty"`
	// As is the workspace, by id or name, that answers instead, to its own admin.
	As string `json:"as,omitempty"`
	// Then is a change of state, as for POST /_sim/state, once the call has had its
	// effect and before it is answered.
	Then json.RawMessage `json:"then,omitempty"`

	// Skip lets the first matching calls pass; Times bounds how many are spoilt
	// after that, 0 means all.
	Skip  int `json:"skip,omitempty"`
	Times int `json:"times,omitempty"`

	seen int // matching calls
}

// faultJSON is a fault in JSON: the delay is text ("250ms"), and a body may be a
// string or the JSON itself.
type faultJSON struct {
	plainFault
	Body  json.RawMessage `json:"body,omitempty"`
	Delay string          `json:"delay,omitempty"`
}

type plainFault Fault

// MarshalJSON says how often the fault matched, too.
func (f Fault) MarshalJSON() ([]byte, error) {
	doc := struct {
		faultJSON
		Seen int `json:"seen"`
	}{faultJSON{plainFault: plainFault(f)}, f.seen}
	if f.Body != "" {
		doc.Body = encode(f.Body)
	}
	if f.Delay != 0 {
		doc.Delay = f.Delay.String()
	}
	return encode(doc), nil
}

// ParseFaults reads a fault in JSON, or a list of them. An unknown key is an
// error that names it.
func ParseFaults(data []byte) ([]Fault, error) {
	docs := make([]faultJSON, 1)
	var into any = &docs[0]
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		into = &docs
	}
	if err := decodeStrict(data, into); err != nil {
		return nil, err
	}
	faults := make([]Fault, 0, len(docs))
	for i, doc := range docs {
		f := Fault(doc.plainFault)
		f.Body = string(doc.Body)
		var err error
		if bytes.HasPrefix(doc.Body, []byte(`"`)) {
			err = json.Unmarshal(doc.Body, &f.Body)
		}
		if err == nil && doc.Delay != "" {
			if f.Delay, err = time.ParseDuration(doc.Delay); err != nil {
				err = fmt.Errorf("delay: %w", err)
			}
		}
		if err == nil && f.Then != nil {
			if err = decodeStrict(f.Then, &Change{}); err != nil {
				err = fmt.Errorf("then: %w", err)
			}
		}
		if err == nil && f.Status != 0 && (f.Status < 200 || f.Status > 599) {
			err = fmt.Errorf("status: %d is not between 200 and 599", f.Status)
		}
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

// AddFault arms a fault.
func (a *Account) AddFault(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.Headers = maps.Clone(f.Headers)
	a.faults = append(a.faults, &f)
}

// ClearFaults disarms all faults. Calls that a delay holds up go on.
func (a *Account) ClearFaults() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.cleared)
	a.faults, a.cleared = nil, make(chan struct{})
}

// Faults returns what is armed, used-up faults included.
func (a *Account) Faults() []Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]Fault, 0, len(a.faults))
	for _, f := range a.faults {
		list = append(list, *f)
	}
	return list
}

// takeFault returns the fault that applies to the call, or nil, and counts it.
// cleared is closed when faults are cleared.
func (c *call) takeFault() (fault *Fault, cleared <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		pattern, whole := strings.CutSuffix(f.Path, "$")
		if !whole {
			pattern += "*"
		}
		if f.Method != "" && !strings.EqualFold(f.Method, c.request.Method) || !globMatch(pattern, c.request.URL.Path) ||
			f.Workspace != "" && !c.ws.names(f.Workspace) || !strings.Contains(c.request.URL.RawQuery, f.Query) {
			continue
		}
		f.seen++
		if f.seen > f.Skip && (f.Times == 0 || f.seen <= f.Skip+f.Times) {
			taken := *f
			return &taken, c.cleared
		}
	}
	return nil, nil
}

// globMatch matches "*" against any run of characters.
func globMatch(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	if len(parts) == 1 {
		return s == ""
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// errorCodes go with a status that a fault answers.
var errorCodes = map[int]string{
	http.StatusBadRequest: "BAD_REQUEST", http.StatusUnauthorized: "UNAUTHENTICATED",
	http.StatusForbidden: "PERMISSION_DENIED", http.StatusNotFound: "RESOURCE_DOES_NOT_EXIST",
	http.StatusConflict: "RESOURCE_CONFLICT", http.StatusTooManyRequests: "REQUEST_LIMIT_EXCEEDED",
	http.StatusInternalServerError: "INTERNAL_ERROR", http.StatusServiceUnavailable: "TEMPORARILY_UNAVAILABLE",
	http.StatusGatewayTimeout: "DEADLINE_EXCEEDED",
}

// serveFault answers in the fault's way. The true answer is computed when it is
// needed, or when the fault comes after the effect.
func (c *call) serveFault(w http.ResponseWriter, f Fault, cleared <-chan struct{}, status *int) {
	if !pause(c.request, f.Delay, cleared) {
		return
	}
	c.hide, c.firstPage = f.Hide, f.FirstPage
	if f.As != "" {
		if other := c.find(f.As); other != nil {
			c.ws, c.who.principal = other, other.admin
		}
		c.stampWorkspace(w.Header())
	}
	replaced := f.Status != 0 || f.Body != "" || f.Reset && f.Truncate == 0
	var reply *answer
	if !replaced || f.After {
		reply = c.carryOut()
	}
	if f.Reset && f.Truncate == 0 {
		reset(w)
		return
	}
	code := cmp.Or(f.Status, http.StatusOK)
	switch {
	case !replaced:
		reply = f.edit(reply)
	case f.Body == "" && code >= http.StatusBadRequest:
		reply = c.fail(code, cmp.Or(errorCodes[code], "UNKNOWN"), "Injected fault: %d %s", code, http.StatusText(code))
	default:
		reply = &answer{status: code, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(f.Body)}
	}
	if f.Then != nil {
		var change Change
		if json.Unmarshal(f.Then, &change) == nil { // checked when it was ordered
			_, _ = c.Change(change)
		}
	}
	for name, value := range f.Headers {
		reply.header.Set(name, value)
	}
	*status = reply.status
	if f.Truncate == 0 {
		send(w, reply)
		return
	}
	// Only the head of the body. Unless the fault is clean, the connection breaks, which
	// the client sees as an unexpected end.
	body := reply.whole()
	for name, values := range reply.header {
		w.Header()[name] = values
	}
	if !f.Chunked {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(reply.status)
	_, _ = w.Write(body[:min(len(body), f.Truncate)])
	_ = http.NewResponseController(w).Flush() // also what makes the answer chunked
	switch {
	case f.Reset:
		*status = 0
		reset(w)
	case !f.Chunked:
		panic(http.ErrAbortHandler)
	}
}

// whole is the body, also of an answer that is sent as it is made.
func (reply *answer) whole() []byte {
	if reply.stream == nil {
		return reply.body
	}
	var b bytes.Buffer
	_ = reply.stream(&b) // a buffer takes everything
	return b.Bytes()
}

// reset closes the connection with RST; where that cannot be had, it at least
// breaks off.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
