package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Client sends one request to one workspace, once: it never tries again,
// never follows a redirect, and waits no longer than half a minute. An error
// means that no whole answer came, and nothing about whether the workspace
// carried the request out. It compares whose answer it is: a *Fault of
// FaultWorkspace is that of another workspace, after which nothing more is sent.
type Client interface {
	// Send takes a path with its query and a JSON body (nil for none).
	Send(ctx context.Context, method, target string, body []byte) (Response, error)
}

// Response is an answer that arrived whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// WorkspaceID is the workspace that says to have answered; "" when none does.
func (r Response) WorkspaceID() string {
	return strings.TrimSpace(cmp.Or(r.Header.Get("X-Databricks-Org-Id"), r.Header.Get("X-Databricks-Workspace-Id")))
}

// RequestID is how the workspace calls the request in its own logs.
func (r Response) RequestID() string { return r.Header.Get("X-Request-Id") }

// Observation is what a GET told about the target of a step.
type Observation struct {
	Absent bool            // the workspace says that the target does not exist
	Token  *Token          // of a token's remedy
	State  map[string]any  // compared with Step.Precondition by fingerprint
	Prior  json.RawMessage // what an undo would restore; nil when nothing can be
	HTTP   int
}

// Digest is the fingerprint of the state; "" of an absent target.
func (o Observation) Digest() string {
	if o.Absent {
		return ""
	}
	return Fingerprint(o.State)
}

// Receipt is an answer to the request that changes something.
type Receipt struct {
	Gone    bool // the target did not exist: this request changed nothing
	HTTP    int
	Request string
}

// FaultKind says what an answer that is no success means for the step and the run.
type FaultKind string

// The kinds of faults.
const (
	FaultUnclear         FaultKind = "unclear"         // no whole answer, or a server error: it may have happened
	FaultBusy            FaultKind = "rate_limited"    // it did not happen; wait
	FaultForbidden       FaultKind = "forbidden"       // it did not happen; this step may not be done
	FaultRejected        FaultKind = "rejected"        // it did not happen; the request is wrong
	FaultUnauthenticated FaultKind = "unauthenticated" // nothing more can be done
	FaultEndpoint        FaultKind = "endpoint"        // whoever answers is not the API that was meant
	FaultWorkspace       FaultKind = "wrong_workspace" // another workspace answers: what became of the request nobody can tell
)

// Fault is an answer that is no success.
type Fault struct {
	Kind    FaultKind
	Detail  string // a sentence without any credential
	HTTP    int
	Request string
	Wait    time.Duration // what the server asks to wait
}

func (f *Fault) Error() string { return string(f.Kind) + ": " + f.Detail }
