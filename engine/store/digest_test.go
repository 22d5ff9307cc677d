package store

import (
	"encoding/json"
	"testing"

	"patrol/engine"
)

// TestDigestIsUnambiguous: rows that differ in where one value ends and the next
// begins, or in what is absent and what is zero, have different digests.
func TestDigestIsUnambiguous(t *testing.T) {
	zero := int64(0)
	for name, write := range map[string][2]func(*digester){
		"where a text ends":  {func(d *digester) { d.texts("ab", "c") }, func(d *digester) { d.texts("a", "bc") }},
		"text like another":  {func(d *digester) { d.texts("asb") }, func(d *digester) { d.texts("a", "b") }},
		"where a list ends":  {func(d *digester) { d.list([]string{"a"}); d.list(nil) }, func(d *digester) { d.list(nil); d.list([]string{"a"}) }},
		"no time and zero":   {func(d *digester) { d.optional(nil) }, func(d *digester) { d.optional(&zero) }},
		"no row and empty":   {func(d *digester) { d.raw(nil) }, func(d *digester) { d.raw(json.RawMessage{}) }},
		"owner and creator":  {func(d *digester) { d.token(engine.Token{OwnerID: "1"}) }, func(d *digester) { d.token(engine.Token{CreatorID: "1"}) }},
		"comment and id":     {func(d *digester) { d.token(engine.Token{ID: "xy"}) }, func(d *digester) { d.token(engine.Token{ID: "x", Comment: "y"}) }},
		"two kinds of scope": {func(d *digester) { d.token(engine.Token{Scopes: []string{"sql"}}) }, func(d *digester) { d.token(engine.Token{InferredScopes: []string{"sql"}}) }},
	} {
		var sums [2]string
		for i := range write {
			d := newDigester()
			write[i](d)
			sums[i] = d.hex()
		}
		if sums[0] == sums[1] {
			t.Errorf("%s: both have digest %s", name, sums[0])
		}
	}
}
