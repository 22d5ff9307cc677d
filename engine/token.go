package engine

import "encoding/json"

// NeverExpires is the value of Token.Expires for a token without an end.
const NeverExpires int64 = -1

// Token is a personal access token as the workspace lists it.
type Token struct {
	ID      string // 64 hexadecimal digits, unique in its workspace only
	Comment string `names:"written"` // free text by whoever made the token: untrusted

	Created  *int64 // ms; nil when unknown
	Expires  *int64 // ms; NeverExpires; nil when unknown
	LastUsed *int64 // ms, accurate to a day; nil when never used, or unknown if Defects names last_used_day

	OwnerID     string `names:"person"` // principal that the token signs in as; "" when unknown
	CreatorID   string `names:"person"` // principal that made it; "" when unknown
	CreatorName string `names:"person"`

	Scopes         []string // empty: unrestricted
	AutoscopeState string
	InferredScopes []string
	BackfillScopes []string

	// Defects lists what could not be read of this row. A fact derived from a
	// defective field is unknown.
	Defects []Defect

	Raw json.RawMessage `names:"drop"` // the row as answered, unknown fields included
}

// Defect is a field of a row that could not be read.
type Defect struct {
	Field  string `json:"field"`           // as the platform spells it
	Reason string `json:"reason"`          // stable word: bad_timestamp, bad_type, missing, duplicate_id
	Value  string `json:"value,omitempty"` // what stood there, cut to 64 bytes
}

// Odd names a field of the row that could not be read, or that its rows tell
// differently; "" where there is none. What no row of the list tells is no oddity
// of this one.
func (t Token) Odd() string {
	for _, d := range t.Defects {
		if d.Reason != "not_listed" {
			return d.Field
		}
	}
	return ""
}

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
