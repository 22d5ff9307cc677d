package eval

import (
	"encoding/json"
	"slices"
	"testing"

	"patrol/engine"
	"patrol/policies"
)

// What is built is what the schemas say, field by field.
func TestSchemasMatchInput(t *testing.T) {
	t.Parallel()
	text, err := policies.FS.ReadFile("schemas/token.json")
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Properties map[string]struct{ Properties map[string]any }
	}
	var schema struct {
		object
		AllOf, AnyOf []object
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	known := func(property string) map[string]any {
		for _, part := range slices.Concat([]object{schema.object}, schema.AllOf, schema.AnyOf) {
			if of, there := part.Properties[property]; there {
				return of.Properties
			}
		}
		return nil
	}
	equal(t, engine.SortedKeys(known("token")), fieldNames(""))
	now := covered(nil)
	before := engine.State{
		Settings: engine.Dated{Document: now.Documents[engine.SectionSettings], At: asOf()}, Grants: engine.Dated{Document: now.Documents[engine.SectionGrants], At: asOf()},
	}
	view, err := newWorkspaceView(covered(readEverything), &before, asOf())
	if err != nil {
		t.Fatal(err)
	}
	subject := view.newSubject(compared(healthy(nil)))
	built := map[string]any{"workspace": toGo(view.term.Value)}
	for _, pair := range seenBy(^engine.FieldSet(0)).pairs(view, subject) {
		built[keyText(pair[0])] = toGo(pair[1].Value)
	}
	for _, name := range []string{"token", "workspace"} {
		got := built[name].(map[string]any)
		for _, field := range engine.SortedKeys(known(name)) {
			if _, ok := got[field]; !ok {
				t.Errorf("input.%s.%s is in the schema and never built", name, field)
			}
		}
		for _, field := range engine.SortedKeys(got) {
			if known(name)[field] == nil {
				t.Errorf("input.%s.%s is built and not in the schema", name, field)
			}
		}
	}
	equal(t, engine.SortedKeys(built["owner"].(map[string]any)), fieldNames("owner."))
}
