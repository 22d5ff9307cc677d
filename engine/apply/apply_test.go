package apply_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/apply"
	"patrol/engine/journal"
	"patrol/engine/store"
)

func TestApplyRevokesWhatIsApprovedAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	tokens := w.revoke(5)
	delete(w.yes, "s03")
	report := w.must("")
	w.states(report, engine.StateDone, engine.StateDone, engine.StateDone, engine.StateSkippedApproval, engine.StateDone)
	for i, token := range tokens {
		if w.there(token) != (i == 3) {
			t.Errorf("token %d is there: %v", i, w.there(token))
		}
	}
	w.sent(http.MethodDelete, 4)
	if !report.Finished || !report.Carried || report.Stopped != "" || len(report.Workspaces[0].ThirdParty)+len(report.Workspaces[0].StillListed) > 0 {
		t.Errorf("report %+v", report)
	}
	again := w.must("already_applied")
	w.sent(http.MethodDelete, 4)
	if string(engine.CompactJSON(again)) != string(engine.CompactJSON(report)) {
		t.Error("the report of a finished plan changed")
	}
}

func TestDriftSkips(t *testing.T) {
	t.Parallel()
	month := 30 * engine.Day
	for _, tc := range []struct {
		name   string
		change func(*world, *simulator.Token)
		want   engine.StepState
		reason string
	}{
		{"another expiry", func(_ *world, s *simulator.Token) { s.ExpiryTime += month }, engine.StateSkippedDrift, "identity"},
		{"another owner", func(_ *world, s *simulator.Token) { s.OwnerID = 4711 }, engine.StateSkippedDrift, "identity"},
		{"another creator", func(_ *world, s *simulator.Token) { s.CreatedByID, s.CreatedByUsername = 4711, "x" }, engine.StateSkippedDrift, "identity"},
		{"another creation", func(_ *world, s *simulator.Token) { s.CreationTime += 1000 }, engine.StateSkippedDrift, "identity"},
		{"used since", func(_ *world, s *simulator.Token) { s.LastUsedDay = time.Now().UnixMilli() }, engine.StateSkippedDrift, "used_since"},
		{"a comment only", func(_ *world, s *simulator.Token) { s.Comment = "approved exception" }, engine.StateDone, ""},
		{"expiry unknown", func(_ *world, s *simulator.Token) { s.Raw = []byte(`{"token_id":"` + s.ID + `"}`) }, engine.StateSkippedDrift, "identity"},
		{"rule silent", func(w *world, _ *simulator.Token) {
			w.judge = func(s engine.Step, _ engine.Token) (bool, string, error) {
				return s.ID != "s00", "PAT-001 is content", nil
			}
		}, engine.StateSkippedDrift, "rule_silent"},
		{"no grounds", func(w *world, _ *simulator.Token) { w.plan.Steps[0].Policies = nil }, engine.StateSkippedDrift, "no_grounds"},
		{"used since, and the configuration goes on", func(w *world, s *simulator.Token) {
			w.plan.OnUse, s.LastUsedDay = "proceed", time.Now().UnixMilli()
		}, engine.StateDone, ""},
		{"used since, on a rule about use", func(w *world, s *simulator.Token) {
			w.plan.OnUse, s.LastUsedDay = "proceed", time.Now().UnixMilli()
			w.plan.Steps[0].Evidence = map[string]any{"PAT-001": map[string]any{"idle_days": 100}}
		}, engine.StateSkippedDrift, "used_since"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, "")
			token := w.revoke(2)[0]
			tc.change(w, &token)
			if _, err := w.account.PutToken(w.ws.Name, token); err != nil {
				t.Fatal(err)
			}
			want := "not_carried_out"
			if tc.want == engine.StateDone {
				want = ""
			}
			report := w.must(want)
			w.states(report, tc.want, engine.StateDone)
			if report.Outcomes[0].Reason != tc.reason || w.there(token) != (tc.want != engine.StateDone) {
				t.Errorf("reason %q, there %v", report.Outcomes[0].Reason, w.there(token))
			}
		})
	}
}

func TestGoneBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	token := w.revoke(2)[0]
	if err := w.account.DeleteToken(w.ws.Name, token.ID); err != nil {
		t.Fatal(err)
	}
	w.states(w.must(""), engine.StateGoneBefore, engine.StateDone)
	w.sent(http.MethodDelete, 1)
}

func TestOwnTokensAreSpared(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		includeSelf bool
		want        engine.StepState
		reason      string
	}{
		{"by default", false, engine.StateSkippedProtected, "self"},
		{"unless asked for", true, engine.StateDone, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.options.IncludeSelf = tc.includeSelf
			mine, err := w.account.PutToken(w.ws.Name, simulator.Token{ExpiryTime: -1})
			if err != nil {
				t.Fatal(err)
			}
			w.onToken(engine.Revoke, mine, map[string]any{"absent": true})
			w.revoke(1)
			report, _ := w.apply(t.Context())
			w.states(report, tc.want, engine.StateDone)
			if report.Outcomes[0].Reason != tc.reason {
				t.Errorf("reason %q", report.Outcomes[0].Reason)
			}
			if tc.includeSelf && w.events[len(w.events)-1].Step.Target != mine.ID {
				t.Error("our own token was not last")
			}

		})
	}
}

func TestTheTokenInUseIsNeverTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.options.IncludeSelf = true
	inUse, ok := w.account.Token(w.ws.Name, w.session.Caller().TokenID)
	if !ok {
		t.Fatal("the session's own token is not known")
	}
	w.onToken(engine.Revoke, inUse, map[string]any{"absent": true})
	w.plan.Steps[0].Precondition.Volatile["last_used_day"] = nil
	report := w.must("not_carried_out")
	if report.Outcomes[0].Reason != "in_use" || !w.there(inUse) {
		t.Errorf("%+v", report.Outcomes[0])
	}
	w.sent(http.MethodDelete, 0)
}

func TestProtectedIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	tokens := w.revoke(2)
	w.plan.Protected.Tokens = []string{tokens[0].ID}
	w.plan.Protected.Principals = []string{w.plan.Steps[1].OwnerID}
	report := w.must("not_carried_out")
	w.states(report, engine.StateSkippedProtected, engine.StateSkippedProtected)
	w.sent(http.MethodDelete, 0)
}

// TestAnswers goes through what can become of the one DELETE of a step.
func TestAnswers(t *testing.T) {
	t.Parallel()
	del := simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Times: 1}
	with := func(change func(*simulator.Fault)) simulator.Fault {
		f := del
		change(&f)
		return f
	}
	for _, tc := range []struct {
		name   string
		fault  simulator.Fault
		want   engine.StepState
		reason string
		end    string
		sent   int
	}{
		{"503 before the effect", with(func(f *simulator.Fault) { f.Status = 503 }), engine.StateDone, "", "", 3},
		{"503 after the effect", with(func(f *simulator.Fault) { f.Status, f.After = 503, true }), engine.StateGoneAfterIntent, "lost_answer", "", 2},
		{"reset before", with(func(f *simulator.Fault) { f.Reset = true }), engine.StateDone, "", "", 3},
		{"reset after", with(func(f *simulator.Fault) { f.Reset, f.After = true, true }), engine.StateGoneAfterIntent, "lost_answer", "", 2},
		{"truncated after", with(func(f *simulator.Fault) { f.Truncate, f.After = 1, true }), engine.StateGoneAfterIntent, "lost_answer", "", 2},
		{"200 with no effect and no object", with(func(f *simulator.Fault) { f.Body = `"ok"` }), engine.StateDone, "", "", 3},
		{"204 without effect", with(func(f *simulator.Fault) { f.Status = 204 }), engine.StateDone, "", "", 3},
		{"429", with(func(f *simulator.Fault) { f.Status, f.Headers = 429, map[string]string{"Retry-After": "7"} }), engine.StateDone, "", "", 3},
		{"403", with(func(f *simulator.Fault) { f.Status = 403 }), engine.StateRefused, "forbidden", "not_carried_out", 2},
		{"400", with(func(f *simulator.Fault) { f.Status = 400 }), engine.StateFailed, "rejected", "not_carried_out", 2},
		{"401", with(func(f *simulator.Fault) { f.Status = 401 }), engine.StateIntent, "unauthenticated", "unauthenticated", 1},
		{"404 that the API means", with(func(f *simulator.Fault) { f.Status, f.After = 404, true }), engine.StateGoneAfterIntent, "gone", "", 2},
		{"404 of something else", with(func(f *simulator.Fault) { f.Status, f.Body = 404, `{"error_code":"ENDPOINT_NOT_FOUND"}` }), engine.StateFailed, "endpoint", "endpoint", 1},
		{"404 without a word", with(func(f *simulator.Fault) { f.Status, f.Body = 404, `{}` }), engine.StateFailed, "endpoint", "endpoint", 1},
		{"a login page", with(func(f *simulator.Fault) {
			f.Body, f.Headers = "<html>", map[string]string{"Content-Type": "text/html"}
		}), engine.StateFailed, "endpoint", "endpoint", 1},
		{"a redirect", with(func(f *simulator.Fault) {
			f.Status, f.Headers = 307, map[string]string{"Location": "/elsewhere"}
		}), engine.StateFailed, "endpoint", "endpoint", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, "")
			tokens := w.revoke(2)
			w.fault(tc.fault)
			report := w.must(tc.end)
			second := engine.StateDone
			if tc.sent == 1 {
				second = engine.StatePending
			}
			w.states(report, tc.want, second)
			if report.Outcomes[0].Reason != tc.reason {
				t.Errorf("reason %q (%s), want %q", report.Outcomes[0].Reason, report.Outcomes[0].Detail, tc.reason)
			}
			w.sent(http.MethodDelete, tc.sent)
			if tc.want == engine.StateDone && w.there(tokens[0]) {
				t.Error("called done, and is there")
			}
			if tc.name == "429" && w.clock.slept < 7*time.Second {
				t.Errorf("waited %s", w.clock.slept)
			}
		})
	}
}

func TestResumeAfterSigningInAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(3)
	w.fault(simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Status: 401, Skip: 1, Times: 1})
	w.must("unauthenticated")
	w.must("unfinished")
	w.sent(http.MethodDelete, 2)
	w.options.Resume = true
	w.states(w.must(""), engine.StateDone, engine.StateDone, engine.StateDone)
	w.sent(http.MethodDelete, 4)
}

func TestThreeRefusalsInARowStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(5)
	w.fault(simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Status: 403, Skip: 1})
	report := w.must("forbidden")
	w.states(report, engine.StateDone, engine.StateRefused, engine.StateRefused, engine.StateRefused, engine.StatePending)
	w.sent(http.MethodDelete, 4)
	if !strings.Contains(report.Stopped, "3 steps in a row") {
		t.Errorf("stopped: %q", report.Stopped)
	}
}

func TestUnclearAnswersAreTriedFiveTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	token := w.revoke(1)[0]
	w.fault(simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Status: 503})
	report := w.must("not_carried_out")
	w.states(report, engine.StateUnresolved)
	w.sent(http.MethodDelete, 5)
	if report.Finished || !w.there(token) {
		t.Error("called finished")
	}
	w.account.ClearFaults()
	w.options.Resume = true
	w.states(w.must(""), engine.StateDone)
	w.sent(http.MethodDelete, 6)
}

// TestAcknowledgedButStillThere: the workspace says that it did it, and shows
// the token for longer than a minute. Nothing is sent a second time meanwhile.
func TestAcknowledgedButStillThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(1)
	w.fault(simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Body: "{}", Times: 1})
	report := w.must("not_carried_out")
	w.states(report, engine.StateUnresolved)
	if report.Outcomes[0].Reason != "not_seen" || w.clock.slept < time.Minute {
		t.Errorf("%+v after %s", report.Outcomes[0], w.clock.slept)
	}
	w.sent(http.MethodDelete, 1)
}

func TestLagBehindAnAcknowledgement(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	token := w.revoke(1)[0]
	lag := simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Body: "{}", Times: 1}
	w.fault(lag)
	w.clock.hook = func(time.Duration) {
		if w.clock.slept > 5*time.Second && w.there(token) {
			_ = w.account.DeleteToken(w.ws.Name, token.ID)
		}
	}
	w.states(w.must(""), engine.StateDone)
	w.sent(http.MethodDelete, 1)
}

func TestALookThatTellsNothing(t *testing.T) {
	t.Parallel()
	get := func(f simulator.Fault) simulator.Fault {
		f.Method, f.Path = http.MethodGet, tokenPath
		return f
	}
	html := map[string]string{"Content-Type": "text/html"}
	for _, tc := range []struct {
		name   string
		fault  simulator.Fault
		want   engine.StepState
		reason string
		end    string
	}{
		{"500 twice", get(simulator.Fault{Status: 500, Times: 2}), engine.StateDone, "", ""},
		{"truncated once", get(simulator.Fault{Truncate: 20, Times: 1}), engine.StateDone, "", ""},
		{"cut off cleanly", get(simulator.Fault{Truncate: 20, Chunked: true, Times: 1}), engine.StateDone, "", ""},
		{"429 once", get(simulator.Fault{Status: 429, Times: 1}), engine.StateDone, "", ""},
		{"500 for long", get(simulator.Fault{Status: 500, Times: 6}), engine.StatePending, "unreadable", "not_carried_out"},
		{"403", get(simulator.Fault{Status: 403, Times: 1}), engine.StateRefused, "forbidden", "not_carried_out"},
		{"401", get(simulator.Fault{Status: 401, Times: 1}), engine.StatePending, "unauthenticated", "unauthenticated"},
		{"a login page", get(simulator.Fault{Body: "<html>", Headers: html, Times: 1}), engine.StatePending, "endpoint", "endpoint"},
		{"404 of a feature that is off", get(simulator.Fault{Status: 404, Body: `{"error_code":"FEATURE_DISABLED"}`, Times: 1}), engine.StatePending, "endpoint", "endpoint"},
		{"another token", get(simulator.Fault{Body: `{"token_info":{"token_id":"` + strings.Repeat("ab", 32) + `"}}`, Times: 1}), engine.StatePending, "endpoint", "endpoint"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.revoke(1)
			w.fault(tc.fault)
			report := w.must(tc.end)
			w.states(report, tc.want)
			if report.Outcomes[0].Reason != tc.reason {
				t.Errorf("reason %q (%s)", report.Outcomes[0].Reason, report.Outcomes[0].Detail)
			}
			if tc.want != engine.StateDone {
				w.sent(http.MethodDelete, 0)
			}
		})
	}
}

// TestALookIsGoodForTenSeconds, by whichever clock: between looking and acting
// the disk is slow, the machine sleeps, or somebody sets its clock.
func TestALookIsGoodForTenSeconds(t *testing.T) {
	t.Parallel()
	const long = 11 * time.Second
	for name, tc := range map[string]struct {
		passes, set time.Duration // what goes by, and by how much the wall clock is set meanwhile
		attempts    int
	}{
		"at once":                      {attempts: 1},
		"nine seconds":                 {passes: 9 * time.Second, attempts: 1},
		"a slow disk":                  {passes: long, attempts: 2},
		"the machine sleeps":           {set: long, attempts: 2}, // no monotonic clock goes on then
		"set back":                     {set: -long, attempts: 2},
		"set back by what went by":     {passes: long, set: -long, attempts: 2},
		"set a little, and in a hurry": {passes: time.Second, set: -5 * time.Second, attempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.revoke(1)
			slow := &slowJournal{first: func() { w.clock.advance(tc.passes); w.clock.set(tc.set) }}
			w.change = func(j *apply.Job) {
				slow.Journal = j.Journal
				j.Journal = slow
			}
			report := w.must("")
			w.states(report, engine.StateDone)
			w.sent(http.MethodDelete, 1)
			gets := slices.DeleteFunc(w.account.Requests(), func(r simulator.Request) bool {
				return r.Method != http.MethodGet || !strings.HasPrefix(r.Path, tokenPath)
			})
			if len(gets) != tc.attempts+1 || report.Outcomes[0].Attempt != tc.attempts { // each looks, the last verifies
				t.Errorf("%d GETs, attempt %d, want %d", len(gets), report.Outcomes[0].Attempt, tc.attempts)
			}
		})
	}
}

// slowJournal does something else before the first intent.
type slowJournal struct {
	apply.Journal

	first func()
	done  bool
}

func (s *slowJournal) Move(ctx context.Context, from engine.StepState, to engine.Entry) error {
	if to.State == engine.StateIntent && !s.done {
		s.done = true
		s.first()
	}
	return s.Journal.Move(ctx, from, to)
}

// pacedJournal notes when each step was begun.
type pacedJournal struct {
	apply.Journal

	clock *clock
	begun []time.Time
}

func (p *pacedJournal) Move(ctx context.Context, from engine.StepState, to engine.Entry) error {
	if to.State == engine.StateIntent {
		p.begun = append(p.begun, p.clock.now())
	}
	return p.Journal.Move(ctx, from, to)
}

// TestStepsKeepApart, five a second unless told otherwise: a wrong plan does its
// harm slowly enough to be stopped.
func TestStepsKeepApart(t *testing.T) {
	t.Parallel()
	for rate, apart := range map[float64]time.Duration{0: 200 * time.Millisecond, 0.5: 2 * time.Second} {
		w := newWorld(t, "")
		for i := range 4 {
			w.revoke(i + 1)
		}
		w.options.Rate = rate
		paced := &pacedJournal{clock: w.clock}
		w.change = func(j *apply.Job) {
			paced.Journal = j.Journal
			j.Journal = paced
		}
		start := w.clock.now()
		w.must("")
		if len(paced.begun) != 4 {
			t.Fatalf("%d steps begun, want 4", len(paced.begun))
		}
		for i, at := range paced.begun {
			if since := at.Sub(start); since < time.Duration(i)*apart {
				t.Errorf("rate %v: step %d began after %v", rate, i+1, since)
			}
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.setting("maxTokenLifetimeDays", nil, "90")
	report := w.must("")
	w.states(report, engine.StateDone)
	if got := w.account.Conf(w.ws.Name)["maxTokenLifetimeDays"]; got != "90" {
		t.Errorf("set to %q", got)
	}
}

func TestSettingsThatAreNotAsPlanned(t *testing.T) {
	t.Parallel()
	value := func(s string) *string { return &s }
	for _, tc := range []struct {
		name   string
		now    *string
		fault  simulator.Fault
		want   engine.StepState
		reason string
	}{
		{"changed by somebody", value("365"), simulator.Fault{}, engine.StateSkippedDrift, "value"},
		{"set by somebody", value("90"), simulator.Fault{}, engine.StateSkippedDrift, "already_so"},
		{"accepted without effect", nil, simulator.Fault{Method: http.MethodPatch, Path: "/api/2.0/workspace-conf", Status: 204}, engine.StateUnresolved, "not_seen"},
		{"value not allowed", nil, simulator.Fault{Method: http.MethodPatch, Path: "/api/2.0/workspace-conf", Status: 400}, engine.StateFailed, "rejected"},
		{"answer lost", nil, simulator.Fault{Method: http.MethodPatch, Path: "/api/2.0/workspace-conf", Reset: true, After: true, Times: 1}, engine.StateDone, "lost_answer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.setting("maxTokenLifetimeDays", nil, "90")
			if tc.now != nil {
				if _, err := w.account.Change(simulator.Change{Conf: map[string]*string{"maxTokenLifetimeDays": tc.now}}); err != nil {
					t.Fatal(err)
				}
			}
			if tc.fault.Method != "" {
				w.fault(tc.fault)
			}
			fails := "not_carried_out" // exit code 6
			if tc.want == engine.StateDone {
				fails = ""
			}
			report := w.must(fails)
			w.states(report, tc.want)
			if tc.reason == "not_seen" && w.clock.slept < time.Minute {
				t.Errorf("looked for %s only", w.clock.slept)
			}
			if report.Outcomes[0].Reason != tc.reason {
				t.Errorf("reason %q (%s)", report.Outcomes[0].Reason, report.Outcomes[0].Detail)
			}
		})
	}
}

func TestSwitchingTokensOffComesLastAndNotByPAT(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.setting("enableTokensConfig", nil, "false")
	w.revoke(1)
	w.must("pat_auth")
	if len(w.account.Writes()) > 0 {
		t.Error("something was sent")
	}
	w = newWorld(t, w.ws.Profile+"-oauth")
	w.setting("enableTokensConfig", nil, "false")
	w.revoke(1)
	report := w.must("")
	w.states(report, engine.StateDone, engine.StateDone)
	if last := w.events[len(w.events)-1]; last.Step.Action != engine.SetSetting {
		t.Errorf("last was %s", last.Step.Action)
	}
}

func TestGrantsScopesAndComments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	grants := grantsNow(t, w)
	kept := slices.DeleteFunc(slices.Clone(grants), func(g engine.Grant) bool { return g.Principal == "users" })
	w.add(engine.Step{
		Action: engine.ChangeGrant, Target: "users", Expected: engine.GrantsState(kept),
		Precondition: engine.Precondition{Identity: engine.GrantsState(grants)},
	})
	tokens := w.victims(2)
	w.onToken(engine.NarrowScopes, tokens[0], map[string]any{"scopes": []any{"sql"}})
	w.onToken(engine.SetComment, tokens[1], map[string]any{"comment": "replaced"})
	w.add(engine.Step{Action: engine.Notify, Target: tokens[1].ID})
	report := w.must("")
	w.states(report, engine.StateDone, engine.StateDone, engine.StateDone, engine.StateForPeople)
	if now := grantsNow(t, w); string(engine.CompactJSON(engine.GrantsState(now))) != string(engine.CompactJSON(engine.GrantsState(kept))) {
		t.Errorf("grants %v, want %v", now, kept)
	}
	narrowed, _ := w.account.Token(w.ws.Name, tokens[0].ID)
	renamed, _ := w.account.Token(w.ws.Name, tokens[1].ID)
	if !slices.Equal(narrowed.Scopes, []string{"sql"}) || renamed.Comment != "replaced" {
		t.Errorf("scopes %v, comment %q", narrowed.Scopes, renamed.Comment)
	}
}

func grantsNow(t *testing.T, w *world) engine.Grants {
	t.Helper()
	r, err := w.session.Send(t.Context(), http.MethodGet, "/api/2.0/permissions/authorization/tokens", nil)
	if err != nil {
		t.Fatal(err)
	}
	return mustGrants(t, r.Body)
}

func TestGrantsDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	grants := grantsNow(t, w)
	w.add(engine.Step{
		Action: engine.ChangeGrant, Target: "users", Expected: engine.GrantsState(grants[:1]),
		Precondition: engine.Precondition{Identity: engine.GrantsState(grants)},
	})
	if _, err := w.account.Change(simulator.Change{ACL: &[]simulator.Grant{{GroupName: "users", Level: "CAN_USE"}, {UserName: w.account.Users()[3].Name, Level: "CAN_USE"}}}); err != nil {
		t.Fatal(err)
	}
	report := w.must("not_carried_out")
	w.states(report, engine.StateSkippedDrift)
	if len(w.account.Writes()) > 0 {
		t.Error("something was sent")
	}
}

func TestThirdPartyDisappearancesAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	tokens := w.victims(6)
	w.revoke(3)
	w.clock.hook = func(time.Duration) { // between two steps
		if w.there(tokens[5]) {
			_ = w.account.DeleteToken(w.ws.Name, tokens[5].ID)
		}
	}
	report := w.must("")
	if got := report.Workspaces[0].ThirdParty; !slices.Equal(got, []string{tokens[5].ID}) {
		t.Errorf("third party: %v", got)
	}
}

func TestRevokedAndStillListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	token := w.revoke(1)[0]
	list, err := w.session.Send(t.Context(), http.MethodGet, strings.TrimSuffix(tokenPath, "/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.fault(simulator.Fault{Method: http.MethodGet, Path: strings.TrimSuffix(tokenPath, "/") + "$", Body: string(list.Body)})
	report := w.must("not_carried_out")
	if got := report.Workspaces[0].StillListed; !slices.Equal(got, []string{token.ID}) {
		t.Errorf("still listed: %v", got)
	}
}

// TestInterruptBetweenSteps: the step in hand is brought to rest, no other begins.
func TestInterruptBetweenSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(4)
	stop := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	w.change = func(j *apply.Job) {
		tell := j.Tell
		j.Tell = func(e apply.Event) {
			tell(e)
			if e.Kind == apply.EventStep && e.N == 2 {
				cancel(stop)
			}
		}
	}
	report, err := w.apply(ctx)
	if !errors.Is(err, stop) {
		t.Fatalf("ended with %v", err)
	}
	w.states(report, engine.StateDone, engine.StateDone, engine.StatePending, engine.StatePending)
	w.change, w.options.Resume = nil, true
	w.states(w.must(""), engine.StateDone, engine.StateDone, engine.StateDone, engine.StateDone)
	w.sent(http.MethodDelete, 4)
}

func TestCanaryAndConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(5)
	var asked []apply.Question
	w.confirm = func(q apply.Question) error {
		asked = append(asked, q)
		if q.Canary {
			return errors.New("no")
		}
		return nil
	}
	report := w.must("declined")
	w.states(report, engine.StateDone, engine.StateDone, engine.StateDone, engine.StatePending, engine.StatePending)
	if len(asked) != 2 || asked[0].Steps != 5 || asked[1].Steps != 2 || asked[1].Done != 3 {
		t.Errorf("asked %+v", asked)
	}
	w = newWorld(t, "")
	w.revoke(1)
	w.confirm = func(apply.Question) error { return errors.New("nobody there") }
	w.must("nobody there")
	w.sent(http.MethodDelete, 0)
	if _, err := journal.Open(t.Context(), w.path, journal.Options{Mode: store.ReadOnly, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
}

func TestRehearsalWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	tokens := w.revoke(3)
	tokens[1].ExpiryTime += engine.Day
	if _, err := w.account.PutToken(w.ws.Name, tokens[1]); err != nil {
		t.Fatal(err)
	}
	w.options.DryRun = true
	report, err := w.job(nil).Run(t.Context())
	if reasonOf(err) != "not_carried_out" {
		t.Fatal(err)
	}
	w.states(report, engine.StatePending, engine.StateSkippedDrift, engine.StatePending)
	if report.Outcomes[0].Reason != "would_be_done" || len(w.account.Writes()) > 0 {
		t.Errorf("%+v, %d writes", report.Outcomes[0], len(w.account.Writes()))
	}
}

func TestWithdrawnApprovalSettlesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(3)
	w.fault(simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Status: 401, Skip: 1, Times: 1})
	w.must("unauthenticated")
	w.yes = map[string]bool{}
	w.options.Resume = true
	report := w.must("not_carried_out")
	w.states(report, engine.StateDone, engine.StateSkippedApproval, engine.StateSkippedApproval)
	w.sent(http.MethodDelete, 2)
}

// TestARunThatOutlivesItsApprovalStops: whether the time ends before a step or
// while it is written down, nothing more is sent, and what is left can go on.
func TestARunThatOutlivesItsApprovalStops(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ until, takes time.Duration }{
		"approval":                             {time.Minute, 24 * time.Hour},
		"plan":                                 {0, 24 * time.Hour},
		"approval, while a look is still good": {8 * time.Second, 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.revoke(3)
			late := &lateJournal{clock: w.clock, at: 2, takes: tc.takes}
			w.change = func(j *apply.Job) {
				late.Journal = j.Journal
				j.Journal = late
				if tc.until > 0 {
					j.Approval.Until = w.clock.now().Add(tc.until)
				}
			}
			report := w.must("expired")
			w.states(report, engine.StateDone, engine.StateIntent, engine.StatePending)
			w.sent(http.MethodDelete, 1)
		})
	}
}

// lateJournal takes long for one of the intents.
type lateJournal struct {
	apply.Journal
	clock *clock
	at, n int
	takes time.Duration
}

func (l *lateJournal) Move(ctx context.Context, from engine.StepState, to engine.Entry) error {
	if to.State == engine.StateIntent {
		if l.n++; l.n == l.at {
			l.clock.advance(l.takes)
		}
	}
	return l.Journal.Move(ctx, from, to)
}

func TestExpiredPlanSettlesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(2)
	w.fault(simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Status: 401, After: true, Times: 1})
	w.must("unauthenticated")
	w.clock.advance(25 * time.Hour)
	w.must("unfinished")
	w.options.Resume = true
	report := w.must("not_carried_out")
	w.states(report, engine.StateGoneAfterIntent, engine.StateSkippedApproval)
	w.sent(http.MethodDelete, 1)
}
