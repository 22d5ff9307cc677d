package eval

import (
	"encoding/json"
	"testing"

	"patrol/engine"
)

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
