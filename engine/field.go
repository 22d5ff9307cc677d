package engine

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"unicode"
)

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

// Field is a field of a token, its owner or its creator as policies see it: how it is
// read, what of the platform's answer it rests on, and when it is unknown. One of the
// readers is set; what it returns as nil is absent. A list is there even when it is empty.
type Field struct {
	Name   string   // age_days below input.token, owner.active below input.owner
	Answer []string // fields of the platform's row, as the platform spells them

	Number func(*Subject) *int64
	Truth  func(*Subject) *bool
	Text   func(*Subject) *string
	Texts  func(*Subject) []string
	Time   func(*Subject) *int64 // ms; a text in Rego

	Unknown func(*Subject, Known) bool // as opposed to: it does not apply
	Peers   bool                       // tokens must be compared with one another, or with snapshots before
	Log     bool                       // the audit log tells it
}

// StoredField is a field of a token that is kept of each snapshot: its column, its place
// in the digest and in shapes of raw rows, and what a comparison of snapshots calls it. One
// of the last three is set and gives the place of the value in a token.
type StoredField struct {
	Name   string // as policies name it
	Column string // of table token_version; "" for the last use, which has a table of its own
	Place  uint64 // in the digest; it never changes and is never used again

	Answer string // the field of the platform's row whose value it keeps as it came; "": none
	Letter byte   // stands for Answer's value in shapes of raw rows; it never changes
	Digits bool   // Answer is a number, though it is kept as a text

	Text  func(*Token) *string
	Time  func(*Token) **int64 // ms
	Texts func(*Token) *[]string
}

const placeOfID, placeOfLastUse = 1, 5

// Number reports whether the platform's row has a number there.
func (f StoredField) Number() bool { return f.Digits || f.Time != nil }

// StoredFields are the fields that are stored, in the order of the digest: a new one comes
// last. Places 13 and 14 are those of defects and of the raw row. The list is shared: it is
// not to be changed.
func StoredFields() []StoredField { return storedFields() }

var storedFields = sync.OnceValue(func() []StoredField {
	return []StoredField{
		{Name: "id", Column: "token_id", Place: placeOfID, Answer: "token_id", Letter: 't', Text: func(t *Token) *string { return &t.ID }},
		{Name: "comment", Column: "comment", Place: 2, Answer: "comment", Letter: 'c', Text: func(t *Token) *string { return &t.Comment }},
		{Name: "created_at", Column: "created_ms", Place: 3, Answer: "creation_time", Letter: 'n', Time: func(t *Token) **int64 { return &t.Created }},
		{Name: "expires_at", Column: "expires_ms", Place: 4, Answer: "expiry_time", Letter: 'e', Time: func(t *Token) **int64 { return &t.Expires }},
		{Name: "last_used_at", Place: placeOfLastUse, Answer: "last_used_day", Letter: 'l', Time: func(t *Token) **int64 { return &t.LastUsed }},
		{Name: "owner_id", Column: "owner_id", Place: 6, Answer: "owner_id", Letter: 'o', Digits: true, Text: func(t *Token) *string { return &t.OwnerID }},
		{Name: "creator_id", Column: "creator_id", Place: 7, Answer: "created_by_id", Letter: 'i', Digits: true, Text: func(t *Token) *string { return &t.CreatorID }},
		{Name: "creator_name", Column: "creator_name", Place: 8, Answer: "created_by_username", Letter: 'u', Text: func(t *Token) *string { return &t.CreatorName }},
		{Name: "autoscope_state", Column: "autoscope_state", Place: 9, Text: func(t *Token) *string { return &t.AutoscopeState }},
		{Name: "scopes", Column: "scopes", Place: 10, Answer: "scopes", Letter: 's', Texts: func(t *Token) *[]string { return &t.Scopes }},
		{Name: "inferred_scopes", Column: "inferred_scopes", Place: 11, Answer: "inferred_scopes", Letter: 'f', Texts: func(t *Token) *[]string { return &t.InferredScopes }},
		{Name: "backfill_scopes", Column: "backfill_scopes", Place: 12, Answer: "backfill_scopes", Letter: 'b', Texts: func(t *Token) *[]string { return &t.BackfillScopes }},
	}
})

// Known is how much of a workspace was read, as far as fields of tokens rest on it.
type Known struct {
	WholeDirectory    bool // every principal was read: who is not among them does not exist
	WholeGroups       bool // it is known of everybody in which groups they are
	LogAsked, LogRead bool
	LogFirst, LogLast int64 // ms: the span of the log
}

// Contradicts holds for a token that was used, by the list of tokens, on a day of
// which the audit log should have events, but has none. The first day of the log
// is no whole one, and events arrive late.
func (k Known) Contradicts(t *Token, a *Activity) bool {
	return k.LogRead && t.LastUsed != nil && *t.LastUsed >= k.LogFirst+Day && *t.LastUsed+2*Day <= k.LogLast && (a == nil || a.Last < *t.LastUsed)
}

// tokenFields are the fields of input.token.
func tokenFields() []Field {
	missing := func(name string) func(*Subject, Known) bool { // could not be derived
		return func(s *Subject, _ Known) bool { return slices.Contains(s.Facts.Unknown, name) }
	}
	defective := func(answer string) func(*Subject, Known) bool {
		return func(s *Subject, _ Known) bool { return s.Token.defective(answer) }
	}
	given := func(answer string, text func(*Subject) *string) func(*Subject, Known) bool {
		return func(s *Subject, _ Known) bool { return *text(s) == "" || s.Token.defective(answer) }
	}
	id := func(s *Subject) *string { return &s.Token.ID }
	owner := func(s *Subject) *string { return &s.Token.OwnerID }
	creator := func(s *Subject) *string { return &s.Token.CreatorID }
	creatorName := func(s *Subject) *string { return &s.Token.CreatorName }
	created := func(s *Subject) *int64 { return s.Token.Created }
	lastUsed := func(s *Subject) *int64 { return s.Facts.LastUsed }
	expires := func(s *Subject) *int64 {
		if s.Token.Expires == nil || *s.Token.Expires == NeverExpires {
			return nil
		}
		return s.Token.Expires
	}
	creation, expiry, use := []string{"creation_time"}, []string{"expiry_time"}, []string{"last_used_day"}
	return append([]Field{
		{Name: "id", Answer: []string{"token_id"}, Text: id, Unknown: defective("token_id")},
		{Name: "comment", Answer: []string{"comment"}, Text: func(s *Subject) *string { return ptr(VisibleComment(s.Token.Comment)) }, Unknown: defective("comment")},
		{Name: "comment_secrets", Answer: []string{"comment"}, Texts: func(s *Subject) []string { return SecretKinds(s.Token.Comment) }, Unknown: defective("comment")},
		{Name: "scopes", Answer: []string{"scopes"}, Texts: func(s *Subject) []string { return s.Token.Scopes }, Unknown: defective("scopes")},
		{Name: "autoscope_state", Answer: []string{"autoscope_state"}, Text: func(s *Subject) *string { return AutoscopeState(s.Token.AutoscopeState) },
			Unknown: func(s *Subject, _ Known) bool {
				return AutoscopeState(s.Token.AutoscopeState) == nil || s.Token.defective("autoscope_state")
			}},
		{Name: "inferred_scopes", Answer: []string{"inferred_scopes"}, Texts: func(s *Subject) []string { return s.Token.InferredScopes }, Unknown: defective("inferred_scopes")},
		{Name: "backfill_scopes", Answer: []string{"backfill_scopes"}, Texts: func(s *Subject) []string { return s.Token.BackfillScopes }, Unknown: defective("backfill_scopes")},
		{Name: "owner_id", Answer: []string{"owner_id"}, Text: owner, Unknown: given("owner_id", owner)},
		{Name: "creator_id", Answer: []string{"created_by_id"}, Text: creator, Unknown: given("created_by_id", creator)},
		{Name: "creator_name", Answer: []string{"created_by_username"}, Text: creatorName, Unknown: given("created_by_username", creatorName)},
		{Name: "created_at", Answer: creation, Time: created, Unknown: missing("created_at")},
		{Name: "created_ms", Answer: creation, Number: created, Unknown: missing("created_at")},
		{Name: "expires_at", Answer: expiry, Time: expires, Unknown: missing("expires_at")},
		{Name: "expires_ms", Answer: expiry, Number: expires, Unknown: missing("expires_at")},
		{Name: "last_used_at", Answer: use, Time: lastUsed, Unknown: missing("last_used_at")},
		{Name: "last_used_ms", Answer: use, Number: lastUsed, Unknown: missing("last_used_at")},
		{Name: "age_days", Answer: creation, Number: func(s *Subject) *int64 { return s.Facts.AgeDays }, Unknown: missing("age_days")},
		{Name: "lifetime_days", Answer: []string{"creation_time", "expiry_time"}, Number: func(s *Subject) *int64 { return s.Facts.LifetimeDays }, Unknown: missing("lifetime_days")},
		{Name: "idle_days", Answer: []string{"last_used_day", "creation_time"}, Number: func(s *Subject) *int64 { return s.Facts.IdleDays }, Unknown: missing("idle_days")},
		{Name: "used", Answer: use, Truth: func(s *Subject) *bool { return s.Facts.Used }, Unknown: missing("used")},
		{Name: "expires_in_days", Answer: expiry, Number: func(s *Subject) *int64 { return s.Facts.ExpiresInDays }, Unknown: missing("expires_in_days")},
		{Name: "never_expires", Answer: expiry, Truth: func(s *Subject) *bool { return s.Facts.NeverExpires }, Unknown: missing("never_expires")},
		{Name: "expired", Answer: expiry, Truth: func(s *Subject) *bool { return s.Facts.Expired }, Unknown: missing("expired")},
		{Name: "on_behalf", Answer: []string{"owner_id", "created_by_id"}, Truth: func(s *Subject) *bool { return s.Facts.OnBehalf }, Unknown: missing("on_behalf")},
	}, peerFields()...)
}

// peerFields are told by the other tokens, the snapshots before and the audit log.
func peerFields() []Field {
	compared := func(s *Subject) Peers {
		if s.Peers == nil {
			return Peers{}
		}
		return *s.Peers
	}
	successor := func(s *Subject) Successor {
		if found := compared(s).Successor; found != nil {
			return *found
		}
		return Successor{}
	}
	alone := func(s *Subject, _ Known) bool { return s.Peers == nil }
	successorUnknown := func(s *Subject, _ Known) bool {
		return s.Peers == nil || s.Peers.SuccessorUnknown || s.Token.OwnerID == "" || s.Token.defective("comment")
	}
	logged := func(s *Subject) Activity { // a log that has nothing of a token saw none of it
		if found := compared(s).Activity; found != nil {
			return *found
		}
		return Activity{}
	}
	event := func(read func(Activity) int64) func(*Subject) *int64 {
		return func(s *Subject) *int64 { return some(read(logged(s)), logged(s).Events > 0) }
	}
	logUnknown := func(s *Subject, k Known) bool {
		return k.LogAsked && (!k.LogRead || s.Peers == nil || k.Contradicts(&s.Token, s.Peers.Activity))
	}
	olderExport := func(s *Subject, k Known) bool { // an older export does not tell it
		return logUnknown(s, k) || k.LogAsked && s.Peers.Activity != nil && s.Peers.Activity.Detail == nil
	}
	detail := func(s *Subject) ActivityDetail {
		if found := logged(s).Detail; found != nil {
			return *found
		}
		return ActivityDetail{}
	}
	needed := func(s *Subject) Need { return NeedOf(&s.Token, compared(s).Activity) }
	scopesUnknown := func(s *Subject, k Known) bool {
		return logUnknown(s, k) || s.Token.defective("scopes") || s.Token.defective("inferred_scopes") || s.Token.defective("backfill_scopes")
	}
	scopeAnswers := []string{"scopes", "inferred_scopes", "backfill_scopes"}
	owner, ownerAndComment := []string{"owner_id", "expiry_time"}, []string{"owner_id", "comment"}
	return []Field{
		{Name: "superseded_by", Answer: ownerAndComment, Peers: true, Unknown: successorUnknown,
			Text: func(s *Subject) *string { return some(successor(s).ID, successor(s).ID != "") }},
		{Name: "superseded_by_created_at", Answer: ownerAndComment, Peers: true, Unknown: successorUnknown,
			Time: func(s *Subject) *int64 { return some(successor(s).Created, successor(s).ID != "") }},
		{Name: "superseded_by_idle_days", Answer: ownerAndComment, Peers: true, Unknown: successorUnknown,
			Number: func(s *Subject) *int64 {
				return some(DaysSince(successor(s).LastUsed, s.Facts.AsOf), successor(s).ID != "")
			}},
		{Name: "owner_expiring_near", Answer: owner, Peers: true, Number: func(s *Subject) *int64 { return compared(s).OwnerExpiringNear },
			Unknown: func(s *Subject, _ Known) bool {
				return s.Peers == nil || s.Token.Expires == nil || s.Token.OwnerID == ""
			}},
		{Name: "workspace_expiring_near", Answer: []string{"expiry_time"}, Peers: true, Number: func(s *Subject) *int64 { return compared(s).WorkspaceExpiringNear },
			Unknown: func(s *Subject, _ Known) bool { return s.Peers == nil || s.Token.Expires == nil }},
		{Name: "in_previous_snapshot", Peers: true, Truth: func(s *Subject) *bool { return compared(s).InPrevious }, Unknown: alone},
		{Name: "first_seen_at", Peers: true, Time: func(s *Subject) *int64 { return compared(s).FirstSeen },
			Unknown: func(s *Subject, _ Known) bool { return s.Peers == nil || s.Peers.FirstSeen == nil }},
		{Name: "audit_events", Peers: true, Log: true, Unknown: logUnknown, Number: func(s *Subject) *int64 { return ptr(logged(s).Events) }},
		{Name: "audit_first_event_at", Peers: true, Log: true, Unknown: logUnknown, Time: event(func(a Activity) int64 { return a.First })},
		{Name: "audit_last_event_at", Peers: true, Log: true, Unknown: logUnknown, Time: event(func(a Activity) int64 { return a.Last })},
		{Name: "audit_max_ips_per_day", Peers: true, Log: true, Unknown: logUnknown, Number: func(s *Subject) *int64 { return ptr(logged(s).MaxIPsPerDay) }},
		{Name: "audit_user_agents", Peers: true, Log: true, Unknown: logUnknown, Texts: func(s *Subject) []string { return logged(s).UserAgents }},
		{Name: "audit_days_used", Peers: true, Log: true, Unknown: olderExport, Number: func(s *Subject) *int64 { return ptr(detail(s).Days) }},
		{Name: "audit_refused", Peers: true, Log: true, Unknown: olderExport, Number: func(s *Subject) *int64 { return ptr(detail(s).Refused) }},
		{Name: "audit_addresses", Peers: true, Log: true, Unknown: olderExport, Number: func(s *Subject) *int64 { return ptr(detail(s).Addresses) }},
		{Name: "audit_calls", Peers: true, Log: true, Unknown: olderExport, Texts: func(s *Subject) []string { return callNames(detail(s).Calls) }},
		{Name: "unmapped_calls", Peers: true, Unknown: logUnknown, Texts: func(s *Subject) []string { return needed(s).Unknown }},
		{Name: "read_only_scopes", Answer: scopeAnswers, Peers: true, Log: true,
			Unknown: func(s *Subject, k Known) bool { return olderExport(s, k) || scopesUnknown(s, k) },
			Texts:   func(s *Subject) []string { return ReadOnlyScopes(&s.Token, compared(s).Activity) }},
		{Name: "needed_scopes", Answer: scopeAnswers, Peers: true, Unknown: scopesUnknown, Texts: func(s *Subject) []string { return needed(s).Scopes }},
		{Name: "writing_scopes", Answer: []string{"scopes"}, Unknown: func(s *Subject, _ Known) bool { return s.Token.defective("scopes") },
			Texts: func(s *Subject) []string { return WritingScopes(&s.Token) }},
	}
}

func callNames(calls []Call) (names []string) {
	for _, call := range calls {
		names = append(names, call.String())
	}
	return names
}

// partyFields are the fields of input.owner and input.creator, under that name. A
// directory that was not read whole cannot tell that somebody is missing from it.
func partyFields(name string, of func(*Subject) *Party) []Field {
	field := func(below string, unknown func(*Party) bool) Field {
		return Field{Name: name + "." + below, Unknown: func(s *Subject, k Known) bool {
			p := of(s)
			return p.Kind == "" || p.Kind == Missing && !k.WholeDirectory || unknown != nil && unknown(p)
		}}
	}
	nameless := func(p *Party) bool { return p.Name == "" && p.Kind != Missing }
	id, kind, title, display := field("id", nil), field("kind", nil), field("name", nameless), field("display_name", nil)
	active, admin := field("active", func(p *Party) bool { return p.Active == nil }), field("admin", func(p *Party) bool { return p.Admin == nil })
	groups, live := field("groups", nil), field("live_tokens", nil)
	id.Unknown = func(s *Subject, _ Known) bool { return of(s).ID == "" }
	id.Text = func(s *Subject) *string { return &of(s).ID }
	kind.Text = func(s *Subject) *string { return (*string)(&of(s).Kind) }
	title.Text = func(s *Subject) *string { return &of(s).Name }
	display.Text = func(s *Subject) *string { return &of(s).DisplayName }
	active.Truth = func(s *Subject) *bool { return of(s).Active }
	admin.Truth = func(s *Subject) *bool { return of(s).Admin }
	inGroups := groups.Unknown
	groups.Unknown = func(s *Subject, k Known) bool { return inGroups(s, k) || !k.WholeGroups && of(s).Kind != Missing }
	groups.Texts = func(s *Subject) []string { return of(s).Groups }
	live.Number = func(s *Subject) *int64 { return ptr(int64(of(s).LiveTokens)) }
	return []Field{id, kind, title, display, active, admin, groups, live}
}

// Fields are all fields of a token that policies see. The list is shared: it is not to
// be changed.
func Fields() []Field { return fields() }

var fields = sync.OnceValue(func() []Field {
	return slices.Concat(tokenFields(),
		partyFields("owner", func(s *Subject) *Party { return &s.Owner }), partyFields("creator", func(s *Subject) *Party { return &s.Creator }))
})

// FieldSet is a set of fields: bit i is that of Fields()[i].
type FieldSet uint64

// FieldsWhere is the set of the fields of which something holds.
func FieldsWhere(holds func(Field) bool) (set FieldSet) {
	for i, f := range Fields() {
		if holds(f) {
			set |= 1 << i
		}
	}
	return set
}

// Names lists the fields of a set, sorted.
func (set FieldSet) Names() []string {
	var names []string
	for i, f := range Fields() {
		if set&(1<<i) != 0 {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Place is the object of input that holds a field, and the field's name in it.
func (f Field) Place() (object, name string) {
	if object, name, ofParty := strings.Cut(f.Name, "."); ofParty {
		return object, name
	}
	return "token", f.Name
}

// some is a value, or nil where there is none.
func some[T any](value T, there bool) *T {
	if !there {
		return nil
	}
	return &value
}

// AutoscopeState is how a token is scoped by itself, without the platform's prefix; "" when
// the platform says nothing of it, nil when it says a word that is not known.
func AutoscopeState(text string) *string {
	state := strings.ToLower(strings.TrimPrefix(text, "AUTOSCOPE_STATE_"))
	switch state {
	case "unspecified":
		state = ""
	case "", "disabled", "running", "completed", "backfilled", "user_selected", "api_not_covered":
	default:
		return nil
	}
	return &state
}

// VisibleComment is a comment; one in which nothing can be seen is no comment.
func VisibleComment(text string) string {
	const brailleBlank = '\u2800'
	seen := func(r rune) bool {
		return r != brailleBlank && !unicode.In(r, unicode.White_Space, unicode.Z, unicode.C, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
	}
	if strings.ContainsFunc(text, seen) {
		return text
	}
	return ""
}
