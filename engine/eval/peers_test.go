package eval

import (
	"encoding/json"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
)

// compared is a subject of which everything is known that rests on others.
func compared(s engine.Subject) engine.Subject {
	now := asOf().UnixMilli()
	s.Peers = &engine.Peers{
		Successor:         &engine.Successor{ID: "b", Created: now - 9*engine.Day, LastUsed: now - 2*engine.Day},
		OwnerExpiringNear: ptr(int64(2)), WorkspaceExpiringNear: ptr(int64(3)),
		InPrevious: ptr(false), FirstSeen: ptr(now - engine.Day),
		Activity: &engine.Activity{TokenID: s.Token.ID, Events: 4, First: now - 2*engine.Day, Last: now - engine.Day, MaxIPsPerDay: 5, UserAgents: []string{"curl/8"}, Detail: &engine.ActivityDetail{}},
	}
	return s
}

// readEverything adds the sections that are read on request, too.
func readEverything(s *engine.Snapshot) {
	for name, document := range map[engine.SectionName]string{
		engine.SectionWorkspace:     `{"caller":{"admin":true,"auth_type":"pat","display_name":"","id":"9","kind":"user","name":"ann@example.com"}}`,
		engine.SectionAuditLog:      `{"rows":1,"first_ms":1,"last_ms":2}`,
		engine.SectionSecrets:       `[]`,
		engine.SectionFederation:    `[]`,
		engine.SectionOAuthApps:     `[]`,
		engine.SectionRecipients:    `[]`,
		engine.SectionAuditChanges:  `{"first_ms":1,"last_ms":2,"events":[]}`,
		engine.SectionTokenReport:   `{"counts":{"report":0,"read":0,"both":0,"missing_here":0,"missing_there":0},"missing_here":[],"missing_there":[]}`,
		"ip_access_lists":           `[]`,
		"restrict_workspace_admins": `{"status":"ALLOW_ALL","disable_gov_tag_creation":false}`,
	} {
		s.Coverage[name] = engine.Coverage{Status: engine.Complete}
		s.Documents[name] = json.RawMessage(document)
	}
}

// TestAmongFacts: each fact has its value, does not apply, or is unknown, and a
// policy that reads it comes to fail, pass or unknown accordingly.
func TestAmongFacts(t *testing.T) {
	t.Parallel()
	silent := func(change func(*engine.Peers)) engine.Subject {
		s := compared(healthy(nil))
		change(s.Peers)
		return s
	}
	alone := healthy(nil)
	alone.Peers = nil
	commentless := compared(healthy(func(t *engine.Token) { t.Defects = []engine.Defect{{Field: "comment", Reason: "bad_type"}} }))
	ownerless := compared(healthy(func(t *engine.Token) { t.OwnerID = "" }))
	open := compared(healthy(func(t *engine.Token) { t.Expires = nil }))
	open.Peers.OwnerExpiringNear, open.Peers.WorkspaceExpiringNear = nil, nil
	for body, test := range map[string]map[string]engine.Subject{
		`input.token.superseded_by == "b"`: {
			"fail": compared(healthy(nil)), "pass": silent(func(a *engine.Peers) { a.Successor = nil }), "unknown": alone,
		},
		`input.token.superseded_by_idle_days == 2`: {
			"fail": compared(healthy(nil)), "unknown": silent(func(a *engine.Peers) { a.Successor, a.SuccessorUnknown = nil, true }),
		},
		`input.token.superseded_by_created_at == "2026-10-23T00:00:00Z"`: {"fail": compared(healthy(nil)), "unknown": commentless},
		`input.token.superseded_by != ""`:                                {"unknown": ownerless},
		`input.token.owner_expiring_near == 2`: {
			"fail": compared(healthy(nil)), "pass": silent(func(a *engine.Peers) { a.OwnerExpiringNear = nil }), "unknown": open,
		},
		`input.token.owner_expiring_near > 9`: {"pass": compared(healthy(nil)), "unknown": ownerless},
		`input.token.workspace_expiring_near == 3`: {
			"fail": compared(healthy(nil)), "pass": silent(func(a *engine.Peers) { a.WorkspaceExpiringNear = nil }), "unknown": open,
		},
		`input.token.in_previous_snapshot == false`: {
			"fail": compared(healthy(nil)), "pass": silent(func(a *engine.Peers) { a.InPrevious = nil }), "unknown": alone,
		},
		`input.token.first_seen_at == "2026-10-31T00:00:00Z"`: {
			"fail": compared(healthy(nil)), "unknown": silent(func(a *engine.Peers) { a.FirstSeen = nil }),
		},
		`"curl/8" in input.token.audit_user_agents`: {
			"fail": compared(healthy(nil)), "pass": silent(func(a *engine.Peers) { a.Activity = nil }), "unknown": alone,
		},
		`input.token.audit_max_ips_per_day == 5`: {"fail": compared(healthy(nil)), "pass": silent(func(a *engine.Peers) { a.Activity = nil })},
		`input.token.audit_last_event_at > input.token.audit_first_event_at`: {
			"fail": compared(healthy(nil)), "pass": silent(func(a *engine.Peers) { a.Activity = nil }),
		},
	} {
		set := load(t, enginetest.TokenPolicy("", `deny contains "x" if `+body))
		for want, subject := range test {
			findings, tallies := evaluate(t, set, Job{Snapshot: covered(readEverything), Tokens: rows(subject)})
			if tallies["T-1"][engine.Status(want)] != 1 {
				t.Errorf("%s: %v %v, want %s", body, tallies["T-1"], findings, want)
			}
		}
	}
}

// TestSectionsOnRequest: what nobody asked for does not apply; what was asked
// for and not read is unknown.
func TestSectionsOnRequest(t *testing.T) {
	t.Parallel()
	set := load(t, map[string]string{
		"token/a.rego":     enginetest.PolicyText("token", "a", "T-1", "", `deny contains "x" if input.token.audit_events > 0`),
		"secret/b.rego":    enginetest.PolicyText("secret", "b", "S-1", "", `deny contains "x" if input.secret.never_expires`),
		"workspace/c.rego": enginetest.PolicyText("workspace", "c", "W-1", "", `deny contains concat(",", object.keys(input.workspace.coverage)) if true`),
	})
	for want, coverage := range map[engine.Status]engine.Coverage{
		engine.NotApplicable: engine.NotRequested("ask"),
		engine.Unknown:       {Status: engine.Denied, Reason: "permission_denied"},
	} {
		findings, tallies := evaluate(t, set, Job{Snapshot: covered(func(s *engine.Snapshot) {
			readEverything(s)
			s.Coverage[engine.SectionAuditLog], s.Coverage[engine.SectionSecrets] = coverage, coverage
		}), Tokens: rows(compared(healthy(nil)))})
		if tallies["T-1"][want] != 1 || tallies["S-1"][want] != 1 {
			t.Errorf("%v: %v", coverage, tallies)
		}
		told := findings[len(findings)-1].Message
		if strings.Contains(told, "audit_log") != coverage.Requested() {
			t.Errorf("%v: policies see the coverage of %s", coverage, told)
		}
	}
}

// TestTokensOff: where tokens are off, policies on them do not apply; the
// workspace is judged all the same.
func TestTokensOff(t *testing.T) {
	t.Parallel()
	set := load(t, map[string]string{
		"token/a.rego":     enginetest.PolicyText("token", "a", "T-1", "needs: [tokens]", `deny contains "x" if true`),
		"workspace/c.rego": enginetest.PolicyText("workspace", "c", "W-1", "", `deny contains "x" if input.workspace.coverage.tokens == "off"`),
	})
	_, tallies := evaluate(t, set, Job{Snapshot: covered(func(s *engine.Snapshot) {
		s.Coverage[engine.SectionTokens] = engine.Coverage{Status: engine.Off}
	})})
	enginetest.Equal(t, tallies, map[string]engine.Tally{"T-1": {engine.NotApplicable: 1}, "W-1": {engine.Fail: 1}})
}

// TestGroupsNotWhole: who is in which group is unknown where groups were not
// read whole, except that a proven admin is one.
func TestGroupsNotWhole(t *testing.T) {
	t.Parallel()
	owner := func(admin *bool) engine.Subject {
		s := healthy(nil)
		s.Owner.Admin = admin
		return s
	}
	for body, want := range map[string]engine.Tally{
		"input.owner.admin":                          {engine.Fail: 1, engine.Unknown: 1},
		`not "data-engineers" in input.owner.groups`: {engine.Unknown: 2},
	} {
		_, tallies := evaluate(t, load(t, enginetest.TokenPolicy("", `deny contains "x" if `+body)), Job{Snapshot: covered(func(s *engine.Snapshot) {
			s.Coverage[engine.SectionGroups] = engine.Coverage{Status: engine.Failed}
		}), Tokens: rows(owner(ptr(true)), owner(nil))})
		enginetest.Equal(t, tallies["T-1"], want)
	}
}

// TestSecretsAreJudged one by one, each with a finding of its own.
func TestSecretsAreJudged(t *testing.T) {
	t.Parallel()
	now := asOf().UnixMilli()
	secrets := engine.Secrets{
		{ID: "s1", OwnerID: "7", OwnerName: "app", Status: "ACTIVE", Created: now - 400*engine.Day, Expires: engine.NeverExpires},
		{ID: "s2", OwnerID: "8", Status: "ACTIVE", Created: now - 366*engine.Day, Expires: now + engine.Day},
		{ID: "s3", OwnerID: "7", OwnerName: "app", Status: "INACTIVE", Created: now - 400*engine.Day, Expires: engine.NeverExpires},
		{ID: "s4", OwnerID: "7", OwnerName: "app", Status: "ACTIVE", Created: now - 900*engine.Day, Expires: now - engine.Day},
	}
	text, err := json.Marshal(secrets)
	if err != nil {
		t.Fatal(err)
	}
	set := builtIn(t).Select(func(p engine.Policy) bool { return p.Resource == engine.ResourceSecret })
	job := Job{Snapshot: covered(func(s *engine.Snapshot) { readEverything(s); s.Documents[engine.SectionSecrets] = text })}
	findings, tallies := evaluate(t, set, job)
	enginetest.Equal(t, tallies, map[string]engine.Tally{
		"SP-001": {engine.Fail: 2, engine.NotApplicable: 2},
		"SP-002": {engine.Fail: 1, engine.Pass: 1, engine.NotApplicable: 2},
	})
	var told []string
	for _, f := range findings {
		told = append(told, strings.Join([]string{f.Policy, string(f.Resource), f.ResourceID, f.Owner, f.OwnerID, f.Message}, "|"))
	}
	enginetest.Equal(t, told, []string{
		"SP-001|secret|s1|app|7|secret is 400 days old, limit 90",
		"SP-001|secret|s2|8|8|secret is 366 days old, limit 90",
		"SP-002|secret|s1|app|7|secret never expires",
	})
	if findings[0].Fingerprint == findings[1].Fingerprint {
		t.Error("two secrets have one fingerprint")
	}
	told, job.AsOf = nil, asOf()
	for _, secret := range secrets {
		e, err := set.Explain(t.Context(), job, "SP-001", Explained{Secret: &secret})
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, string(e.Status)+" "+e.Message)
	}
	enginetest.Equal(t, told, []string{"fail secret is 400 days old, limit 90", "fail secret is 366 days old, limit 90", "not_applicable ", "not_applicable "})
	job.Snapshot.Documents[engine.SectionSecrets] = json.RawMessage(`{}`)
	_, _, err = evaluateIn(t.Context(), set, job)
	if e, ok := engine.AsError(err); !ok || e.Reason != "corrupt" {
		t.Error(err)
	}
}

// TestSecretsInPart are not judged: a section that was read in part is unknown.
func TestSecretsInPart(t *testing.T) {
	t.Parallel()
	set := builtIn(t).Select(func(p engine.Policy) bool { return p.ID == "SP-001" })
	_, tallies := evaluate(t, set, Job{Snapshot: covered(func(s *engine.Snapshot) {
		readEverything(s)
		s.Coverage[engine.SectionSecrets] = engine.Coverage{Status: engine.Partial, Reason: "missing"}
	})})
	enginetest.Equal(t, tallies["SP-001"], engine.Tally{engine.Unknown: 1})
}

// TestTolerates: a policy about gaps is judged in spite of them.
func TestTolerates(t *testing.T) {
	t.Parallel()
	body := `deny contains "x" if not input.workspace.settings.enableVerboseAuditLogs`
	denied := covered(func(s *engine.Snapshot) { s.Coverage[engine.SectionSettings] = engine.Coverage{Status: engine.Denied} })
	for custom, want := range map[string]engine.Status{"": engine.Unknown, "tolerates: [settings]": engine.Fail} {
		_, tallies := evaluate(t, load(t, enginetest.WorkspacePolicy(custom, body)), Job{Snapshot: denied})
		enginetest.Equal(t, tallies["W-1"], engine.Tally{want: 1})
	}
}

// TestCaller: the policies know as whom the workspace was read.
func TestCaller(t *testing.T) {
	t.Parallel()
	set := builtIn(t).Select(func(p engine.Policy) bool { return p.ID == "WS-007" })
	_, tallies := evaluate(t, set, Job{Snapshot: covered(readEverything)})
	enginetest.Equal(t, tallies["WS-007"], engine.Tally{engine.Fail: 1})
	_, tallies = evaluate(t, set, Job{Snapshot: covered(func(s *engine.Snapshot) {
		s.Coverage[engine.SectionWorkspace] = engine.Coverage{Status: engine.NotCollected, Reason: "import"}
	})})
	enginetest.Equal(t, tallies["WS-007"], engine.Tally{engine.Unknown: 1})
}
