package eval

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/policy"
)

// builtInOn judges one token by one built-in policy.
func builtInOn(t *testing.T, id string, params map[string]any, snapshot engine.Snapshot, s engine.Subject) (engine.Status, string) {
	t.Helper()
	set := builtIn(t).Select(func(p engine.Policy) bool { return p.ID == id })
	findings, tallies := evaluate(t, set, Job{Snapshot: snapshot, Tokens: rows(s), Tuning: map[string]policy.Tuning{id: {Params: params}}})
	for status := range tallies[id] {
		if len(findings) > 0 {
			return status, findings[0].Message
		}
		return status, ""
	}
	return "", ""
}

// A secret in a comment is found whoever issued it, in base64 too, and is not repeated.
func TestSecretsInComments(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]string{
		"old: dapi" + strings.Repeat("0123456789abcdef", 2): "comment holds a Databricks token",
		"glpat-" + strings.Repeat("aB3x", 5):                "comment holds a GitLab token",
		"cGFzc3dvcmQ9aHVudGVyMg==":                          "comment holds a password", // password=hunter2
		"password: see vault":                               "",
	} {
		status, message := builtInOn(t, "PAT-021", nil, covered(nil), healthy(func(token *engine.Token) { token.Comment = comment }))
		if message != want || (status == engine.Fail) != (want != "") {
			t.Errorf("%q: %s %q", comment, status, message)
		}
	}
}

// A comment in which nothing can be seen is none.
func TestInvisibleCommentIsNone(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]string{
		"": "no comment", " \t ": "no comment", "\u00a0\u3000": "no comment", "\u200b\u200d\ufeff": "no comment", "\u3164\u2800": "no comment", "\x00": "no comment",
		"etl \u200b": "", "\U0001f600": "",
	} {
		_, message := builtInOn(t, "PAT-020", nil, covered(nil), healthy(func(token *engine.Token) { token.Comment = comment }))
		if message != want {
			t.Errorf("%q: %q, want %q", comment, message, want)
		}
	}
}

// A user whom the directory does not name may be of any domain.
func TestNamelessUserIsOfNoKnownDomain(t *testing.T) {
	t.Parallel()
	domains := map[string]any{"allowed_domains": []any{"example.com", "*.example.org"}}
	for name, want := range map[string]engine.Status{
		"": engine.Unknown, "ann@example.com": engine.Pass, "ann@EXAMPLE.com": engine.Pass, "ann@eu.example.com": engine.Fail,
		"ann@eu.example.org": engine.Pass, "ann@example.org": engine.Fail, "ann@notexample.com": engine.Fail, "ann@badexample.org": engine.Fail,
	} {
		s := healthy(nil)
		s.Owner.Name = name
		if status, message := builtInOn(t, "PAT-019", domains, covered(nil), s); status != want {
			t.Errorf("%q: %s %q, want %s", name, status, message, want)
		}
	}
}

// A state of automatic scoping that patrol does not know is unknown; one that the
// platform does not give is not.
func TestUnknownAutoscopeState(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]engine.Status{
		"AUTOSCOPE_STATE_PAUSED": engine.Unknown, "AUTOSCOPE_STATE_DISABLED": engine.Fail, "disabled": engine.Fail,
		"AUTOSCOPE_STATE_COMPLETED": engine.Pass, "AUTOSCOPE_STATE_UNSPECIFIED": engine.NotApplicable, "": engine.NotApplicable,
	} {
		if status, message := builtInOn(t, "PAT-015", nil, covered(nil), healthy(func(token *engine.Token) { token.AutoscopeState = state })); status != want {
			t.Errorf("%q: %s %q, want %s", state, status, message, want)
		}
	}
}

// However zero is written, it leaves the platform's limit of 730 days in force.
func TestZeroIsNoLimit(t *testing.T) {
	t.Parallel()
	set := builtIn(t).Select(func(p engine.Policy) bool { return p.ID == "WS-001" })
	for value, want := range map[string]string{
		"0": "730", "00": "730", "-0": "730", "+0": "730", "-1": "730", "false": "730", " 0 ": "730", "0.0": "unknown", "-2": "unknown", "90": "", "+400": "400",
	} {
		findings, tallies := evaluate(t, set, Job{Snapshot: covered(func(s *engine.Snapshot) {
			text, _ := json.Marshal(map[string]any{"enableTokensConfig": map[string]any{"value": "true"}, "maxTokenLifetimeDays": map[string]any{"value": value}})
			s.Documents[engine.SectionSettings] = text
		})})
		got := ""
		switch {
		case tallies["WS-001"][engine.Unknown] == 1:
			got = "unknown"
		case len(findings) == 1:
			got = findings[0].Message
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q %v, want %q", value, got, tallies, want)
		}
	}
}

// What the platform's documents leave open is decided in docs/policy-contract.md.
func TestEdges(t *testing.T) {
	t.Parallel()
	now := asOf().UnixMilli()
	for id, c := range map[string]struct {
		change func(*engine.Token)
		want   engine.Status
		says   string
	}{
		"PAT-008 at the instant":   {func(token *engine.Token) { token.Expires = ptr(now) }, engine.Fail, ""},
		"PAT-008 one moment later": {func(token *engine.Token) { token.Expires = ptr(now + 1) }, engine.NotApplicable, ""},
		"PAT-007 one moment later": {func(token *engine.Token) { token.Expires = ptr(now + 1) }, engine.Fail, "expires"},
		"PAT-005 used later":       {func(token *engine.Token) { token.Created, token.LastUsed = ptr(now-99*engine.Day), ptr(now+engine.Day) }, engine.Pass, ""},
		"PAT-004 used later": {func(token *engine.Token) {
			token.Created, token.LastUsed = ptr(now-99*engine.Day), ptr(now+9*engine.Day)
		}, engine.Pass, ""},
	} {
		policy, _, _ := strings.Cut(id, " ")
		if status, message := builtInOn(t, policy, nil, covered(nil), healthy(c.change)); status != c.want || !strings.Contains(message, c.says) {
			t.Errorf("%s: %s %q, want %s %q", id, status, message, c.want, c.says)
		}
	}
	facts := engine.Derive(engine.Token{Created: ptr(now), Expires: ptr(now), OwnerID: "1", CreatorID: "1"}, now)
	later := engine.Derive(engine.Token{Created: ptr(now + 2), Expires: ptr(now), OwnerID: "1", CreatorID: "1"}, now+1)
	if *facts.ExpiresInDays != 0 || *later.ExpiresInDays != -1 || *later.AgeDays != -1 {
		t.Error(facts, later)
	}
	admins := healthy(nil)
	admins.Owner.Admin, admins.Owner.Account = ptr(false), &engine.AccountParty{}
	if status, _ := builtInOn(t, "PAT-012", nil, covered(nil), admins); status != engine.Pass {
		t.Error("who is known to the account is no admin of the workspace:", status)
	}
}

// Ages in a token report are those of its collection; and a setting that is called
// almost as the one that counts is none.
func TestEdgesOfWorkspaces(t *testing.T) {
	t.Parallel()
	at := func(as time.Time, change func(*engine.Snapshot)) map[string]engine.Tally {
		_, tallies := evaluate(t, builtIn(t).Select(func(p engine.Policy) bool { return p.Resource == engine.ResourceWorkspace }),
			Job{AsOf: as, Snapshot: covered(func(s *engine.Snapshot) { readEverything(s); change(s) })})
		return tallies
	}
	report := func(s *engine.Snapshot) {
		s.Documents[engine.SectionTokenReport] = json.RawMessage(`{"counts":{"report":0,"read":1,"both":0,"missing_here":0,"missing_there":1},
			"missing_here":[],"missing_there":[{"token_id":"a","age_days":0,"expired":false}]}`)
	}
	for days := range 3 {
		if tally := at(asOf().AddDate(0, 0, 400*days), report)["WS-012"]; tally[engine.Pass] != 1 {
			t.Errorf("WS-012 after %d days: %v", 400*days, tally)
		}
	}
	other := at(asOf(), func(s *engine.Snapshot) {
		s.Workspace.Labels = map[string]string{"no-pat": "true"}
		s.Documents[engine.SectionSettings] = json.RawMessage(`{"enableTokensConfig":{"value":"true"},"enableTokens":{"value":"false"},"maxTokenLifetimeDays":{"value":"30"}}`)
	})["WS-002"]
	if other[engine.Fail] != 1 {
		t.Errorf("tokens count as off: %v", other)
	}
}
