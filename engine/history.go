package engine

import (
	"slices"
	"strconv"
	"strings"
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
	CauseSomebody   Cause = "revoked_by_others" // the audit log says by whom; or none of the others: somebody revoked it
	CauseCollected  Cause = "garbage_collected" // the audit log says so: the platform removed it
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
	for _, f := range StoredFields() {
		differs := false
		switch {
		case f.Number == numberOfID || f.Number == numberOfLastUse:
		case f.Text != nil:
			differs = *f.Text(a) != *f.Text(b)
		case f.Time != nil:
			differs = !sameMs(*f.Time(a), *f.Time(b))
		default:
			differs = !slices.Equal(*f.Texts(a), *f.Texts(b))
		}
		if differs {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
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
// what patrol did. logged is what the audit log has of it, nil when it has nothing.
func WhyVanished(t *Token, at time.Time, removal *Removal, journal bool, logged *ChangeEvent) (Cause, string) {
	switch {
	case removal != nil && removal.State == StateDone:
		return CauseRevoked, "plan " + shortDigest(removal.Plan) + ", " + day(removal.At)
	case removal != nil:
		return CauseConcurrent, "plan " + shortDigest(removal.Plan) + ", " + day(removal.At)
	case logged != nil && logged.Action == "garbageCollectDbToken":
		return CauseCollected, "by the audit log at " + moment(&logged.At)
	case logged != nil:
		return CauseSomebody, "by the audit log: " + logged.text("")
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
		return "neither expired nor idle; no journal tells whether patrol did it"
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
	differ("admin", !sameTruth(a.Admin, b.Admin))
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

// ChangeRow is a change of anything between two snapshots, as lists show it.
type ChangeRow struct {
	Workspace Workspace
	From, To  int64 // ids of the snapshots
	Kind      ChangeKind
	Object    string // token, principal, or the section
	ID        string // of the token or principal; key of a setting or grant
	Label     string `names:"written"` // name of the principal, comment of the token
	Owner     string `names:"person"`  // name, else id, of a token's owner
	OwnerID   string `names:"person"`
	Fields    []string
	Before    string `names:"written"` // what the fields were
	After     string `names:"written"` // and are
	Cause     Cause
	Detail    string
	ChangedBy string // who did it, by an exported audit log; "" where nobody gave one
	Token     *Token // as it was seen last; nil for anything else
}

// Row is a change of a token as a row, with secrets in its comment redacted.
func (c TokenChange) Row() ChangeRow {
	r := ChangeRow{Kind: c.Kind, Object: "token", ID: c.ID(), Fields: c.Fields, Cause: c.Cause, Detail: c.Detail, Token: c.Last()}
	r.Owner, r.OwnerID, r.Label = r.Token.OwnerID, r.Token.OwnerID, RedactSecrets(r.Token.Comment)
	for _, name := range c.Fields {
		r.Before = list(r.Before, name+"="+tokenField(c.Before, name))
		r.After = list(r.After, name+"="+tokenField(c.After, name))
	}
	return r
}

// Row is a change of a principal as a row.
func (c PrincipalChange) Row() ChangeRow {
	last := c.After
	if last == nil {
		last = c.Before
	}
	r := ChangeRow{Kind: c.Kind, Object: "principal", ID: last.ID, Label: last.Name, Fields: c.Fields}
	for _, name := range c.Fields {
		r.Before = list(r.Before, name+"="+principalField(c.Before, name))
		r.After = list(r.After, name+"="+principalField(c.After, name))
	}
	return r
}

// Row is a change of a workspace's state as a row.
func (c StateChange) Row() ChangeRow {
	return ChangeRow{Kind: c.Kind, Object: string(c.Section), ID: c.Key, Before: RedactSecrets(c.Before), After: RedactSecrets(c.After)}
}

func list(texts, more string) string {
	if texts == "" {
		return more
	}
	return texts + "; " + more
}

func tokenField(t *Token, name string) string {
	switch name {
	case "autoscope_state":
		return t.AutoscopeState
	case "backfill_scopes":
		return strings.Join(t.BackfillScopes, ",")
	case "comment":
		return RedactSecrets(t.Comment)
	case "created_at":
		return moment(t.Created)
	case "creator_id":
		return t.CreatorID
	case "creator_name":
		return t.CreatorName
	case "expires_at":
		return moment(t.Expires)
	case "inferred_scopes":
		return strings.Join(t.InferredScopes, ",")
	case "owner_id":
		return t.OwnerID
	}
	return strings.Join(t.Scopes, ",")
}

func principalField(p *Principal, name string) string {
	switch name {
	case "active":
		return truth(p.Active)
	case "admin":
		return truth(p.Admin)
	case "display_name":
		return RedactSecrets(p.DisplayName)
	case "groups":
		return strings.Join(p.Groups, ",")
	case "kind":
		return string(p.Kind)
	}
	return p.Name
}

func truth(b *bool) string {
	if b == nil {
		return "unknown"
	}
	return strconv.FormatBool(*b)
}

func moment(ms *int64) string {
	switch {
	case ms == nil:
		return "unknown"
	case *ms == NeverExpires:
		return "never"
	}
	return time.UnixMilli(*ms).UTC().Format(time.RFC3339)
}
