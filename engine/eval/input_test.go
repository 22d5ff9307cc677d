package eval

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/policy"
	"patrol/policies"
)

// What is built is what the schemas say, field by field.
func TestSchemasMatchInput(t *testing.T) {
	t.Parallel()
	type object struct {
		Properties map[string]struct{ Properties map[string]any }
	}
	var parts []object
	for _, file := range []string{"schemas/token.json", "schemas/workspace.json"} {
		text, err := policies.FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var schema struct {
			object
			AllOf []object
		}
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		parts = append(append(parts, schema.object), schema.AllOf...)
	}
	known := func(property string) map[string]any {
		for _, part := range parts {
			if of := part.Properties[property]; of.Properties != nil {
				return of.Properties
			}
		}
		return nil
	}
	enginetest.Equal(t, engine.SortedKeys(known("token")), enginetest.FieldNames(""))
	now := covered(nil)
	before := engine.State{
		Settings: engine.Dated{Document: now.Documents[engine.SectionSettings], At: asOf()}, Grants: engine.Dated{Document: now.Documents[engine.SectionGrants], At: asOf()},
	}
	view, err := newWorkspaceView(covered(readEverything), &before, asOf())
	if err != nil {
		t.Fatal(err)
	}
	subject := view.newSubject(compared(healthy(nil)), allFields)
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
	enginetest.Equal(t, engine.SortedKeys(built["owner"].(map[string]any)), enginetest.FieldNames("owner."))
}

// TestNoVerdictRestsOnTheAccount: what the account knows of missing owners gives
// them a name in findings, and changes no result, no message and nothing that
// exceptions look at, whatever the policy.
func TestNoVerdictRestsOnTheAccount(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	set := oddSet(t)
	subjects := awkward(enginetest.Seed(t), corpusSize(), true)
	without, tallies := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(subjects...)})

	snapshot := covered(func(s *engine.Snapshot) {
		s.Coverage[engine.SectionAccountPrincipals] = engine.Coverage{Status: engine.Complete}
		s.Documents[engine.SectionAccountPrincipals] = json.RawMessage(`{"account_id":"x","principals":[]}`)
	})
	known := 0
	for i := range subjects {
		for _, party := range []*engine.Party{&subjects[i].Owner, &subjects[i].Creator} {
			if party.Kind == engine.Missing {
				known++
				party.Account = &engine.AccountParty{Status: engine.AccountActive, Kind: engine.User, Name: "moved.on@example.com"}
			}
		}
	}
	seen := map[string]int{}
	with, withTallies := evaluate(t, set, Job{Snapshot: snapshot, Tokens: rows(subjects...), Except: func(f engine.Finding) engine.Finding {
		seen[f.Owner]++
		return f
	}})
	enginetest.Equal(t, withTallies, tallies)
	named := 0
	for i, f := range with {
		if f.Owner == "moved.on@example.com" {
			named++
			enginetest.Equal(t, f.Evidence["owner.account_status"], any("active"))
			f.Owner, f.Evidence = without[i].Owner, maps.Clone(f.Evidence)
			delete(f.Evidence, "owner.account_status")
			delete(f.Evidence, "owner.account_name")
		}
		enginetest.Equal(t, f, without[i])
	}
	if known == 0 || named == 0 || seen["moved.on@example.com"] > 0 {
		t.Errorf("%d missing, %d findings named, exceptions saw the name %d times", known, named, seen["moved.on@example.com"])
	}
}

// An OAuth credential that does not tell its scopes may write or not; nobody knows.
func TestScopesOfTheCaller(t *testing.T) {
	t.Parallel()
	set := builtIn(t).Select(func(p engine.Policy) bool { return p.ID == "WS-007" })
	for caller, want := range map[string]engine.Status{
		`{"auth_type":"pat"}`:                                 engine.Fail,
		`{"auth_type":"oauth-m2m","scopes":["all-apis"]}`:     engine.Fail,
		`{"auth_type":"oauth-m2m","scopes":["scim:read"]}`:    engine.Pass,
		`{"auth_type":"oauth-m2m"}`:                           engine.Unknown,
		`{"auth_type":"databricks-cli","scopes":["sql:all"]}`: engine.Fail,
	} {
		_, tallies := evaluate(t, set, Job{Snapshot: covered(func(s *engine.Snapshot) {
			s.Coverage[engine.SectionWorkspace] = engine.Coverage{Status: engine.Complete}
			s.Documents[engine.SectionWorkspace] = json.RawMessage(`{"caller":` + caller + `}`)
		})})
		if tallies["WS-007"][want] != 1 {
			t.Errorf("%s: %v, want %s", caller, tallies["WS-007"], want)
		}
	}
}

// TestAuthors: a policy on drift tells who did it where a log was given, and is
// judged all the same where none was, or where it has nothing of the workspace.
func TestAuthors(t *testing.T) {
	t.Parallel()
	event := engine.ChangeEvent{At: asOf().AddDate(0, 0, -1).UnixMilli(), ID: "e", Actor: "ana@example.com", Action: "workspaceConfEdit", Keys: []string{policy.SettingMaxLifetime}, Values: []string{"90"}}
	document, err := json.Marshal(engine.ChangeLog{First: event.At, Last: event.At, Events: []engine.ChangeEvent{event}})
	if err != nil {
		t.Fatal(err)
	}
	before := engine.Dated{Document: json.RawMessage(`{"maxTokenLifetimeDays": {"value":"1"}}`), At: asOf().AddDate(0, 0, -7)}
	own := enginetest.WorkspacePolicy("", `deny contains "x" if input.workspace.audit_changes.grants.count > 0`)
	for name, test := range map[string]struct {
		coverage engine.Coverage
		said     string
		own      engine.Status // of a policy that cannot do without the log
	}{
		"no log":       {engine.NotRequested(""), "", engine.NotApplicable},
		"read":         {engine.Coverage{Status: engine.Complete}, "; audit log: ana@example.com at ", engine.Pass},
		"not of this":  {engine.Coverage{Status: engine.Failed, Reason: "no_rows"}, "; audit log: not read (no_rows)", engine.Unknown},
		"old snapshot": {engine.Coverage{}, "", engine.NotApplicable},
	} {
		s := covered(func(s *engine.Snapshot) {
			readEverything(s)
			s.CollectedAt = asOf()
			s.Documents[engine.SectionSettings] = json.RawMessage(`{"maxTokenLifetimeDays": {"value":"90"}}`)
			if test.coverage.Status == "" {
				delete(s.Coverage, engine.SectionAuditChanges)
				return
			}
			s.Coverage[engine.SectionAuditChanges], s.Documents[engine.SectionAuditChanges] = test.coverage, document
		})
		job := Job{Snapshot: s, Previous: &engine.State{Settings: before, Grants: engine.Dated{Document: json.RawMessage(`[]`), At: before.At}}}
		findings, tallies := evaluate(t, builtIn(t).Select(func(p engine.Policy) bool { return p.ID == "WS-010" }), job)
		if tallies["WS-010"][engine.Fail] != 1 {
			t.Fatalf("%s: %v", name, tallies)
		}
		message := findings[0].Message
		if begin := "limit went from 1 to 90 days since "; !strings.HasPrefix(message, begin) || !strings.Contains(message, test.said) || (test.said == "") == strings.Contains(message, "audit log") {
			t.Errorf("%s: %s", name, message)
		}
		if _, told := findings[0].Evidence["changed_by"]; told != (test.said != "") {
			t.Errorf("%s: evidence %v", name, findings[0].Evidence)
		}
		_, tallies = evaluate(t, load(t, own), job)
		enginetest.Equal(t, tallies["W-1"], engine.Tally{test.own: 1})
	}
}
