// Package collectors reads workspaces through the Databricks API into
// captures, and token lists that were exported to a file.
//
// One file per section of a snapshot declares what it calls and which right it
// needs; nothing lists them. A Client does what all of them need: sign in as
// every Databricks tool does, change nothing (GET, and queries of our own), stay below the platform's
// rate limits, wait and try again within a budget, refuse redirects and plain
// http, and say in one stable word why an answer could not be used. What could
// not be read becomes the section's coverage: it is reported, never skipped.
//
// Token lists are not paged by the platform and may hold a million rows, so
// that an answer is spooled (memory, then a private temporary file) and
// indexed; an Outcome must therefore be closed when its rows have been read.
package collectors

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"patrol/engine"
)

// Collector reads one section of a workspace.
type Collector struct {
	Section engine.SectionName
	Doc     string   // what it reads, for people
	Calls   []string // requests that it sends, as "GET /path"
	Rights  string   // what the caller needs, for people
	Scopes  []string // API scopes that its calls need, the narrowest of each; nil where a file is read
	// Order is that of lists and reports.
	Order int
	// First says that the section is read before those that follow it: tokens
	// before principals, so that the owner of a token made meanwhile is not
	// missing. All others are read at once.
	First bool
	// OnRequest says how to ask for a section that is read on request only; ""
	// for one that is always read.
	OnRequest string
	Flag      string                                              // the flag that names its file; "" where calls read it
	Read      func(ctx context.Context, c *Client) engine.Section // nil where there is only the file
}

// set is what collectors register with: one method each, in their own file.
type set struct{}

// All returns every collector in order.
func All() []Collector {
	all := engine.Plugins[Collector](set{})
	slices.SortStableFunc(all, func(a, b Collector) int { return cmp.Compare(a.Order, b.Order) })
	return all
}

// unasked is the coverage of a section that is read on request only and that
// nobody asked for.
func (o Options) unasked(c Collector) (coverage engine.Coverage, unasked bool) {
	byQuery := o.Usage != nil && (c.Section == engine.SectionAuditLog || c.Section == engine.SectionAuditChanges)
	if c.OnRequest == "" || byQuery || o.Exports[c.Section] != nil || slices.Contains(o.Sections, c.Section) {
		return engine.Coverage{}, false
	}
	return engine.NotRequested(c.OnRequest), true
}

// Export is a file that somebody exported, in place of the calls of a section:
// *AuditLog, *AuditChanges or *TokenReport.
type Export interface {
	// section is what the file says of a workspace, whose tokens were read at an instant.
	section(w engine.Workspace, tokens engine.Section, now time.Time) engine.Section
}

// Target is a workspace to read. Without Profile and Host, the environment
// and the default profile decide, as in every Databricks tool.
type Target struct {
	Name       string // "": the profile's name, else the host's
	Profile    string // section of the configuration file; its values win over the environment
	Host       string // must be the profile's own host where both are given
	ConfigFile string // "": DATABRICKS_CONFIG_FILE, else ~/.databrickscfg
	Labels     map[string]string
	Usage      *Usage // in place of that of the options

	// Of a workspace that an account lists:
	WorkspaceID string // it must be the one that answers; "": whichever does
	Cloud       string // where the account tells; "": by the host
	Discovered  bool   // Host is the account's to tell; the credential is the account's
	Routed      bool   // the host serves several workspaces: requests name the one that is meant
	Unreadable  string // why there is nothing to ask, such as its status; "" when there is

	azure *azureSignIn // of a workspace that Azure lists; nil: unified authentication decides
}

// Label names the target before anything is known about it.
func (t Target) Label() string {
	return cmp.Or(t.Name, t.Profile, t.Host, "default workspace")
}

// Options tune collection. The zero value is ready to use.
type Options struct {
	Now      func() time.Time
	Parallel int // workspaces at once; 4
	// RetryBudget is the waiting that a section may cost; 5 minutes. All that
	// is read in one run may cost it once for each workspace and once more.
	RetryBudget      time.Duration
	ConnectTimeout   time.Duration // to connect and, again, for the TLS handshake; 4 s
	IdleTimeout      time.Duration // without a byte of an answer; 60 s
	SectionTimeout   time.Duration // for a whole section; 30 minutes
	SignInTimeout    time.Duration // for unified authentication; 45 s
	RequestRate      float64       // requests per second, workspace and family of endpoints; 0: as client.go says for each
	SpoolDir         string        // for answers beyond memory; the system's
	UserAgentVersion string
	CAFile           string // PEM file of further authorities
	NoProxy          bool   // connect directly, whatever proxy the environment names
	Progress         func(Event)
	Sections         []engine.SectionName          // of those that are read on request only
	Account          *Account                      // for the sections that only an account tells; nil: there is none
	Usage            *Usage                        // how to read the audit log; nil: it is not asked for
	Exports          map[engine.SectionName]Export // files in place of calls

	// Sleep and Jitter stand in for time and chance in tests.
	Sleep  func(ctx context.Context, d time.Duration) error
	Jitter func() float64 // in [0,1)

	waiting  *budget   // of the run, shared by all its sections
	reported *sync.Map // what the run has reported once already; likewise
}

// first tells that the run has not reported something yet.
func (o Options) first(what string) bool {
	_, before := o.reported.LoadOrStore(what, true)
	return !before
}

// reporting lets Progress be called by one goroutine at a time: an account that
// is asked within a run has Options of its own.
var reporting sync.Mutex

func (o Options) report(e Event) {
	reporting.Lock()
	defer reporting.Unlock()
	o.Progress(e)
}

func (o Options) withDefaults() Options {
	o.Parallel = cmp.Or(o.Parallel, 4)
	o.RetryBudget = cmp.Or(o.RetryBudget, 5*time.Minute)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 4*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.SectionTimeout = cmp.Or(o.SectionTimeout, 30*time.Minute)
	o.SignInTimeout = cmp.Or(o.SignInTimeout, 45*time.Second)
	o.UserAgentVersion = cmp.Or(o.UserAgentVersion, "dev")
	o.waiting, o.reported = newBudget(o.RetryBudget, 2), &sync.Map{}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Sleep == nil {
		o.Sleep = func(ctx context.Context, d time.Duration) error {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-timer.C:
				return nil
			}
		}
	}
	return o
}

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventStarted EventKind = "started" // a workspace, or one of its sections
	EventDone    EventKind = "done"    // a section, with its coverage; a workspace
	EventRetry   EventKind = "retry"   // a call will be tried again
	EventWarning EventKind = "warning" // something that a person should know
	EventNote    EventKind = "note"    // something about this run, told once
)

// Event tells what collection is doing. Events of one call come one at a time.
type Event struct {
	Kind      EventKind
	Workspace string             // the target's name
	Section   engine.SectionName // "" for the workspace as a whole
	Reason    string             // stable word of a retry or warning
	Detail    string
	Coverage  *engine.Coverage // of a section that is done
}
