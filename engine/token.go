package engine

import "encoding/json"

// Kind tells what a principal is.
type Kind string

// The kinds of principals. Missing is an owner that the directory does not
// know: it left, or was deleted.
const (
	User             Kind = "user"
	ServicePrincipal Kind = "service_principal"
	Missing          Kind = "missing"
)

// Principal is a user or a service principal of a workspace.
type Principal struct {
	ID          string
	Kind        Kind
	Name        string // userName, or application id of a service principal
	DisplayName string
	Active      *bool           // nil when the directory does not say
	Admin       *bool           // member of admins, directly or through nested groups; nil when that is not known
	Groups      []string        // display names of all groups, nested ones included, sorted
	Raw         json.RawMessage `names:"drop"`
}

// Grant is one entry of the access control list on tokens.
type Grant struct {
	Principal     string `json:"principal"` // user name, group name or application id
	Kind          string `json:"kind"`      // user, group, service_principal
	Level         string `json:"level"`     // CAN_USE, CAN_MANAGE
	Inherited     bool   `json:"inherited"`
	InheritedFrom string `json:"inherited_from,omitempty"`
}

// Setting is the state of one configuration key.
type Setting struct {
	// Value as stored, verbatim; nil when the key was never set.
	Value *string `json:"value"`
	// Problem is why the key could not be read; empty when it was.
	// unsupported: this workspace does not know the key; that is no lack of coverage.
	Problem CoverageStatus `json:"problem,omitempty"`
	Detail  string         `json:"detail,omitempty"`
}

// Unsupported marks a key that a workspace does not know.
const Unsupported CoverageStatus = "unsupported"

// Settings is the document of the settings section.
type Settings map[string]Setting

// Grants is the document of the grants section.
type Grants []Grant

// SectionAuditLog is what the platform's audit log says of each token: read from
// the system table where usage is asked for, or imported from a file.
const SectionAuditLog SectionName = "audit_log"

// Peers is how a token stands among the others of its snapshot, in the
// snapshots before and in the audit log. The store computes it, so that
// no rule across tokens needs them in memory.
type Peers struct {
	// Successor is the newer live token of the same owner with the same comment
	// that was used last; nil when there is none, or when it is not known.
	Successor        *Successor
	SuccessorUnknown bool // another token of that owner and comment lacks a date

	// Live tokens that expire within NearExpiry of this one, itself included;
	// nil for a token that is endless, expired, or of unknown expiry.
	OwnerExpiringNear     *int64 // those of the same owner; nil also when the owner is unknown
	WorkspaceExpiringNear *int64 // those of the workspace

	InPrevious *bool  // was in the complete snapshot before; nil when there is none
	FirstSeen  *int64 // ms: when the first snapshot that held it was collected

	Activity *Activity // nil: the log has nothing of it, or there is no log
}

// NearExpiry is how close (ms) two tokens expire to count as expiring together.
const NearExpiry = Day

// Successor is a token that took the place of another.
type Successor struct {
	ID       string
	Created  int64 // ms
	LastUsed int64 // ms
}

// Activity is what an audit log says of a token.
type Activity struct {
	TokenID      string
	Events       int64
	First, Last  int64    // ms, of the events
	MaxIPsPerDay int64    // most addresses on one day (UTC)
	UserAgents   []string // sorted
	Detail       *ActivityDetail
}

// ActivityDetail is what a log tells besides; older exports have none of it.
type ActivityDetail struct {
	Days       int64 // on which it was used (UTC)
	Succeeded  int64 // events with a status of 2xx
	Refused    int64 // events with status 401 or 403
	Addresses  int64 // different ones
	TopAddress string
	Calls      []Call // by service, then action
	MoreCalls  int64  // different ones that Calls lacks
}

// Call is what was called: an action of a service, as the audit log spells them.
type Call struct {
	Service string `json:"service"`
	Action  string `json:"action"`
	Events  int64  `json:"events"`
	Refused int64  `json:"refused,omitempty"`
}

func (c Call) String() string { return c.Service + "/" + c.Action }

// LogSpan is the document of SectionAuditLog.
type LogSpan struct {
	Rows  int   `json:"rows"`
	First int64 `json:"first_ms"` // of all events of the workspace, where the log tells
	Last  int64 `json:"last_ms"`
}

// DaysSince is the whole days from one moment (ms) to another, never negative.
func DaysSince(from, to int64) int64 { return max(0, floorDays(to-from)) }
