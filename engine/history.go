package engine

import (
	"slices"
	"time"
)

// ChangeKind is what became of something between two snapshots.
type ChangeKind string

// The kinds of changes.
const (
	Appeared ChangeKind = "appeared"
	Changed  ChangeKind = "changed"
	Vanished ChangeKind = "vanished"
)

// Cause is why a token vanished, as far as it can be told. The platform keeps no
// record of tokens that are gone.
type Cause string

// The causes. All but those of patrol's own journal are conclusions.
const (
	CauseRevoked    Cause = "revoked_by_patrol" // the journal says so
	CauseConcurrent Cause = "revoked_meanwhile" // patrol was about to: by it, or by somebody at the same moment
	CauseExpired    Cause = "expired"           // its time was over
	CauseInactivity Cause = "inactivity"        // unused for so long that the platform revokes it
	CauseSomebody   Cause = "revoked_by_others" // none of these: somebody revoked it
	CauseUnknown    Cause = "unknown"           // what would tell is not known
)

// InactivityDays is for how long a token may go unused before the platform
// revokes it.
// https://docs.databricks.com/aws/en/admin/access-control/tokens
const InactivityDays = 90

// TokenChange is what became of a token between two snapshots of a workspace.
type TokenChange struct {
	Kind   ChangeKind
	Before *Token   // nil when it appeared
	After  *Token   // nil when it vanished
	Fields []string // that changed, as policies name them, sorted; for Changed
	Cause  Cause    // for Vanished
	Detail string   // of the cause
}

// ID is the id of the token.
func (c TokenChange) ID() string { return c.Last().ID }

// Last is the token as it was seen last.
func (c TokenChange) Last() *Token {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// TokenFields names what differs between two versions of a token, last use
// aside, as policies name it; sorted. Fields that patrol does not know do not
// count.
func TokenFields(a, b *Token) []string {
	var names []string
	differ := func(name string, differs bool) {
		if differs {
			names = append(names, name)
		}
	}
	differ("autoscope_state", a.AutoscopeState != b.AutoscopeState)
	differ("backfill_scopes", !slices.Equal(a.BackfillScopes, b.BackfillScopes))
	differ("comment", a.Comment != b.Comment)
	differ("created_at", !sameMs(a.Created, b.Created))
	differ("creator_id", a.CreatorID != b.CreatorID)
	differ("creator_name", a.CreatorName != b.CreatorName)
	differ("expires_at", !sameMs(a.Expires, b.Expires))
	differ("inferred_scopes", !slices.Equal(a.InferredScopes, b.InferredScopes))
	differ("owner_id", a.OwnerID != b.OwnerID)
	differ("scopes", !slices.Equal(a.Scopes, b.Scopes))
	return names
}

func sameMs(a, b *int64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Removal is what the journal says of a token: how its step ended, under which plan.
type Removal struct {
	State StepState
	Plan  string // digest
	At    int64  // ms
}

// WhyVanished tells why a token that a snapshot held is not in a later one taken
// at a moment. removal is what the journal says of it, nil when it says nothing;
// journal tells whether there was a journal to ask: without one nobody knows
// what patrol did.
func WhyVanished(t *Token, at time.Time, removal *Removal, journal bool) (Cause, string) {
	switch {
	case removal != nil && removal.State == StateDone:
		return CauseRevoked, "plan " + shortDigest(removal.Plan) + ", " + day(removal.At)
	case removal != nil:
		return CauseConcurrent, "plan " + shortDigest(removal.Plan) + ", " + day(removal.At)
	case t.Expires != nil && *t.Expires != NeverExpires && *t.Expires <= at.UnixMilli():
		return CauseExpired, "on " + day(*t.Expires)
	}
	f := Derive(*t, at.UnixMilli())
	switch {
	case f.IdleDays != nil && *f.IdleDays >= InactivityDays:
		return CauseInactivity, "last seen in use " + lastUse(t)
	case f.IdleDays == nil || t.Expires == nil || !journal:
		return CauseUnknown, whyUnknown(f, t, journal)
	}
	return CauseSomebody, "neither expired nor idle, and patrol did not"
}

func whyUnknown(f Facts, t *Token, journal bool) string {
	switch {
	case f.IdleDays == nil:
		return "its dates of creation and use are not known"
	case t.Expires == nil:
		return "its expiry is not known"
	case !journal:
		return "neither expired nor idle; there is no journal that tells whether patrol revoked it"
	}
	return ""
}

func lastUse(t *Token) string {
	if t.LastUsed == nil {
		return "never"
	}
	return day(*t.LastUsed)
}

func day(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateOnly) }

func shortDigest(text string) string { return text[:min(len(text), 12)] }

// PrincipalChange is what became of a principal between two snapshots.
type PrincipalChange struct {
	Kind   ChangeKind
	Before *Principal // nil when it appeared
	After  *Principal // nil when it vanished
	Fields []string   // active, admin, display_name, groups, kind, name; sorted; for Changed
}

// PrincipalFields names what differs between two versions of a principal.
func PrincipalFields(a, b *Principal) []string {
	var names []string
	differ := func(name string, differs bool) {
		if differs {
			names = append(names, name)
		}
	}
	differ("active", !sameTruth(a.Active, b.Active))
	differ("admin", a.Admin != b.Admin)
	differ("display_name", a.DisplayName != b.DisplayName)
	differ("groups", !slices.Equal(a.Groups, b.Groups))
	differ("kind", a.Kind != b.Kind)
	differ("name", a.Name != b.Name)
	return names
}

func sameTruth(a, b *bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
