package engine

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Action is what a step does.
type Action string

// The actions. Only Revoke, SetSetting, ChangeGrant, NarrowScopes and
// SetComment change a workspace; Notify and Manual are for people.
const (
	Revoke       Action = "revoke"
	SetSetting   Action = "set-setting"
	ChangeGrant  Action = "change-grant"
	NarrowScopes Action = "narrow-scopes"
	SetComment   Action = "set-comment"
	Notify       Action = "notify"
	Manual       Action = "manual"
)

// PlanSchema is the version of the plan file that this patrol reads and writes.
const PlanSchema = 1

// Plan is a proposal: what would be changed, on what evidence, and within
// which limits. Its bytes are written once; an approval is bound to their
// SHA-256, so that they are never serialised again. The same evaluation and
// configuration give the same bytes. Times are RFC 3339 in UTC.
type Plan struct {
	Schema      int             `json:"schema"`
	ID          string          `json:"plan_id"` // derived from all that follows
	Version     string          `json:"version"` // of patrol
	Engine      string          `json:"engine"`  // version of OPA
	Policies    string          `json:"policy_digest"`
	AsOf        string          `json:"as_of"`
	NotBefore   string          `json:"not_before"` // as_of and the grace period
	ExpiresAt   string          `json:"expires_at"` // not_before and the time that the plan is good for
	Planner     string          `json:"planner" names:"person"`
	Contact     string          `json:"contact,omitempty"`                 // whom owners and reviewers ask
	WhatIf      string          `json:"what_if,omitempty" names:"written"` // the name of what would be: such a plan is never approved or applied
	Workspaces  []PlanWorkspace `json:"workspaces"`
	Limits      Limits          `json:"limits"`
	Protected   Protected       `json:"protected"`
	Steps       []Step          `json:"steps"`
	NotPlanned  []NotPlanned    `json:"not_planned"` // findings without a step, and why
	Undoes      string          `json:"undoes,omitempty"`
	OnUse       string          `json:"on_use"` // skip or proceed, when a token was used since the plan
	Reevaluates Retuning        `json:"tuning"` // what the configuration changes about policies, to judge again by
}

// Retuning is, by workspace id and policy id, what the configuration changes.
type Retuning map[string]map[string]PolicyTuning

// PolicyTuning is what a configuration changes about one policy.
type PolicyTuning struct {
	Severity Severity       `json:"severity,omitempty"`
	Params   map[string]any `json:"params,omitempty"`
}

// PlanWorkspace is a workspace as it was when the plan was made.
type PlanWorkspace struct {
	ID          string                         `json:"workspace_id"`
	Name        string                         `json:"name"`
	Host        string                         `json:"host"`
	Cloud       string                         `json:"cloud"`
	Labels      map[string]string              `json:"labels"`
	Snapshot    string                         `json:"snapshot"`
	Digest      string                         `json:"digest"`
	CollectedAt string                         `json:"collected_at"`
	Tokens      int                            `json:"tokens"` // the population that percentages are of
	Coverage    map[SectionName]CoverageStatus `json:"coverage"`
}

// Limits bound what one plan may do. Zero means zero.
type Limits struct {
	MaxSteps         int     `json:"max_steps" min:"0"`
	MaxPercent       float64 `json:"max_percent" min:"0" max:"100"` // of each workspace's tokens
	MaxPerOwner      int     `json:"max_per_owner" min:"0"`         // in each workspace
	MaxRecentlyUsed  int     `json:"max_recently_used" min:"0"`     // tokens used within RecentlyUsedDays
	RecentlyUsedDays int64   `json:"recently_used_days" min:"0"`
	MaxEndangered    int     `json:"max_endangered,omitempty" min:"0"` // tokens that steps take the use from
}

// DefaultLimits are in force where the configuration sets none.
func DefaultLimits() Limits {
	return Limits{MaxSteps: 25, MaxPercent: 10, MaxPerOwner: 10, MaxRecentlyUsed: 0, RecentlyUsedDays: 7}
}

// Step is one change.
type Step struct {
	ID           string         `json:"id"` // derived from action, workspace and target; stable over plans
	Action       Action         `json:"action"`
	Workspace    string         `json:"workspace"`
	WorkspaceID  string         `json:"workspace_id"`
	Target       string         `json:"target"` // token id, configuration key, or principal of a grant
	Owner        string         `json:"owner" names:"person"`
	OwnerID      string         `json:"owner_id" names:"person"`
	OwnerName    string         `json:"owner_name,omitempty" names:"person"` // as people are called, not signed in
	OwnerKind    Kind           `json:"owner_kind,omitempty"`
	Comment      string         `json:"comment,omitempty" names:"written"` // of the token, without secrets, cut
	Policies     []string       `json:"policies"`                          // whose remedy the action is, worst first: the grounds of the step
	Severity     Severity       `json:"severity"`                          // the worst of the policies
	Reasons      []string       `json:"reasons"`                           // the findings' messages, in the order of Policies
	Evidence     map[string]any `json:"evidence"`
	Precondition Precondition   `json:"precondition"`
	Expected     map[string]any `json:"expected"` // state after the step
	Risk         Risk           `json:"risk"`
	Critical     bool           `json:"critical"` // needs a statement of its own, unless the configuration says otherwise
	NotBefore    string         `json:"not_before"`
}

// Precondition is what must still hold right before the step: anything else is
// drift. See below for what it holds by action; a step for people has
// that of the token or state that it is about.
type Precondition struct {
	Identity map[string]any `json:"identity,omitempty"`
	Digest   string         `json:"digest"`
	Volatile map[string]any `json:"volatile,omitempty"` // may change; the policies are then judged again
}

// Risk tells a reviewer what could break.
type Risk struct {
	Level        string `json:"level"` // low, medium, high
	Why          string `json:"why"`
	IdleDays     *int64 `json:"idle_days,omitempty"`
	RecentlyUsed bool   `json:"recently_used"`
	// Endangers are live tokens that the step takes the use from, in all or in
	// part, without revoking them.
	Endangers       int `json:"endangers"`
	EndangersOwners int `json:"endangers_owners,omitempty"` // whose they are
	EndangersOfOne  int `json:"endangers_of_one,omitempty"` // those of the owner who has most
	EndangersRecent int `json:"endangers_recent,omitempty"` // those used within recently_used_days

	// By the audit log, where it was read:
	Users        []TokenUser `json:"users,omitempty"` // who uses the token; of the tokens that are endangered the busiest
	UsersUnknown string      `json:"users_unknown,omitempty"`
	Fails        []string    `json:"fails,omitempty"` // calls that were seen and will be refused
}

// TokenUser is who uses a token, by the audit log.
type TokenUser struct {
	Token     string   `json:"token,omitempty"` // where the step is about several
	Owner     string   `json:"owner,omitempty" names:"person"`
	PerDay    int64    `json:"events_per_day"` // on days with events
	Days      int64    `json:"days_used"`
	Last      string   `json:"last_event"`
	Agents    []string `json:"user_agents"` // 3 at most
	Addresses int64    `json:"addresses"`
	Address   string   `json:"top_address,omitempty"`
	Calls     []string `json:"calls"` // the most frequent, 5 at most
}

// UseOf is what a plan says of a token's use.
func UseOf(a Activity) TokenUser {
	u := TokenUser{Last: time.UnixMilli(a.Last).UTC().Format(time.RFC3339), Days: 1, Agents: []string{}, Calls: []string{}}
	for _, agent := range a.UserAgents[:min(len(a.UserAgents), 3)] {
		u.Agents = append(u.Agents, RedactSecrets(agent))
	}
	if d := a.Detail; d != nil {
		u.Days, u.Addresses, u.Address = max(1, d.Days), d.Addresses, d.TopAddress
		for _, call := range slices.SortedStableFunc(slices.Values(d.Calls), func(x, y Call) int { return cmp.Compare(y.Events, x.Events) }) {
			if scope, known := ScopeOf(call); len(u.Calls) < 5 && (scope != "" || !known) { // signing in is no work
				u.Calls = append(u.Calls, call.String())
			}
		}
	}
	u.PerDay = (a.Events + u.Days - 1) / u.Days
	return u
}

func (u TokenUser) String() string {
	text := "somebody"
	if len(u.Agents) > 0 {
		text = strings.Join(u.Agents, ", ")
	}
	if u.Token != "" {
		text = "token " + u.Token[:min(len(u.Token), 8)] + " of " + u.Owner + ": " + text
	}
	if u.Address != "" {
		text += " from " + u.Address
		if u.Addresses > 1 {
			text += fmt.Sprintf(" and %d more", u.Addresses-1)
		}
	}
	text += fmt.Sprintf(", %d events a day on %d days, last %s", u.PerDay, u.Days, u.Last)
	if len(u.Calls) > 0 {
		text += ": " + strings.Join(u.Calls, ", ")
	}
	return text
}

// NotPlanned is a finding that got no step.
type NotPlanned struct {
	Policy      string `json:"policy"`
	WorkspaceID string `json:"workspace_id"`
	ResourceID  string `json:"resource_id"`
	Reason      string `json:"reason"` // stable word: protected, no_remedy, coverage, disabled_remedy, superseded, no_token, left
	Detail      string `json:"detail"`
}

// TokenCard is the token of a step as people know it.
type TokenCard struct{ Comment, Created, Expires, LastUsed, Scopes string }

// Card is the token that a step is about; not one of a step on a workspace.
func (s Step) Card() (c TokenCard, ok bool) {
	identity, volatile := s.Precondition.Identity, s.Precondition.Volatile
	if _, ok = identity["token_id"]; !ok {
		return c, false
	}
	c = TokenCard{Comment: s.Comment, Created: cardDay(identity["creation_time"], "unknown"), Expires: cardDay(identity["expiry_time"], "unknown"), Scopes: "all"}
	c.LastUsed = cardDay(volatile["last_used_day"], "never")
	if volatile["last_used_day"] == nil && s.Risk.RecentlyUsed { // what cannot be told counts as use
		c.LastUsed = "unknown"
	}
	if scopes := TextsOf(volatile["scopes"]); len(scopes) > 0 {
		c.Scopes = strings.Join(scopes, ", ")
	}
	return c, true
}

// cardDay is the day of milliseconds as a plan holds them.
func cardDay(value any, missing string) string {
	text, _ := value.(string)
	ms, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return missing
	case ms == NeverExpires:
		return "never"
	}
	return time.UnixMilli(ms).UTC().Format(time.DateOnly)
}

// TextsOf is a list of texts, which may come from JSON.
func TextsOf(value any) []string {
	texts, _ := value.([]string)
	list, _ := value.([]any)
	for _, item := range list {
		texts = append(texts, fmt.Sprint(item))
	}
	return texts
}

// Instead says how the owner of a token can sign in without one.
func (k Kind) Instead() string {
	if k == ServicePrincipal {
		return "workload identity federation, which needs no secret, or else an OAuth secret of the service principal"
	}
	return "people sign in with `databricks auth login` (OAuth); jobs and pipelines as a service principal, by workload identity federation or an OAuth secret"
}

// StepState is where a step stands in the journal.
type StepState string

// The states of a step. Pending, Intent, Acked and Unresolved are not terminal.
const (
	StatePending          StepState = "pending"
	StateIntent           StepState = "intent"
	StateAcked            StepState = "acked"
	StateUnresolved       StepState = "unresolved"
	StateDone             StepState = "done" // revoked, set or changed, and seen to be so
	StateGoneBefore       StepState = "gone_before"
	StateGoneAfterIntent  StepState = "gone_after_intent" // by us or by somebody at the same moment
	StateSkippedDrift     StepState = "skipped_drift"
	StateSkippedProtected StepState = "skipped_protected"
	StateSkippedApproval  StepState = "skipped_approval" // not approved, deferred or rejected
	StateRefused          StepState = "refused"
	StateFailed           StepState = "failed"
)

// Terminal reports whether a step in this state is finished for good.
func (s StepState) Terminal() bool {
	switch s {
	case StatePending, StateIntent, StateAcked, StateUnresolved:
		return false
	}
	return true
}

// Outcome is what became of a step.
type Outcome struct {
	Step    Step      `json:"step"`
	State   StepState `json:"state"`
	Reason  string    `json:"reason"` // stable word; "" when done
	Detail  string    `json:"detail"`
	Attempt int       `json:"attempt"`
	HTTP    int       `json:"http"`
	Request string    `json:"request_id"`
	At      string    `json:"at"`
}

// What a plan saw and what apply sees right before it acts are compared as
// fingerprints of these states. Both sides make them here, so that they cannot
// differ in spelling.
//
//	action         Precondition.Identity  Expected
//	revoke         TokenIdentity          {"absent": true}
//	narrow-scopes  TokenIdentity          {"scopes": [...]}
//	set-comment    TokenIdentity          {"comment": "..."}
//	set-setting    SettingState           {"value": "..."}
//	change-grant   GrantsState            GrantsState after the change
//
// Precondition.Digest is the Fingerprint of Identity. Volatile of a token's
// step is TokenVolatile.

// TokenIdentity is what makes a token this token: a difference in any of it
// means that another one stands in its place.
func TokenIdentity(workspaceID string, t Token) map[string]any {
	return map[string]any{
		"workspace_id": workspaceID, "token_id": t.ID, "owner_id": t.OwnerID, "created_by_id": t.CreatorID,
		"creation_time": stamp(t.Created), "expiry_time": stamp(t.Expires),
	}
}

// TokenVolatile is what may change while the token stays the same. Of the
// comment it tells a digest only: plans and journals must not keep the secrets
// that people write into comments.
func TokenVolatile(t Token) map[string]any {
	return map[string]any{
		"comment_sha256": TextDigest(t.Comment), "scopes": append([]string{}, t.Scopes...), "autoscope_state": t.AutoscopeState, "last_used_day": stamp(t.LastUsed),
	}
}

// SettingState is a configuration key as stored; nil when it was never set.
func SettingState(key string, value *string) map[string]any {
	state := map[string]any{"key": key, "value": nil}
	if value != nil {
		state["value"] = *value
	}
	return state
}

// GrantsState is the whole list of who may use tokens, in a fixed order. The
// admins can always manage it: the platform says so as inherited, as given, or
// not at all, and turns one into the other when the list is written. Here it is
// one entry.
func GrantsState(grants Grants) map[string]any {
	admins := Grant{Principal: "admins", Kind: "group", Level: "CAN_MANAGE"}
	list := slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool {
		return g.Kind == admins.Kind && g.Principal == admins.Principal && g.Level == admins.Level
	})
	list = append(list, admins)
	slices.SortFunc(list, func(a, b Grant) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Principal, b.Principal),
			cmp.Compare(a.Level, b.Level), cmp.Compare(a.InheritedFrom, b.InheritedFrom))
	})
	return map[string]any{"access_control_list": list}
}

// GrantsOf reads a state of grants, which may come from JSON.
func GrantsOf(state map[string]any) (Grants, error) {
	var wire struct {
		List Grants `json:"access_control_list"`
	}
	err := json.Unmarshal(CompactJSON(state), &wire)
	return wire.List, err
}

// Fingerprint is the SHA-256 (hexadecimal) of a state as compact JSON with all
// keys sorted: the same whether the state was made here or read from a file.
func Fingerprint(state map[string]any) string {
	var plain any
	decoder := json.NewDecoder(bytes.NewReader(CompactJSON(state)))
	decoder.UseNumber()
	if err := decoder.Decode(&plain); err != nil {
		panic(fmt.Sprintf("engine: decode: %v", err)) // what was just encoded
	}
	sum := sha256.Sum256(CompactJSON(plain))
	return hex.EncodeToString(sum[:])
}

// CompactJSON encodes a value of our own: keys of maps sorted, no HTML escapes.
func CompactJSON(value any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("engine: encode: %v", err)) // plain values always encode
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// stamp keeps an unknown time apart from any known one, and survives JSON as a
// string where a float would round.
func stamp(ms *int64) any {
	if ms == nil {
		return nil
	}
	return fmt.Sprint(*ms)
}
