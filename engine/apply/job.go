package apply

import (
	"context"
	"iter"
	"time"

	"patrol/engine"
	"patrol/engine/remedy"
)

// Job is a plan to carry out, with everything that it takes.
type Job struct {
	Plan     engine.Plan
	SHA      string // of Bytes
	Bytes    []byte // the plan file
	Approval Approval

	// Workspaces by id: those of the plan that a credential has signed in to.
	Workspaces map[string]Workspace
	Remedies   []remedy.Remedy
	Journal    Journal // may be nil in a dry run
	Judge      Judge
	Clock      Clock

	// What this program is, to be held against what made the plan.
	Engine   string // version of the policy engine
	Policies string // digest of the policies

	// Protected are ids that are protected now, besides those that the plan names.
	Protected engine.Protected

	Options Options
	Confirm func(context.Context, Question) error // asks a person; an error ends the run
	Tell    func(Event)
}

// Approval is what was approved, as its verification found.
type Approval struct {
	Bytes []byte
	By    []string
	Steps map[string]bool // ids
	Until time.Time       // when the plan, or the first approval that counts, ends; zero: with the plan
}

// Options of a run.
type Options struct {
	DryRun      bool    // pass every gate and look at every target; write nothing anywhere
	Resume      bool    // go on with a plan that has begun
	IncludeSelf bool    // also revoke tokens of the principal that applies, after all others
	Rate        float64 // steps per second and workspace; 0 is 5
	Canary      int     // steps after which Confirm is asked again; 0 is 3
}

// Workspace is a workspace that a credential has signed in to.
type Workspace struct {
	engine.Workspace
	Client engine.Client
	Caller Caller
	Skew   time.Duration    // how far our clock is ahead of the workspace's
	Now    func() time.Time // by the workspace's clock
	// Tokens lists all tokens as they are now.
	Tokens func(context.Context) (iter.Seq2[engine.Token, error], error)
}

// Caller is the principal whose credential is used.
type Caller struct {
	ID      string
	Name    string
	Admin   bool
	PAT     bool   // signs in with a personal access token
	TokenID string // of that token, where it can be told
}

// Journal is the durable record of what was done. Move and Note return when
// the line is on disk. Move fails, and writes nothing, unless the step is in
// state from and this run is the one that may write about its workspace.
type Journal interface {
	Begin(ctx context.Context, r engine.Registration) error
	Entries(ctx context.Context, plan string) ([]engine.Entry, error)
	Events(ctx context.Context, plan string) iter.Seq2[engine.JournalEvent, error]
	Move(ctx context.Context, from engine.StepState, to engine.Entry) error
	Note(ctx context.Context, n engine.Note) error
}

// Judge reads what the policies of a step see beside the token, for this step,
// and tells whether they all still find fault. Owner and creator are asked for
// singly: a list alone revokes nothing.
//
// An *engine.Fault as error is what an answer means that told nothing, as of a
// look at the target.
type Judge interface {
	StillFires(ctx context.Context, s engine.Step, t engine.Token, now time.Time) (Ruling, error)
	// Stake reads the tokens of a workspace anew and counts those that a step takes
	// the use from.
	Stake(ctx context.Context, s engine.Step, now time.Time) (Stake, error)
}

// Stake is what a step on a workspace would break now.
type Stake struct {
	Tokens    int    // live ones that would lose their use
	Protected string // why one of them must not; "" when none is protected
}

// Ruling is what a Judge says about a token as it is now.
type Ruling struct {
	Fires   bool
	Why     string         // when it does not
	Subject engine.Subject // the token with its owner and creator; a party that could not be read has no kind
	At      time.Time      // by Clock, of the oldest reading that it rests on; zero: it rests on the token alone
}

// Clock is time, so that tests can bend it. Now must carry a monotonic reading.
type Clock struct {
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
}

// Question is what a person is asked.
type Question struct {
	Canary    bool // the first steps are done: go on?
	Workspace engine.PlanWorkspace
	Steps     int      // that will be carried out, or are left
	Done      int      // steps that were carried out in this run
	Recent    int      // of Steps, on tokens that were used within the last days
	Owners    int      // whom Steps concern
	Recently  int64    // how many days "recent" is
	Dangers   []string // what Steps disable, in lines
}

// Event tells what a run is doing.
type Event struct {
	Kind      EventKind
	Workspace string
	Step      engine.Step
	State     engine.StepState
	Reason    string
	Detail    string
	N, Of     int // place of the step among those of the workspace that change something
}

// EventKind says what an Event is about.
type EventKind string

// The kinds of events.
const (
	EventGates   EventKind = "gates"   // a workspace passed every gate
	EventStep    EventKind = "step"    // a step came to rest in State
	EventWaiting EventKind = "waiting" // the workspace asks for patience, or an effect is not seen yet
	EventWarning EventKind = "warning"
)
