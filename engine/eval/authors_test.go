package eval

import (
	"encoding/json"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/policy"
)

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
	own := workspacePolicy("", `deny contains "x" if input.workspace.audit_changes.grants.count > 0`)
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
		equal(t, tallies["W-1"], engine.Tally{test.own: 1})
	}
}
