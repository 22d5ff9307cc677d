package store

import (
	"encoding/json"
	"testing"

	"patrol/engine"
)

// TestDigestIsUnambiguous: rows that differ in where one value ends and the next
// begins, or in what is absent and what is zero, have different digests.
func TestDigestIsUnambiguous(t *testing.T) {
	t.Parallel()
	zero := int64(0)
	for name, write := range map[string][2]func(*digester){
		"where a text ends": {func(d *digester) { d.texts("ab", "c") }, func(d *digester) { d.texts("a", "bc") }},
		"text like another": {func(d *digester) { d.texts("asb") }, func(d *digester) { d.texts("a", "b") }},
		"where a list ends": {func(d *digester) { d.list([]string{"a"}); d.list(nil) }, func(d *digester) { d.list(nil); d.list([]string{"a"}) }},
		"no time and zero":  {func(d *digester) { d.optional(nil) }, func(d *digester) { d.optional(&zero) }},
		"no row and empty":  {func(d *digester) { d.raw(nil) }, func(d *digester) { d.raw(json.RawMessage{}) }},
		"absent and zero":   {func(d *digester) { d.token(&engine.Token{}) }, func(d *digester) { d.token(&engine.Token{Created: &zero}) }},
		"where a row ends": {
			func(d *digester) { d.token(&engine.Token{ID: "1"}); d.token(&engine.Token{ID: "2", Comment: "x"}) },
			func(d *digester) { d.token(&engine.Token{ID: "1", Comment: "x"}); d.token(&engine.Token{ID: "2"}) },
		},
		"items of a list": {
			func(d *digester) { d.token(&engine.Token{Scopes: []string{"a", "b"}}) }, func(d *digester) { d.token(&engine.Token{Scopes: []string{"ab"}}) },
		},
		"owner and creator":  {func(d *digester) { d.token(&engine.Token{OwnerID: "1"}) }, func(d *digester) { d.token(&engine.Token{CreatorID: "1"}) }},
		"comment and id":     {func(d *digester) { d.token(&engine.Token{ID: "xy"}) }, func(d *digester) { d.token(&engine.Token{ID: "x", Comment: "y"}) }},
		"two kinds of scope": {func(d *digester) { d.token(&engine.Token{Scopes: []string{"sql"}}) }, func(d *digester) { d.token(&engine.Token{InferredScopes: []string{"sql"}}) }},
	} {
		for version := 1; version <= digestVersion; version++ {
			var sums [2]string
			for i := range write {
				d := newDigester(version)
				write[i](d)
				sums[i] = d.hex()
			}
			if sums[0] == sums[1] {
				t.Errorf("version %d: %s: both have digest %s", version, name, sums[0])
			}
		}
	}
}

// TestDigestCoversEachField by itself: most of a token stands in its row as it
// came, too, which an import may not have.
func TestDigestCoversEachField(t *testing.T) {
	t.Parallel()
	one, yes := int64(1), true
	seen := map[string]string{}
	note := func(name string, write func(*digester)) {
		for version := 1; version <= digestVersion; version++ {
			d := newDigester(version)
			write(d)
			sum := d.hex()
			if other, twice := seen[sum]; twice {
				t.Errorf("version %d: %s and %s have the same digest", version, name, other)
			}
			seen[sum] = name
		}
	}
	for name, token := range map[string]engine.Token{
		"nothing": {}, "id": {ID: "1"}, "comment": {Comment: "1"}, "created": {Created: &one}, "expires": {Expires: &one}, "last used": {LastUsed: &one},
		"owner": {OwnerID: "1"}, "creator": {CreatorID: "1"}, "name of creator": {CreatorName: "1"}, "autoscope": {AutoscopeState: "1"},
		"scopes": {Scopes: []string{"1"}}, "inferred": {InferredScopes: []string{"1"}}, "backfill": {BackfillScopes: []string{"1"}},
		"defect": {Defects: []engine.Defect{{Field: "1"}}}, "reason": {Defects: []engine.Defect{{Reason: "1"}}}, "value": {Defects: []engine.Defect{{Value: "1"}}}, "row": {Raw: json.RawMessage("1")}, "other row": {Raw: json.RawMessage("2")},
	} {
		note("token: "+name, func(d *digester) { d.token(&token) })
	}
	for name, p := range map[string]engine.Principal{
		"nothing": {}, "id": {ID: "1"}, "kind": {Kind: engine.User}, "name": {Name: "1"}, "display name": {DisplayName: "1"}, "active": {Active: &yes},
		"admin": {Admin: new(true)}, "groups": {Groups: []string{"1"}}, "row": {Raw: json.RawMessage("1")},
	} {
		note("principal: "+name, func(d *digester) { d.principal(p) })
	}
	for name, w := range map[string]engine.Workspace{
		"nothing": {}, "id": {ID: "1"}, "name": {Name: "1"}, "host": {Host: "1"}, "cloud": {Cloud: "1"}, "label": {Labels: map[string]string{"1": ""}}, "value of label": {Labels: map[string]string{"1": "1"}},
	} {
		note("workspace: "+name, func(d *digester) { d.header(engine.Snapshot{Workspace: w}) })
	}
}
