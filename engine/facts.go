package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Day is the length of a day in ms. Arithmetic is in UTC, so days have no seams.
const Day int64 = 86_400_000

// IssuerGrace is how far (ms) a token may outlive a whole number of days
// before it counts as a day longer: issuers round.
const IssuerGrace int64 = 60_000

// PlatformMaxLifetimeDays is the longest lifetime that the platform gives a
// new token where a workspace sets no limit of its own.
const PlatformMaxLifetimeDays int64 = 730

// Facts are derived from a token once, here, and are the same in Rego and
// reports. A nil fact does not apply (days to the expiry of an endless token)
// unless Unknown names it: then it could not be derived.
type Facts struct {
	AsOf          int64  // the instant (ms) of all of them
	AgeDays       *int64 // whole days since creation, rounded down
	LifetimeDays  *int64 // whole days from creation to expiry, rounded up beyond a minute of grace; nil when endless
	IdleDays      *int64 // whole days since last use; age when never used
	LastUsed      *int64 // ms; nil when never used
	ExpiresInDays *int64 // whole days to expiry, rounded down; negative when expired; nil when endless
	Used          *bool
	NeverExpires  *bool
	Expired       *bool
	OnBehalf      *bool // made by somebody other than its owner

	// Unknown names the facts that could not be derived, as Rego spells them, sorted.
	Unknown []string
}

// Derive computes the facts of a token at an instant (ms). Its last use is that of the
// list of tokens or that of the audit log, whichever is later: the list is a day behind.
// What list and log cannot both be right about becomes a defect of the token, so that
// it is unknown.
func (s *Subject) Derive(asOf int64) {
	var logged *Activity
	if s.Peers != nil {
		logged = s.Peers.Activity
	}
	if logged == nil {
		s.Facts = Derive(s.Token, asOf)
		return
	}
	s.Token.doubt(logged)
	known := s.Token
	if used := logged.use(); used != nil && !known.defective("last_used_day") && (known.LastUsed == nil || *known.LastUsed < *used) {
		known.LastUsed = used
	}
	s.Facts = Derive(known, asOf)
}

// use is the last use (ms) that a log has; nil where all that it has was refused.
func (a *Activity) use() *int64 {
	if a.Events == 0 || a.Detail != nil && a.Events <= a.Detail.Refused {
		return nil
	}
	return &a.Last
}

// logGrace is how far (ms) the clocks of list and log may differ.
const logGrace = Day / 24

// doubt makes unknown what the log shows to be impossible: use before the creation,
// and after the expiry, where nothing was refused.
func (t *Token) doubt(a *Activity) {
	early := t.Created != nil && a.First+logGrace < *t.Created
	late := t.Expires != nil && *t.Expires != NeverExpires && a.Last > *t.Expires+logGrace && a.Detail != nil && a.Detail.Refused == 0
	if !early && !late {
		return
	}
	const contradicts = "contradicts_log"
	found := slices.Clip(t.Defects)
	if early {
		found, t.Created = append(found, Defect{"creation_time", contradicts, fmt.Sprint(*t.Created)}), nil
	}
	if late {
		found, t.Expires = append(found, Defect{"expiry_time", contradicts, fmt.Sprint(*t.Expires)}), nil
	}
	if !t.defective("last_used_day") { // the log may be that of another token
		found, t.LastUsed = append(found, Defect{Field: "last_used_day", Reason: contradicts}), nil
	}
	t.Defects = found
}

// Derive computes the facts of a token at an instant (ms), as the list alone tells them.
func Derive(t Token, asOf int64) Facts {
	f := Facts{AsOf: asOf}
	unknown := func(names ...string) { f.Unknown = append(f.Unknown, names...) }
	if t.Created == nil {
		unknown("age_days", "created_at")
	} else {
		f.AgeDays = ptr(floorDays(asOf - *t.Created))
	}

	if t.Expires == nil {
		unknown("never_expires", "expired", "expires_in_days", "expires_at", "lifetime_days")
	} else {
		never := *t.Expires == NeverExpires
		f.NeverExpires = ptr(never)
		f.Expired = ptr(!never && *t.Expires <= asOf)
		switch {
		case never:
		case t.Created == nil:
			f.ExpiresInDays = ptr(floorDays(*t.Expires - asOf))
			unknown("lifetime_days")
		default: // a token of 90 days and an hour lives longer than 90 days
			f.ExpiresInDays = ptr(floorDays(*t.Expires - asOf))
			f.LifetimeDays = ptr(max(0, floorDays(*t.Expires-*t.Created-IssuerGrace+Day-1)))
		}
	}

	if t.defective("last_used_day") {
		unknown("used", "idle_days", "last_used_at")
	} else {
		f.Used, f.LastUsed = ptr(t.LastUsed != nil), t.LastUsed
		switch {
		case t.LastUsed != nil:
			f.IdleDays = ptr(max(0, floorDays(asOf-*t.LastUsed)))
		case f.AgeDays == nil:
			unknown("idle_days")
		default:
			f.IdleDays = f.AgeDays
		}
	}

	if t.OwnerID == "" || t.CreatorID == "" {
		unknown("on_behalf")
	} else {
		f.OnBehalf = ptr(t.OwnerID != t.CreatorID)
	}
	slices.Sort(f.Unknown)
	return f
}

func (t Token) defective(field string) bool {
	return slices.ContainsFunc(t.Defects, func(d Defect) bool { return d.Field == field })
}

// floorDays rounds towards the past, so that -1 hour is day -1.
func floorDays(ms int64) int64 {
	days := ms / Day
	if ms%Day < 0 {
		days--
	}
	return days
}

// LifetimeLimit is what maxTokenLifetimeDays means for new tokens.
type LifetimeLimit struct {
	Days    int64 // days that a new token may live at most
	Limited bool  // the workspace sets a limit of its own
}

// ParseLifetimeLimit reads maxTokenLifetimeDays. Unset, "", zero (also
// as "00" or "-0"), "-1" and "false" all leave the platform's limit in force. Any other text that is not
// a whole number is unknown: ok is false.
func ParseLifetimeLimit(value *string) (limit LifetimeLimit, ok bool) {
	platform := LifetimeLimit{Days: PlatformMaxLifetimeDays}
	if value == nil {
		return platform, true
	}
	switch strings.ToLower(strings.TrimSpace(*value)) {
	case "", "-1", "false":
		return platform, true
	}
	days, err := strconv.ParseInt(strings.TrimSpace(*value), 10, 64)
	if err != nil || days < 0 {
		return LifetimeLimit{}, false
	}
	if days == 0 {
		return platform, true
	}
	return LifetimeLimit{Days: min(days, PlatformMaxLifetimeDays), Limited: true}, true
}

// ParseSwitch reads a boolean setting in any letter case; unset means whenUnset.
// Other text is unknown: ok is false.
func ParseSwitch(value *string, whenUnset bool) (on, ok bool) {
	if value == nil {
		return whenUnset, true
	}
	switch strings.ToLower(strings.TrimSpace(*value)) {
	case "":
		return whenUnset, true
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

func ptr[T any](v T) *T { return &v }
