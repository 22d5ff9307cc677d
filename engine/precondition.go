package engine

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

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
		"comment_sha256": TextDigest(t.Comment), "scopes": textsOrEmpty(t.Scopes), "autoscope_state": t.AutoscopeState, "last_used_day": stamp(t.LastUsed),
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

func textsOrEmpty(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}
