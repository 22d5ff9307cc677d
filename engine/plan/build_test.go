package plan_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/plan"
	"patrol/engine/remedy"
)

func TestFindingsOfOneTokenMerge(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "old", "11", 120)
	e.token("1", "fresh", "12", 2)
	e.token("1", "secret", "13", 50)
	e.token("1", "calm", "14", 50)
	for _, policy := range []string{"PAT-010", "PAT-013", "PAT-021", "PAT-004", "PAT-009", "PAT-018"} {
		e.fail(policy, "1", "old")
	}
	e.fail("PAT-004", "1", "fresh")
	e.fail("PAT-021", "1", "secret")
	e.fail("PAT-009", "1", "secret")
	e.fail("PAT-018", "1", "calm")
	p := build(t, e.input())
	equal(t, "steps", steps(p), []string{
		"notify secret [PAT-009] low",
		"manual calm [PAT-018] low",
		"set-comment secret [PAT-021] low",
		"revoke old [PAT-010 PAT-004] low",
		"revoke fresh [PAT-004] high",
	})
	equal(t, "not planned", notPlanned(p), []string{
		"PAT-009 old superseded", "PAT-013 old superseded", "PAT-018 old superseded", "PAT-021 old superseded",
	})
	if got := p.Steps[4].Risk.Why; got != "used 2 days ago" {
		t.Errorf("risk says %q", got)
	}
	if !p.Steps[4].Critical || p.Steps[3].Critical {
		t.Error("what was used two days ago is critical, what lay still for months is not")
	}
}

func TestNarrowing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		policy string
		change func(*engine.Subject)
		want   any // scopes, or nil: manual
	}{
		{"minting scope of a scoped token", "PAT-013", scoped("sql", "authentication"), []any{"sql"}},
		{"minting scope in capitals", "PAT-013", scoped("Authentication", "sql"), []any{"sql"}},
		{"nothing but the minting scope: an empty list would be unrestricted", "PAT-013", scoped("authentication"), nil},
		{"observed use of an unrestricted token", "PAT-014", observed("", []string{"sql", "jobs"}, []string{"sql", "authentication"}), []any{"jobs", "sql"}},
		{"all-apis is unrestricted", "PAT-014", func(s *engine.Subject) {
			s.Token.Scopes = []string{"all-apis"}
			s.Token.InferredScopes = []string{"jobs"}
		}, []any{"jobs"}},
		{"observation not finished", "PAT-014", observed("AUTOSCOPE_STATE_RUNNING", []string{"sql"}, nil), nil},
		{"observation not possible", "PAT-014", observed("api_not_covered", []string{"sql"}, nil), nil},
		{"nothing observed", "PAT-014", observed("", nil, nil), nil},
		{"observed use needs everything", "PAT-014", observed("", []string{"all-apis"}, nil), nil},
		{"a scoped token gains nothing from observation", "PAT-013", func(s *engine.Subject) {
			s.Token.Scopes = []string{"authentication", "sql"}
			s.Token.InferredScopes = []string{"clusters"}
		}, []any{"sql"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEstate()
			e.fill("1", 20)
			e.token("1", "t", "11", 60, tc.change)
			e.fail(tc.policy, "1", "t")
			p := build(t, e.input())
			if len(p.Steps) != 1 {
				t.Fatalf("%d steps", len(p.Steps))
			}
			s := p.Steps[0]
			if tc.want == nil {
				if s.Action != engine.Manual || !strings.Contains(s.Reasons[0], "not narrowed: ") {
					t.Errorf("%s, %q: want manual and why", s.Action, s.Reasons)
				}
				return
			}
			if got := s.Expected["scopes"]; s.Action != engine.NarrowScopes || !slices.Equal(got.([]any), tc.want.([]any)) {
				t.Errorf("%s to %v, want %v", s.Action, got, tc.want)
			}
		})
	}
}

func scoped(scopes ...string) func(*engine.Subject) {
	return func(s *engine.Subject) { s.Token.Scopes = scopes }
}

func observed(state string, inferred, backfill []string) func(*engine.Subject) {
	return func(s *engine.Subject) {
		s.Token.AutoscopeState, s.Token.InferredScopes, s.Token.BackfillScopes = state, inferred, backfill
	}
}

func TestCommentsStayOutOfPlans(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "t", "11", 60, func(s *engine.Subject) { s.Token.Comment = "password=hunter2hunter2" })
	e.fail("PAT-021", "1", "t")
	p := build(t, e.input())
	if bytes.Contains(plan.Encode(p), []byte("hunter2")) {
		t.Error("the plan repeats the secret that it is to remove")
	}
	if p.Steps[0].Expected["comment"] != remedy.NeutralComment {
		t.Errorf("expected %v", p.Steps[0].Expected)
	}
}

func TestProtection(t *testing.T) {
	t.Parallel()
	const app = "0b9f9a1e-0000-4000-8000-000000000001"
	service := func(s *engine.Subject) { s.Owner = engine.Party{ID: "20", Kind: engine.ServicePrincipal, Name: app} }
	for _, tc := range []struct {
		name      string
		protected engine.Protected
		change    func(*engine.Subject)
		planned   bool
	}{
		{"nothing protected", engine.Protected{}, nil, true},
		{"token by id", engine.Protected{Tokens: []string{"t"}}, nil, false},
		{"owner by id", engine.Protected{Principals: []string{"11"}}, nil, false},
		{"creator by id", engine.Protected{Principals: []string{"12"}}, func(s *engine.Subject) { s.Token.CreatorID = "12" }, false},
		{"service principal by application id", engine.Protected{Principals: []string{app}}, service, false},
		{"a user who took an application id as name", engine.Protected{Principals: []string{app}}, func(s *engine.Subject) { s.Owner.Name = app }, true},
		{"a user by name is not protected", engine.Protected{Principals: []string{"user11@example.com"}}, nil, true},
		{"comment says so", engine.Protected{Tokens: []string{"keep"}}, func(s *engine.Subject) { s.Token.Comment = "keep" }, true},
		{"owned by the caller", engine.Protected{}, func(s *engine.Subject) { s.Token.OwnerID = "900" }, false},
		{"made by the caller", engine.Protected{}, func(s *engine.Subject) { s.Token.CreatorID = "900" }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEstate()
			e.fill("1", 20)
			change := tc.change
			if change == nil {
				change = func(*engine.Subject) {}
			}
			e.token("1", "t", "11", 120, change)
			e.fail("PAT-004", "1", "t")
			e.fail("PAT-009", "1", "t")
			in := e.input()
			in.Config.Protected = tc.protected
			p := build(t, in)
			if tc.planned {
				equal(t, "steps", steps(p), []string{"revoke t [PAT-004] low"})
				return
			}
			equal(t, "steps", steps(p), []string{"notify t [PAT-009] low"})
			equal(t, "not planned", notPlanned(p), []string{"PAT-004 t protected"})
		})
	}
}

func TestCoverageIsNeeded(t *testing.T) {
	t.Parallel()
	for _, status := range []engine.CoverageStatus{engine.Partial, engine.Denied, engine.Disabled, engine.NotInitialised, engine.Failed, engine.Truncated, engine.NotCollected} {
		e := newEstate()
		e.fill("1", 20)
		e.token("1", "t", "11", 120)
		e.fail("PAT-004", "1", "t")
		e.fail("WS-003", "1", "1")
		e.workspaces[0].Snapshot.Coverage[engine.SectionTokens] = engine.Coverage{Status: status}
		p := build(t, e.input())
		equal(t, string(status), steps(p), []string{})
		equal(t, string(status), notPlanned(p), []string{"PAT-004 t coverage", "WS-003 1 coverage"})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "t", "11", 1)
	e.fail("PAT-004", "1", "t")
	e.fail("WS-001", "1", "1")
	e.fail("WS-002", "1", "1")
	in := e.input()
	in.Tuning = engine.Retuning{"1": {"WS-001": {Params: map[string]any{"max_lifetime_days": 60}}}}
	p := build(t, in)
	equal(t, "steps", steps(p), []string{
		"set-setting maxTokenLifetimeDays [WS-001] low", "revoke t [PAT-004] high", "set-setting enableTokensConfig [WS-002] high",
	})
	if got := p.Steps[0].Expected["value"]; got != "60" {
		t.Errorf("sets %v, want the parameter in force", got)
	}
	off := p.Steps[2]
	if off.Expected["value"] != "false" || off.Risk.Endangers != 21 || !off.Critical {
		t.Errorf("switching tokens off: %+v", off.Risk)
	}
	if got := p.Reevaluates["1"]["WS-001"].Params["max_lifetime_days"]; got == nil {
		t.Error("the plan does not carry the parameter to judge again by")
	}
}

func TestSettingsThatCannotBeSet(t *testing.T) {
	t.Parallel()
	unread := newEstate()
	unread.fill("1", 1)
	unread.workspaces[0].Settings["maxTokenLifetimeDays"] = engine.Setting{Problem: engine.Denied}
	unread.fail("WS-001", "1", "1")
	equal(t, "unread key", notPlanned(build(t, unread.input())), []string{"WS-001 1 coverage"})

	partial := newEstate()
	partial.fill("1", 1)
	partial.workspaces[0].Snapshot.Coverage[engine.SectionSettings] = engine.Coverage{Status: engine.Partial}
	partial.fail("WS-001", "1", "1")
	equal(t, "settings not read whole", notPlanned(build(t, partial.input())), []string{"WS-001 1 coverage"})

	secret := newEstate()
	secret.fill("1", 1)
	secret.workspaces[0].Settings["maxTokenLifetimeDays"] = engine.Setting{Value: ptr("dapi" + strings.Repeat("0123456789abcdef", 2))}
	secret.fail("WS-001", "1", "1")
	equal(t, "a secret as value", notPlanned(build(t, secret.input())), []string{"WS-001 1 no_remedy"})

	odd := newEstate()
	odd.fill("1", 1)
	odd.fail("WS-001", "1", "1")
	in := odd.input()
	in.Tuning = engine.Retuning{"1": {"WS-001": {Params: map[string]any{"max_lifetime_days": 0}}}}
	equal(t, "zero would lift the limit", notPlanned(build(t, in)), []string{"WS-001 1 no_remedy"})

	other := newEstate()
	other.fill("1", 1)
	other.fail("WS-004", "1", "1")
	in = other.input()
	in.Config.Remedies = map[string]engine.Action{"WS-004": engine.SetSetting}
	equal(t, "policy without a key", notPlanned(build(t, in)), []string{"WS-004 1 no_remedy"})
}

func TestGrants(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.token("1", "a", "11", 1) // only as one of users
	e.token("1", "b", "12", 1, func(s *engine.Subject) { s.Owner.Groups = []string{"Builders"} })
	e.token("1", "c", "13", 1, func(s *engine.Subject) { s.Owner.Admin = ptr(true) })
	e.token("1", "d", "14", 1, func(s *engine.Subject) { s.Owner = engine.Party{ID: "14"} }) // nobody knows
	e.token("1", "e", "15", 1, func(s *engine.Subject) { s.Token.Expires = ptr(at.UnixMilli() - 1) })
	e.fail("WS-003", "1", "1")
	p := build(t, e.input())
	equal(t, "steps", steps(p), []string{"change-grant users [WS-003] high"})
	s := p.Steps[0]
	if s.Risk.Endangers != 2 {
		t.Errorf("endangers %d, want 2: a and d", s.Risk.Endangers)
	}
	if got := len(s.Expected["access_control_list"].([]any)); got != 2 {
		t.Errorf("%d grants stay, want 2", got)
	}
	if want := engine.Fingerprint(engine.GrantsState(e.workspaces[0].Grants)); s.Precondition.Digest != want {
		t.Errorf("precondition %s is not that of the whole list", s.Precondition.Digest)
	}

	in := e.input()
	in.Config.Protected.Principals = []string{"11"}
	equal(t, "a protected token would lose its right", notPlanned(build(t, in)), []string{"WS-003 1 protected"})
	in.Config.Protected.Principals = []string{"12"}
	equal(t, "a protected token keeps its right", steps(build(t, in)), []string{"change-grant users [WS-003] high"})
}

func TestRemediesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "t", "11", 120)
	e.fail("PAT-004", "1", "t")
	e.fail("PAT-009", "1", "t")
	in := e.input()
	in.Config.Remedies = map[string]engine.Action{"PAT-004": engine.Notify, "PAT-009": remedy.None}
	p := build(t, in)
	equal(t, "steps", steps(p), []string{"notify t [PAT-004] low"})
	equal(t, "not planned", notPlanned(p), []string{"PAT-009 t disabled_remedy"})

	in.Config.Remedies = map[string]engine.Action{"WS-001": engine.Revoke}
	_, err := plan.Build(context.Background(), in)
	if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassUsage {
		t.Errorf("a workspace cannot be revoked: %v", err)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "t", "11", 120)
	e.token("1", "u", "11", 120)
	e.fail("PAT-004", "1", "t")
	e.fail("PAT-009", "1", "u")
	in := e.input()
	in.Config.Grace, in.Config.Validity = 7*24*time.Hour, 48*time.Hour
	p := build(t, in)
	if p.NotBefore != "2026-12-01T12:00:00Z" || p.ExpiresAt != "2026-12-03T12:00:00Z" {
		t.Errorf("not before %s, expires %s", p.NotBefore, p.ExpiresAt)
	}
	if p.Steps[0].NotBefore != "2026-11-24T12:00:00Z" || p.Steps[1].NotBefore != p.NotBefore {
		t.Errorf("people are told at once, changes wait: %s, %s", p.Steps[0].NotBefore, p.Steps[1].NotBefore)
	}
	in.Config.Validity = 73 * time.Hour
	if _, err := plan.Build(context.Background(), in); err == nil {
		t.Error("a plan good for more than three days was made")
	}
}

func TestOnlyFailedFindingsOfChosenPolicies(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "t", "11", 120)
	e.token("1", "u", "11", 120)
	e.fail("PAT-010", "1", "t")
	e.fail("PAT-004", "1", "t")
	for _, status := range engine.Statuses() {
		e.fail("PAT-004", "1", "u")
		e.findings[len(e.findings)-1].Status = status
	}
	e.findings = slices.DeleteFunc(e.findings, func(f engine.Finding) bool { return f.ResourceID == "u" && f.Status == engine.Fail })
	in := e.input()
	in.Choice.Policy = func(p engine.Policy) bool { return p.ID == "PAT-004" }
	p := build(t, in)
	equal(t, "steps", steps(p), []string{"revoke t [PAT-004] low"})
	equal(t, "not planned", notPlanned(p), []string{})
}

func TestFindingWithoutToken(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 2)
	e.fail("PAT-004", "1", "gone")
	equal(t, "not planned", notPlanned(build(t, e.input())), []string{"PAT-004 gone no_token"})
}

func TestOddTextStillMakesAPlanThatReads(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "bad\xff\u2028<id>", "11", 120, func(s *engine.Subject) { s.Owner.Name = "\xfe<b>\u202e" })
	e.fail("PAT-004", "1", "bad\xff\u2028<id>")
	p := build(t, e.input())
	if _, err := plan.Read(plan.Encode(p)); err != nil {
		t.Fatal(err)
	}
}

// choiceEstate has three tokens that break policies of falling severity, one of
// them in use, and 40 healthy ones.
func choiceEstate() *estate {
	e := newEstate()
	e.fill("1", 40)
	e.token("1", "worst", "11", 120)
	e.token("1", "used", "12", 1)
	e.token("1", "least", "13", 90)
	e.fail("PAT-010", "1", "worst")
	e.fail("PAT-010", "1", "used")
	e.fail("PAT-009", "1", "used")
	e.fail("PAT-004", "1", "least")
	return e
}

func TestWhatIsLeftForTheNextPlanIsTold(t *testing.T) {
	for name, tc := range map[string]struct {
		choice     plan.Choice
		limits     func(*engine.Limits)
		steps, not []string
	}{
		"within limits": {plan.Choice{WithinLimits: true}, nil,
			[]string{"revoke worst [PAT-010] low", "revoke least [PAT-004] low"}, []string{"PAT-009 used left", "PAT-010 used left"}},
		"one step fits": {plan.Choice{WithinLimits: true}, func(l *engine.Limits) { l.MaxSteps = 1 },
			[]string{"revoke worst [PAT-010] low"}, []string{"PAT-004 least left", "PAT-009 used left", "PAT-010 used left"}},
		"percent": {plan.Choice{WithinLimits: true}, func(l *engine.Limits) { l.MaxPercent = 3 },
			[]string{"revoke worst [PAT-010] low"}, []string{"PAT-004 least left", "PAT-009 used left", "PAT-010 used left"}},
		"nothing fits": {plan.Choice{WithinLimits: true}, func(l *engine.Limits) { *l = engine.Limits{} },
			[]string{}, []string{"PAT-004 least left", "PAT-009 used left", "PAT-010 used left", "PAT-010 worst left"}},
		"a number": {plan.Choice{Most: 2}, nil,
			[]string{"revoke worst [PAT-010] low", "revoke used [PAT-010] high"}, []string{"PAT-004 least left", "PAT-009 used superseded"}},
		"what is not chosen is no part of the plan": {plan.Choice{Step: func(s engine.Step) bool { return s.Target != "used" }}, nil,
			[]string{"revoke worst [PAT-010] low", "revoke least [PAT-004] low"}, []string{}},
		"another workspace": {plan.Choice{Workspace: func(w engine.Workspace) bool { return w.Name == "dev" }}, nil, []string{}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			in := choiceEstate().input()
			in.Choice = tc.choice
			if tc.limits != nil {
				tc.limits(&in.Config.Limits)
			}
			p := build(t, in)
			equal(t, "steps", steps(p), tc.steps)
			equal(t, "not planned", notPlanned(p), tc.not)
			if excesses := remedy.Exceeds(p, remedy.Every); tc.choice.WithinLimits && len(excesses) > 0 {
				t.Errorf("beyond limits: %v", excesses)
			}
		})
	}
}

// TestStepsNameTheToken: reviewers and owners know a token by what it is for and
// its days, not by its id; secrets in comments are not repeated.
func TestStepsNameTheToken(t *testing.T) {
	e := newEstate()
	e.fill("1", 40)
	e.token("1", "t", "11", 120, func(s *engine.Subject) {
		s.Token.Comment, s.Token.Scopes, s.Owner.DisplayName = "nightly export password=hunter2hunter2", []string{"sql"}, "Ana"
	})
	e.fail("PAT-004", "1", "t")
	step := build(t, e.input()).Steps[0]
	card, ok := step.Card()
	want := engine.TokenCard{Comment: card.Comment, Created: "2025-10-20", Expires: "never", LastUsed: "2026-07-27", Scopes: "sql"}
	if !ok || card != want || !strings.HasPrefix(card.Comment, "nightly export ") || strings.Contains(card.Comment, "hunter2") || step.OwnerName != "Ana" || step.OwnerKind != engine.User {
		t.Errorf("card %+v of %q (%s)", card, step.OwnerName, step.OwnerKind)
	}
}

func TestWhatWouldBeIsNeverApproved(t *testing.T) {
	e := choiceEstate()
	in := e.input()
	in.Report.WhatIf = "stricter"
	p := build(t, in)
	content := plan.Encode(p)
	_, err := verified(content, nil, plan.Trust{}, at)
	refusal(t, err, "what_if")
	for _, export := range plan.Exports() {
		if text := export.Render(p, ""); !strings.Contains(text, "# WHAT IF: stricter.") {
			t.Errorf("%s does not say that it is of what would be:\n%.300s", export.Name, text)
		}
	}
}
