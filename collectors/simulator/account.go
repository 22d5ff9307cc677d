// Package simulator is a stateful Databricks account served over HTTP: the
// workspaces, tokens, principals, settings and grants that patrol audits,
// with the quirks of the real APIs and with faults to order.
//
// It exists so that the demo, the training server and every end-to-end test
// talk to the same thing, and so that patrol's own client code, the official
// SDK and the official CLI are all driven unchanged. It imports nothing
// of patrol: what it says about Databricks is
// written down independently of the code that it tests.
//
// Words used here:
//
//   - account: all that one listener serves; an [Account] is an http.Handler.
//   - workspace: one state within it. A header or the caller's credential picks
//     it, see docs/simulator.md.
//   - directory: users, service principals and account groups, shared by all
//     workspaces as with identity federation.
//   - kind: why a generated token is as it is ("endless", "expired"...). It is
//     never on the wire, only in the Go API and the control plane.
//   - fault: a rule that spoils matching calls.
//   - contradiction: a named set of faults whose answers cannot be true.
//   - control plane: HTTP below /_sim/, for tests that are not written in Go.
//
// Everything is deterministic in the seed and the clock. The clock is the
// caller's ([Options.Now]) plus what [Account.Advance] added.
package simulator

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MaxTokens is how many tokens a workspace can start with.
const MaxTokens = 1_000_000

// The two spellings in which the platform says that a token does not exist; no
// source says where it uses which.
const (
	NotFoundResource = "RESOURCE_DOES_NOT_EXIST"
	NotFoundPlain    = "NOT_FOUND"
)

// Options describe an account. The zero value is two workspaces without tokens.
type Options struct {
	// Seed decides everything that is random in the population.
	Seed uint64
	// Workspaces is how many there are; 0 means 2.
	Workspaces int
	// Tokens is how many each workspace starts with.
	Tokens int
	// Now is the simulated clock, time.Now when nil. It also fills the Date
	// header of every answer.
	Now func() time.Time
	// Int64Strings sends 64-bit integers as decimal strings, as some gateways do.
	Int64Strings bool
	// Latency delays every answer.
	Latency time.Duration
	// RateLimit, when positive, is how many token-management calls one workspace
	// answers per second of real time; more get 429 with Retry-After.
	RateLimit int
	// MaxPage bounds the rows on one page whatever the client asks for; 0 means
	// 10000.
	MaxPage int
	// NotFound is the error code of a token that does not exist: NotFoundResource,
	// which "" stands for, or NotFoundPlain.
	NotFound string
	// OnRequest, when set, hears of every API call as it arrives, before it has
	// an effect. It runs on the goroutine of the call.
	OnRequest func(Request)
}

// Account is a simulated Databricks account. It is safe for concurrent use.
type Account struct {
	opts   Options
	id     string
	mux    *http.ServeMux
	offset atomic.Int64 // added to opts.Now, in nanoseconds
	born   time.Time    // what the clock said when the population was made

	// mu guards all that follows, workspaces and directory included, and the page
	// size and error code in opts. Tokens themselves are immutable once stored, so
	// that a list can be streamed without it.
	mu         sync.Mutex
	directory  *directory
	workspaces []*workspace
	sessions   map[string]session
	revoked    map[string]bool    // ids of tokens
	results    map[string]*result // of statements, by id
	issued     uint64             // credentials and statements so far

	faults   []*Fault
	cleared  chan struct{} // closed when faults are cleared
	requests []*Request    // the latest
	seq      uint64        // of the last of them
	counts   map[string]int64
}

// New computes an account; it opens nothing.
func New(opts Options) *Account {
	if opts.Workspaces <= 0 {
		opts.Workspaces = 2
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxPage <= 0 {
		opts.MaxPage = 10_000
	}
	if opts.NotFound == "" {
		opts.NotFound = NotFoundResource
	}
	a := &Account{
		opts:     opts,
		mux:      http.NewServeMux(),
		sessions: map[string]session{},
		revoked:  map[string]bool{},
		results:  map[string]*result{},
		cleared:  make(chan struct{}),
		counts:   map[string]int64{},
	}
	for _, r := range routes() {
		a.mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, request *http.Request) { a.serve(w, request, &r) })
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, request *http.Request) { a.serve(w, request, nil) })
	a.born = a.Now().UTC().Truncate(time.Millisecond)
	populate(a)
	return a
}

// Now is the simulated time.
func (a *Account) Now() time.Time {
	return a.opts.Now().Add(time.Duration(a.offset.Load()))
}

// Advance moves the simulated clock by d, which may be negative.
func (a *Account) Advance(d time.Duration) { a.offset.Add(int64(d)) }

// ID is the account id.
func (a *Account) ID() string { return a.id }

// Workspace is what a client needs to reach a workspace.
type Workspace struct {
	Name  string `json:"name"`
	ID    int64  `json:"workspace_id,string"`
	Cloud string `json:"cloud"` // "azure", "aws" or "gcp"
	// Profile is the section of ConfigFile; "<Profile>-viewer" and
	// "<Profile>-oauth" exist too.
	Profile string `json:"profile"`
	// Token is the PAT of Admin; ViewerToken that of a user who is no admin.
	Token       string `json:"token"`
	ViewerToken string `json:"viewer_token"`
	Admin       string `json:"admin"`
	Viewer      string `json:"viewer"`
	// ClientID and ClientSecret are OAuth credentials of a service principal
	// that is a workspace admin.
	ClientID     string            `json:"client_id"`
	ClientSecret string            `json:"client_secret"`
	Labels       map[string]string `json:"labels"` // never changed
}

// Workspaces returns the facts of every workspace, in order.
func (a *Account) Workspaces() []Workspace {
	a.mu.Lock()
	defer a.mu.Unlock()
	facts := make([]Workspace, 0, len(a.workspaces))
	for _, ws := range a.workspaces {
		facts = append(facts, ws.Workspace)
	}
	return facts
}

// Credentials returns the OAuth credentials of the account admin.
func (a *Account) Credentials() (clientID, clientSecret string) {
	return a.directory.auditor.Name, a.directory.auditor.secret // never changed
}

// ConfigFile is the text of a .databrickscfg for the account as served at host
// ("http://127.0.0.1:8080"): per workspace a profile for its admin, one for its
// viewer and one for its OAuth client, one for the account, and one without a
// host for its workspaces on Azure.
func (a *Account) ConfigFile(host string) string {
	var b strings.Builder
	fmt.Fprintln(&b, "# Simulated Databricks account: none of these credentials is real.")
	for _, ws := range a.Workspaces() {
		fmt.Fprintf(&b, "\n[%s]\nhost         = %s\nworkspace_id = %d\ntoken        = %s\n", ws.Profile, host, ws.ID, ws.Token)
		fmt.Fprintf(&b, "\n[%s-viewer]\nhost         = %s\nworkspace_id = %d\ntoken        = %s\n", ws.Profile, host, ws.ID, ws.ViewerToken)
		fmt.Fprintf(&b, "\n[%s-oauth]\nhost          = %s\nworkspace_id  = %d\nclient_id     = %s\nclient_secret = %s\n",
			ws.Profile, host, ws.ID, ws.ClientID, ws.ClientSecret)
	}
	id, secret := a.Credentials()
	fmt.Fprintf(&b, "\n[account]\nhost          = %s\naccount_id    = %s\nclient_id     = %s\nclient_secret = %s\n",
		host, a.id, id, secret)
	fmt.Fprintf(&b, "\n[azure]\nazure_tenant_id     = %s\nazure_client_id     = %s\nazure_client_secret = %s\n", a.Tenant(), id, secret)
	return b.String()
}

// workspace is the state of one workspace.
type workspace struct {
	Workspace
	region     string
	deployment string
	status     string // "": RUNNING
	created    int64

	admin, viewer, client *principal

	outside int64 // id of the principal of the directory that is not assigned here
	admins  *principal
	users   *principal

	tokens    tokenStore
	tokensOff bool

	conf        map[string]string
	grants      []Grant
	grantState  string
	adminsEntry string
	restrict    restrictSetting
	ipLists     []IPList

	// Calls within one second of real time: the simulated clock may stand still, and
	// a client that waits for Retry-After waits for real.
	second time.Time
	calls  int

	statements string       // what happens to statements; see Statements
	events     []auditEvent // what somebody did, in the order of time
}

// names reports whether ref names the workspace, by name or id.
func (ws *workspace) names(ref string) bool { return ref == ws.Name || ref == decimal(ws.ID) }

// find returns the workspace of that id or name, or nil.
func (a *Account) find(name string) *workspace {
	for _, ws := range a.workspaces {
		if ws.names(name) {
			return ws
		}
	}
	return nil
}
