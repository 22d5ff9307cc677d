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
	handlers := map[string]func(*http.Request) (any, error){
		"GET /_sim/faults":      a.controlGetFaults,
		"POST /_sim/faults":     a.controlAddFaults,
		"DELETE /_sim/faults":   a.controlClearFaults,
		"GET /_sim/requests":    a.controlGetRequests,
		"DELETE /_sim/requests": a.controlClearRequests,
		"GET /_sim/state":       a.controlGetState,
		"POST /_sim/state":      a.controlChangeState,
		"GET /_sim/contradict":  func(*http.Request) (any, error) { return obj{"contradictions": Contradictions()}, nil },
		"POST /_sim/contradict": a.controlContradict,
		"GET /_sim/clock":       a.controlGetClock,
		"POST /_sim/clock":      a.controlMoveClock,
		"GET /_sim/config":      nil, // text, below
	}
	key := r.Method + " " + strings.TrimRight(r.URL.Path, "/")
	handle, known := handlers[key]
	switch {
	case !known:
		send(w, fail(http.StatusNotFound, "ENDPOINT_NOT_FOUND", "No control endpoint "+key))
	case handle == nil:
		c := call{Account: a, request: r}
		send(w, answer{
			status: http.StatusOK, header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
			body: []byte(a.ConfigFile(c.base())),
		})
	default:
		body, err := handle(r)
		if err != nil {
			send(w, fail(http.StatusBadRequest, "INVALID_PARAMETER_VALUE", err.Error()))
			return
		}
		send(w, ok(body))
	}
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

func readBody(r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err == nil && len(data) > maxBody {
		err = errors.New("request body exceeds 1 MiB")
	}
	return data, err
}

// faultDoc is a fault in JSON: durations are text ("250ms"), and a body may be
// a string or the JSON itself.
type faultDoc struct {
	Method    string            `json:"method,omitempty"`
	Path      string            `json:"path,omitempty"`
	Workspace string            `json:"workspace,omitempty"`
	Query     string            `json:"query,omitempty"`
	Status    int               `json:"status,omitempty"`
	Body      json.RawMessage   `json:"body,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Delay     string            `json:"delay,omitempty"`
	Truncate  int               `json:"truncate,omitempty"`
	Chunked   bool              `json:"chunked,omitempty"`
	Reset     bool              `json:"reset,omitempty"`
	After     bool              `json:"after,omitempty"`
	Skip      int               `json:"skip,omitempty"`
	Times     int               `json:"times,omitempty"`

	Hide      []string                   `json:"hide,omitempty"`
	Strip     []string                   `json:"strip,omitempty"`
	Twice     map[string]json.RawMessage `json:"twice,omitempty"`
	Set       map[string]json.RawMessage `json:"set,omitempty"`
	Total     int                        `json:"total,omitempty"`
	FirstPage bool                       `json:"first_page,omitempty"`
	As        string                     `json:"as,omitempty"`
	Then      json.RawMessage            `json:"then,omitempty"`
}

func (d faultDoc) fault() (Fault, error) {
	f := Fault{
		Method: d.Method, Path: d.Path, Workspace: d.Workspace, Query: d.Query, Status: d.Status,
		Body: string(d.Body), Headers: d.Headers, Truncate: d.Truncate, Chunked: d.Chunked,
		Reset: d.Reset, After: d.After, Skip: d.Skip, Times: d.Times,
		Hide: d.Hide, Strip: d.Strip, Twice: d.Twice, Set: d.Set, Total: d.Total, FirstPage: d.FirstPage, As: d.As, Then: d.Then,
	}
	if d.Then != nil {
		if err := decodeStrict(d.Then, &stateChange{}); err != nil {
			return f, fmt.Errorf("then: %w", err)
		}
	}
	if bytes.HasPrefix(d.Body, []byte(`"`)) {
		if err := json.Unmarshal(d.Body, &f.Body); err != nil {
			return f, fmt.Errorf("body: %w", err)
		}
	}
	if d.Delay != "" {
		delay, err := time.ParseDuration(d.Delay)
		if err != nil {
			return f, fmt.Errorf("delay: %w", err)
		}
		f.Delay = delay
	}
	if d.Status != 0 && (d.Status < 200 || d.Status > 599) {
		return f, fmt.Errorf("status: %d is not between 200 and 599", d.Status)
	}
	return f, nil
}

func docOf(f Fault) faultDoc {
	d := faultDoc{
		Method: f.Method, Path: f.Path, Workspace: f.Workspace, Query: f.Query, Status: f.Status,
		Headers: f.Headers, Truncate: f.Truncate, Chunked: f.Chunked,
		Reset: f.Reset, After: f.After, Skip: f.Skip, Times: f.Times,
		Hide: f.Hide, Strip: f.Strip, Twice: f.Twice, Set: f.Set, Total: f.Total, FirstPage: f.FirstPage, As: f.As, Then: f.Then,
	}
	if f.Body != "" {
		d.Body = encode(f.Body)
	}
	if f.Delay != 0 {
		d.Delay = f.Delay.String()
	}
	return d
}

func (a *Account) controlGetFaults(*http.Request) (any, error) {
	type row struct {
		faultDoc
		Seen int `json:"seen"`
	}
	rows := []row{}
	for _, f := range a.faults.snapshot() {
		rows = append(rows, row{docOf(f.Fault), f.seen})
	}
	return obj{"faults": rows}, nil
}

// controlAddFaults takes one fault, or a list of them.
func (a *Account) controlAddFaults(r *http.Request) (any, error) {
	data, err := readBody(r)
	if err != nil {
		return nil, err
	}
	faults, err := ParseFaults(data)
	if err != nil {
		return nil, err
	}
	for _, f := range faults {
		a.AddFault(f)
	}
	return a.controlGetFaults(r)
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

func (a *Account) controlContradict(r *http.Request) (any, error) {
	data, err := readBody(r)
	if err != nil {
		return nil, err
	}
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
	return a.controlGetFaults(r)
}

func (a *Account) controlClearFaults(r *http.Request) (any, error) {
	a.ClearFaults()
	return a.controlGetFaults(r)
}

// controlGetRequests filters by ?method= and ?path= (a prefix).
func (a *Account) controlGetRequests(r *http.Request) (any, error) {
	method, path := r.URL.Query().Get("method"), r.URL.Query().Get("path")
	rows := slices.DeleteFunc(a.Requests(), func(q Request) bool {
		return method != "" && !strings.EqualFold(q.Method, method) || !strings.HasPrefix(q.Path, path)
	})
	if rows == nil {
		rows = []Request{}
	}
	return obj{"requests": rows, "counts": a.Counts()}, nil
}

func (a *Account) controlClearRequests(*http.Request) (any, error) {
	a.ClearRequests()
	return obj{}, nil
}

func (a *Account) controlGetClock(*http.Request) (any, error) {
	return obj{"now": a.Now().UTC().Format(time.RFC3339Nano)}, nil
}

func (a *Account) controlMoveClock(r *http.Request) (any, error) {
	data, err := readBody(r)
	if err != nil {
		return nil, err
	}
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
	return a.controlGetClock(r)
}

// controlGetState describes the account; ?workspace= narrows it to one, and
// ?tokens=true adds the rows of the tokens.
func (a *Account) controlGetState(r *http.Request) (any, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	query := r.URL.Query()
	only, withTokens := query.Get("workspace"), query.Get("tokens") == "true"
	rows := []obj{}
	for _, ws := range a.workspaces {
		if only == "" || ws.names(only) {
			rows = append(rows, ws.stateDoc(withTokens))
		}
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

// stateDoc shares nothing with the state: it is encoded after the lock is gone.
func (ws *workspace) stateDoc(withTokens bool) obj {
	feature := "enabled"
	if ws.tokensOff {
		feature = "disabled"
	}
	doc := obj{
		"name": ws.name, "workspace_id": strconv.FormatInt(ws.id, 10), "cloud": ws.cloud, "labels": ws.labels,
		"profile": ws.name, "admin": ws.admin.name, "token": ws.adminToken,
		"viewer": ws.viewer.name, "viewer_token": ws.viewerToken,
		"client_id": ws.client.name, "client_secret": ws.client.secret,
		"token_count": ws.tokens.len(), "kinds": ws.kinds(),
		"conf": maps.Clone(ws.conf), "grants": ws.grantState, "access_control_list": slices.Clone(ws.grants),
		"tokens_feature": feature, "restrict_workspace_admins": ws.restrict.status,
	}
	if withTokens {
		rows := make([]Token, 0, ws.tokens.len())
		for t := range ws.tokens.all() {
			rows = append(rows, t.export())
		}
		doc["tokens"] = rows
	}
	return doc
}

// stateChange is the body of POST /_sim/state. What is absent stays.
type stateChange struct {
	Workspace   string             `json:"workspace"` // the first one when empty
	PutToken    *Token             `json:"put_token"`
	DeleteToken string             `json:"delete_token"`
	User        *userChange        `json:"user"`
	Conf        map[string]*string `json:"conf"`
	Grants      GrantState         `json:"grants"`
	ACL         *[]Grant           `json:"access_control_list"`
	Admins      AdminsEntry        `json:"admins_entry"` // of the ACL: explicit, inherited or absent
	NotFound    string             `json:"not_found"`    // of tokens: RESOURCE_DOES_NOT_EXIST or NOT_FOUND
	MaxPage     int                `json:"max_page"`     // resources on a SCIM page
	Tokens      string             `json:"tokens"`       // enabled or disabled
	Restrict    string             `json:"restrict_workspace_admins"`
	Status      string             `json:"workspace_status"` // as the account lists it
	IPLists     *[]IPList          `json:"ip_access_lists"`
}

type userChange struct {
	Name    string `json:"name"` // user name, application id or id
	Active  *bool  `json:"active"`
	Hide    bool   `json:"hide_active"` // leave "active" out of answers
	Admin   *bool  `json:"admin"`       // of the workspace
	Removed bool   `json:"removed"`
}

// controlChangeState applies the parts in the order of stateChange and stops at
// the first that fails; parts before it have been applied.
func (a *Account) controlChangeState(r *http.Request) (any, error) {
	data, err := readBody(r)
	if err != nil {
		return nil, err
	}
	return a.changeState(data)
}

func (a *Account) changeState(data []byte) (any, error) {
	var change stateChange
	if err := decodeStrict(data, &change); err != nil {
		return nil, err
	}
	if change.Workspace == "" {
		change.Workspace = a.Workspaces()[0].Name
	}
	result := obj{}
	for _, apply := range []func(stateChange, obj) error{
		a.changeTokens, a.changeUser, a.changeConf, a.changeGrants, a.changeFeatures,
	} {
		if err := apply(change, result); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func (a *Account) changeTokens(change stateChange, result obj) error {
	if change.PutToken != nil {
		stored, err := a.PutToken(change.Workspace, *change.PutToken)
		if err != nil {
			return err
		}
		result["token_id"] = stored.ID
	}
	if change.DeleteToken != "" {
		return a.DeleteToken(change.Workspace, change.DeleteToken)
	}
	return nil
}

func (a *Account) changeUser(change stateChange, _ obj) error {
	user := change.User
	if user == nil {
		return nil
	}
	var errs []error
	if user.Active != nil {
		errs = append(errs, a.SetActive(user.Name, *user.Active))
	}
	if user.Hide {
		errs = append(errs, a.HideActive(user.Name))
	}
	if user.Admin != nil {
		errs = append(errs, a.SetAdmin(change.Workspace, user.Name, *user.Admin))
	}
	if user.Removed {
		errs = append(errs, a.RemoveUser(user.Name))
	}
	return errors.Join(errs...)
}

func (a *Account) changeConf(change stateChange, _ obj) error {
	for key, value := range change.Conf {
		if err := a.SetConf(change.Workspace, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (a *Account) changeGrants(change stateChange, _ obj) error {
	if change.Grants != "" {
		if err := a.SetGrantState(change.Workspace, change.Grants); err != nil {
			return err
		}
	}
	if change.ACL != nil {
		if err := a.SetGrants(change.Workspace, *change.ACL); err != nil {
			return err
		}
	}
	if change.Admins != "" {
		return a.SetAdminsEntry(change.Workspace, change.Admins)
	}
	return nil
}

func (a *Account) changeFeatures(change stateChange, _ obj) error {
	switch change.Tokens {
	case "":
	case "enabled", "disabled":
		if err := a.SetTokensFeature(change.Workspace, change.Tokens == "enabled"); err != nil {
			return err
		}
	default:
		return fmt.Errorf("tokens: %q is neither enabled nor disabled", change.Tokens)
	}
	if change.NotFound != "" {
		if err := a.SetNotFound(change.NotFound); err != nil {
			return err
		}
	}
	if change.MaxPage != 0 {
		if err := a.SetMaxPage(change.MaxPage); err != nil {
			return err
		}
	}
	if change.Status != "" {
		if err := a.SetStatus(change.Workspace, change.Status); err != nil {
			return err
		}
	}
	if change.Restrict != "" {
		if err := a.SetRestrictAdmins(change.Workspace, change.Restrict); err != nil {
			return err
		}
	}
	if change.IPLists != nil {
		return a.SetIPLists(change.Workspace, *change.IPLists)
	}
	return nil
}
