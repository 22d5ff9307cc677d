// Package enginetest makes tokens and principals for tests that must hold for
// any: every field present, absent and at the thresholds that policies use.
package enginetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"patrol/engine"
)

// Tokens makes n tokens, ascending by id, the same for the same seed. The
// instant is in ms: their dates lie around whole days before and after it.
func Tokens(seed uint64, n int, asOf int64) []engine.Token {
	r := source{rand.New(rand.NewPCG(seed, 1)), asOf} //nolint:gosec // chance, not secrecy
	tokens := make([]engine.Token, n)
	for i := range tokens {
		tokens[i] = r.token(i)
	}
	slices.SortFunc(tokens, func(a, b engine.Token) int { return cmp.Compare(a.ID, b.ID) })
	return tokens
}

type source struct {
	*rand.Rand
	asOf int64
}

// pick chooses one of a list.
func pick[T any](r source, list ...T) T { return list[r.IntN(len(list))] }

func (r source) token(i int) engine.Token {
	t := engine.Token{
		ID: fmt.Sprintf("%08x%056x", r.Uint32(), i), Comment: pick(r, comments()...),
		Created: r.before(), LastUsed: r.before(),
		OwnerID: r.principal(), CreatorName: pick(r, "", "ann@example.com", "ben@example.org"),
		Scopes: r.scopes(), InferredScopes: r.scopes(), BackfillScopes: r.scopes(),
		AutoscopeState: pick(r, "", "AUTOSCOPE_STATE_UNSPECIFIED", "AUTOSCOPE_STATE_DISABLED", "AUTOSCOPE_STATE_RUNNING",
			"AUTOSCOPE_STATE_COMPLETED", "AUTOSCOPE_STATE_API_NOT_COVERED", "AUTOSCOPE_STATE_USER_SELECTED"),
	}
	t.CreatorID = pick(r, t.OwnerID, t.OwnerID, r.principal())
	t.Expires = r.expiry(t.Created)
	r.spoil(&t)
	t.Raw, _ = json.Marshal(map[string]string{"token_id": t.ID})
	return t
}

func comments() []string {
	return []string{
		"", " ", "\u00a0\t", "nightly export, OPS-12", "Nightly", "tmp", "TMP test", "ÄRGER ſ İ", "naïve 日本",
		"password=hunter2secret", "AKIAABCDEFGHIJKLMNOP", "dapi0123456789abcdef0123456789abcdef", "password: see vault",
		"owner: ann@example.com", "a'b\"c%_", "line\nbreak", "ends with temp", "1", "true", "null",
	}
}

// days are the thresholds of the built-in policies, and their neighbours.
func days() []int64 {
	return []int64{0, 1, 2, 3, 6, 7, 8, 13, 14, 15, 29, 30, 31, 74, 75, 76, 89, 90, 91, 119, 120, 179, 180, 364, 365, 366, 730, 731, 1200}
}

// around is some days with a little more or less.
func (r source) around() int64 {
	return pick(r, days()...)*engine.Day + pick(r, 0, 0, 0, 1, -1, 59_999, 60_000, 60_001, -60_000, engine.Day/2)
}

func (r source) before() *int64 {
	switch r.IntN(8) {
	case 0:
		return nil
	case 1:
		return new(r.asOf + r.around())
	}
	return new(r.asOf - r.around())
}

func (r source) expiry(created *int64) *int64 {
	switch r.IntN(9) {
	case 0:
		return nil
	case 1, 2:
		return new(engine.NeverExpires)
	case 3:
		return new(r.asOf - r.around())
	case 4, 5:
		return new(r.asOf + r.around())
	}
	if created == nil {
		return new(r.asOf)
	}
	return new(*created + r.around())
}

func (r source) scopes() []string {
	return pick(r, nil, nil, nil, []string{"sql"}, []string{"all-apis"}, []string{"Authentication", "sql"}, []string{"clusters", "sql", "unity-catalog"}, []string{"tokens"})
}

// spoil makes a field of one token in twelve unreadable.
func (r source) spoil(t *engine.Token) {
	if r.IntN(12) > 0 {
		return
	}
	field := pick(r, "creation_time", "expiry_time", "last_used_day", "comment", "scopes", "autoscope_state", "inferred_scopes",
		"backfill_scopes", "owner_id", "created_by_id", "created_by_username")
	switch field {
	case "creation_time":
		t.Created = nil
	case "expiry_time":
		t.Expires = nil
	case "last_used_day":
		t.LastUsed = nil
	case "comment":
		t.Comment = ""
	case "owner_id":
		t.OwnerID = ""
	case "created_by_id":
		t.CreatorID = ""
	case "created_by_username":
		t.CreatorName = ""
	case "scopes":
		t.Scopes = nil
	case "inferred_scopes":
		t.InferredScopes = nil
	case "backfill_scopes":
		t.BackfillScopes = nil
	case "autoscope_state":
		t.AutoscopeState = ""
	}
	t.Defects = []engine.Defect{{Field: field, Reason: "bad_type", Value: "{}"}}
}
