package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ResourceWaiver is what policies over waivers judge: whether an exception may
// be made at all. Their findings are refusals, never results of an audit.
const ResourceWaiver Resource = "waiver"

// WaiverNotice is how many days before its last day a waiver is announced.
const WaiverNotice = 14

// WaiverRule is one entry of a waivers file: what it excuses, why, and until
// when. It goes by ids and owners, never by comments.
type WaiverRule struct {
	ID        string   `json:"id"`
	Policies  []string `json:"policies"`                       // ids, sorted
	Workspace string   `json:"workspace,omitempty"`            // glob over name or id; "": any
	Token     string   `json:"token,omitempty"`                // glob over the token's id
	Secret    string   `json:"secret,omitempty"`               // glob over the id of a service principal's OAuth secret
	Owner     string   `json:"owner,omitempty" names:"person"` // glob over the owner's name or id
	Objects   []string `json:"objects,omitempty"`              // all that a finding on a workspace may name, as Finding.Objects has them
	Reason    string   `json:"reason" names:"written"`
	Ticket    string   `json:"ticket,omitempty"`
	Approver  string   `json:"approver" names:"person"`
	Created   Date     `json:"created"`
	Expires   Date     `json:"expires"` // the last day on which it counts
	Line      int      `json:"-"`       // in its file
}

// Waiver is the exception as a finding carries it.
func (r WaiverRule) Waiver() *Waiver {
	return &Waiver{ID: r.ID, Reason: r.Reason, Ticket: r.Ticket, Approver: r.Approver, Expires: r.Expires.String()}
}

// TermDays is the number of days from creation to expiry.
func (r WaiverRule) TermDays() int { return r.Created.Until(r.Expires) }

// InForce reports whether the waiver counts on a day.
func (r WaiverRule) InForce(day Date) bool { return r.Created <= day && day <= r.Expires }

// Scope is what the waiver is about, in words.
func (r WaiverRule) Scope() string {
	where := cmp.Or(r.Workspace, "any workspace")
	switch {
	case r.Token != "":
		return "token " + r.Token + " in " + where
	case r.Secret != "":
		return "secret " + r.Secret + " in " + where
	case r.Owner != "":
		return "all of " + r.Owner + " in " + where
	case len(r.Objects) > 0:
		return strings.Join(r.Objects, ", ") + " in " + where
	}
	return where
}

// WaiverState says what a waiver came to in one evaluation.
type WaiverState string

// The states of a waiver.
const (
	WaiverInForce   WaiverState = "in_force"   // it waives findings
	WaiverExpired   WaiverState = "expired"    // its last day is over: it counts no more
	WaiverPending   WaiverState = "pending"    // its first day is still to come
	WaiverRefused   WaiverState = "refused"    // a policy over waivers denied it wherever it would have counted
	WaiverUnmatched WaiverState = "unmatched"  // nothing failed that it would excuse
	WaiverNotJudged WaiverState = "not_judged" // what it is about was not judged, so that nobody can tell
)

// WaiverUse is a waiver and what it came to.
type WaiverUse struct {
	WaiverRule
	State       WaiverState     `json:"state"`
	DaysLeft    int             `json:"days_left"`    // to its last day; negative once expired
	ExpiresSoon bool            `json:"expires_soon"` // it counts, for no more than WaiverNotice days
	Waived      int             `json:"waived"`       // findings that it excused
	Lapsed      int             `json:"lapsed"`       // findings that it would excuse, were it still in force
	Refusals    []WaiverRefusal `json:"refusals,omitempty"`
}

// WaiverRefusal is why a policy over waivers denies a waiver.
type WaiverRefusal struct {
	Policy   string `json:"policy"`
	Message  string `json:"message"`
	Findings int    `json:"findings"` // that stay failed because of it
}

// BaselineEntry is a finding that a baseline knows.
type BaselineEntry struct {
	Fingerprint string   `json:"fingerprint"`
	Policy      string   `json:"policy"`
	Severity    Severity `json:"severity"`
	Workspace   string   `json:"workspace"`
	WorkspaceID string   `json:"workspace_id"`
	Resource    Resource `json:"resource"`
	ResourceID  string   `json:"resource_id"`
}

// BaselineUse is a baseline and what it came to in one evaluation.
type BaselineUse struct {
	AsOf      string          `json:"as_of"` // of the evaluation that it was made from
	Version   string          `json:"version"`
	Entries   int             `json:"entries"`
	Baselined int             `json:"baselined"`  // findings that it knew
	NotJudged int             `json:"not_judged"` // entries that this evaluation says nothing about
	Gone      []BaselineEntry `json:"gone"`       // entries that fail no more
}

// Exceptions is what waivers and the baseline came to in one evaluation.
type Exceptions struct {
	Waivers  []WaiverUse  `json:"waivers"`  // in the order of their file
	Baseline *BaselineUse `json:"baseline"` // nil: none was given
}

// None reports whether there were neither waivers nor a baseline.
func (x Exceptions) None() bool { return len(x.Waivers) == 0 && x.Baseline == nil }

// In lists the waivers of a state.
func (x Exceptions) In(state WaiverState) []WaiverUse {
	return x.which(func(w WaiverUse) bool { return w.State == state })
}

// Expiring lists the waivers that count for a few more days only.
func (x Exceptions) Expiring() []WaiverUse {
	return x.which(func(w WaiverUse) bool { return w.ExpiresSoon })
}

// Refused lists the waivers that a policy denied somewhere.
func (x Exceptions) Refused() []WaiverUse {
	return x.which(func(w WaiverUse) bool { return len(w.Refusals) > 0 })
}

func (x Exceptions) which(keep func(WaiverUse) bool) []WaiverUse {
	return slices.DeleteFunc(slices.Clone(x.Waivers), func(w WaiverUse) bool { return !keep(w) })
}

// Date is a day of the calendar in UTC: days since 1970.
type Date int

// DateOf is the day of an instant.
func DateOf(t time.Time) Date { return Date(floorDays(t.UnixMilli())) }

// ParseDate reads a day such as 2027-02-01.
func ParseDate(text string) (Date, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("%q is no day: want one such as 2027-02-01", text)
	}
	return DateOf(t), nil
}

// Until is the number of days from d to other.
func (d Date) Until(other Date) int { return int(other - d) }

func (d Date) String() string { return time.UnixMilli(int64(d) * Day).UTC().Format(time.DateOnly) }

// MarshalText writes the day as it is read.
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a day.
func (d *Date) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDate(string(text))
	return err
}
