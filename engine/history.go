package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
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
		case f.Place == placeOfID || f.Place == placeOfLastUse:
		case f.Text != nil:
			differs = *f.Text(a) != *f.Text(b)
		case f.Time != nil:
			differs = !reflect.DeepEqual(*f.Time(a), *f.Time(b))
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
	switch f := Derive(*t, at.UnixMilli()); {
	case f.IdleDays != nil && *f.IdleDays >= InactivityDays:
		return CauseInactivity, "last seen in use " + lastUse(t)
	case f.IdleDays == nil:
		return CauseUnknown, "its dates of creation and use are not known"
	case t.Expires == nil:
		return CauseUnknown, "its expiry is not known"
	case !journal:
		return CauseUnknown, "neither expired nor idle; no journal tells whether patrol did it"
	}
	return CauseSomebody, "neither expired nor idle, and patrol did not"
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

// principalFields are what a comparison of principals looks at, by name.
func principalFields() []principalField {
	return []principalField{
		{"active", func(p *Principal) any { return p.Active }},
		{"admin", func(p *Principal) any { return p.Admin }},
		{"display_name", func(p *Principal) any { return p.DisplayName }},
		{"groups", func(p *Principal) any { return p.Groups }},
		{"kind", func(p *Principal) any { return string(p.Kind) }},
		{"name", func(p *Principal) any { return p.Name }},
	}
}

type principalField struct {
	name string
	of   func(*Principal) any // text, list of texts, or truth that may be unknown
}

// text is the value as lists show it.
func (f principalField) text(p *Principal) string {
	switch v := f.of(p).(type) {
	case []string:
		return strings.Join(v, ",")
	case *bool:
		if v != nil {
			return strconv.FormatBool(*v)
		}
	case string:
		return RedactSecrets(v)
	}
	return "unknown"
}

// PrincipalFields names what differs between two versions of a principal.
func PrincipalFields(a, b *Principal) []string {
	var names []string
	for _, f := range principalFields() {
		if !reflect.DeepEqual(f.of(a), f.of(b)) {
			names = append(names, f.name)
		}
	}
	return names
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
	for _, f := range principalFields() {
		if slices.Contains(c.Fields, f.name) {
			r.Before = list(r.Before, f.name+"="+f.text(c.Before))
			r.After = list(r.After, f.name+"="+f.text(c.After))
		}
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
	for _, f := range StoredFields() {
		switch {
		case f.Name != name:
		case f.Text != nil:
			return RedactSecrets(*f.Text(t))
		case f.Time != nil:
			return moment(*f.Time(t))
		default:
			return strings.Join(*f.Texts(t), ",")
		}
	}
	return ""
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

// State is what a workspace was like at an earlier time, section by section: the
// last that was read whole. A section without a document was never.
type State struct{ Settings, Grants Dated }

// Dated is the document of a section and when it was read.
type Dated struct {
	Document json.RawMessage `json:",omitempty"` // absent where the section was never read whole
	At       time.Time
}

// StateChange is what changed of a workspace's own state between two snapshots:
// a setting, a grant, or another section as a whole.
type StateChange struct {
	Kind    ChangeKind  `json:"change"`
	Section SectionName `json:"section"`
	Key     string      `json:"key"`              // of a setting; level, kind and principal of a grant; "" for a whole section
	Before  string      `json:"before,omitempty"` // value of a setting
	After   string      `json:"after,omitempty"`
}

// StateChanges compares the documents of two snapshots of a workspace, section by
// section. Sections that one of them did not read whole are left out and named:
// nobody knows what changed there.
func StateChanges(before, after Snapshot) (changes []StateChange, unread []SectionName, err error) {
	for _, name := range SortedKeys(before.Documents) {
		switch name { // no state of the workspace: who read it, exports, what the account knows of others; principals are compared row by row
		case SectionWorkspace, SectionAuditLog, SectionAuditChanges, SectionTokenReport, SectionAccountPrincipals, SectionPrincipals:
			continue
		}
		old, now := before.Documents[name], after.Documents[name]
		if now == nil {
			continue
		}
		if !before.Coverage[name].Complete() || !after.Coverage[name].Complete() {
			unread = append(unread, name)
			continue
		}
		if bytes.Equal(old, now) {
			continue
		}
		if name != SectionSettings && name != SectionGrants {
			changes = append(changes, StateChange{Kind: Changed, Section: name})
			continue
		}
		was, err := stateTexts(name, old)
		if err != nil {
			return nil, nil, err
		}
		is, err := stateTexts(name, now)
		if err != nil {
			return nil, nil, err
		}
		keys := slices.Concat(SortedKeys(was), SortedKeys(is))
		slices.Sort(keys)
		for _, key := range slices.Compact(keys) {
			a, held := was[key]
			b, holds := is[key]
			switch {
			case name == SectionSettings:
				if !held {
					a = settingText(Setting{})
				}
				if !holds {
					b = settingText(Setting{})
				}
				if a != b {
					changes = append(changes, StateChange{Changed, name, key, a, b})
				}
			case !holds:
				changes = append(changes, StateChange{Kind: Vanished, Section: name, Key: key})
			case !held:
				changes = append(changes, StateChange{Kind: Appeared, Section: name, Key: key})
			}
		}
	}
	for _, name := range []SectionName{SectionSettings, SectionGrants} {
		if !slices.Contains(unread, name) && (before.Documents[name] == nil || after.Documents[name] == nil) {
			unread = append(unread, name)
		}
	}
	return changes, unread, nil
}

// stateTexts are the values of settings by their keys, and grants as keys alone.
func stateTexts(name SectionName, document json.RawMessage) (map[string]string, error) {
	var settings Settings
	var grants Grants
	into := any(&settings)
	if name == SectionGrants {
		into = &grants
	}
	if err := json.Unmarshal(document, into); err != nil {
		return nil, fmt.Errorf("compare section %s: %w", name, err)
	}
	texts := map[string]string{}
	for key, setting := range settings {
		texts[key] = settingText(setting)
	}
	for _, g := range grants {
		key := g.Level + " " + g.Kind + " " + g.Principal
		if g.Inherited {
			key += " (inherited)"
		}
		texts[key] = ""
	}
	return texts, nil
}

// settingText tells a value apart from none, and from one that was not read.
func settingText(s Setting) string {
	switch {
	case s.Problem != "":
		return "(" + string(s.Problem) + ")"
	case s.Value == nil:
		return "(not set)"
	}
	return *s.Value
}
