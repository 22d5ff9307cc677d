package apply_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/apply"
)

// notFound are the two spellings that the platform documents.
func notFound() []string { return []string{"NOT_FOUND", "RESOURCE_DOES_NOT_EXIST"} }

func gone(code string) simulator.Fault {
	return simulator.Fault{Method: http.MethodGet, Path: tokenPath, Status: 404, Body: fmt.Sprintf(`{"error_code":%q,"message":"Token does not exist"}`, code)}
}

// TestOneLookThatFindsNothingIsNotBelieved while the list holds the token.
func TestOneLookThatFindsNothingIsNotBelieved(t *testing.T) {
	t.Parallel()
	for _, code := range notFound() {
		w := newWorld(t, "")
		token := w.revoke(1)[0]
		once := gone(code)
		once.Times = 1
		w.fault(once)
		w.states(w.must(""), engine.StateDone)
		if w.there(token) {
			t.Errorf("%s: still there", code)
		}

		w = newWorld(t, "")
		token = w.revoke(1)[0]
		w.fault(gone(code))
		report := w.must("not_carried_out")
		w.states(report, engine.StatePending)
		if report.Outcomes[0].Reason != "still_listed" || report.Finished || !w.there(token) {
			t.Errorf("%s: %+v", code, report.Outcomes[0])
		}
		w.sent(http.MethodDelete, 0)
	}
}

// TestGoneWhenListAndLookAgree, in both spellings; a token that vanished during
// the run as well.
func TestGoneWhenListAndLookAgree(t *testing.T) {
	t.Parallel()
	for _, code := range notFound() {
		for _, during := range []bool{false, true} {
			w := newWorld(t, "")
			token := w.revoke(1)[0]
			remove := func() {
				if err := w.account.DeleteToken(w.ws.Name, token.ID); err != nil {
					t.Fatal(err)
				}
			}
			if during {
				w.confirm = func(apply.Question) error { remove(); return nil }
			} else {
				remove()
			}
			w.fault(gone(code))
			w.states(w.must(""), engine.StateGoneBefore)
			w.sent(http.MethodDelete, 0)
		}
	}
}

// TestWhateverIsCalledGoneIsLookedForAtTheEnd, not what was revoked only.
func TestWhateverIsCalledGoneIsLookedForAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	token := w.revoke(1)[0]
	w.fault(simulator.Fault{Method: http.MethodDelete, Path: tokenPath, Status: 404, Body: `{"error_code":"NOT_FOUND"}`, Times: 1})
	report := w.must("not_carried_out")
	w.states(report, engine.StateGoneAfterIntent)
	if got := report.Workspaces[0].StillListed; !slices.Equal(got, []string{token.ID}) || report.Carried {
		t.Errorf("still listed %v, carried %v", got, report.Carried)
	}
}

// TestAnotherWorkspaceMidway: an answer of another workspace says nothing about
// the step, and ends the run.
func TestAnotherWorkspaceMidway(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]string{"X-Databricks-Org-Id": "4711"}
	for _, tc := range []struct {
		name  string
		fault simulator.Fault
		want  engine.StepState
		sent  int
	}{
		{"before a request", simulator.Fault{Method: http.MethodGet, Headers: elsewhere}, engine.StatePending, 0},
		{"not found there", simulator.Fault{Method: http.MethodGet, Headers: elsewhere, Status: 404, Body: `{"error_code":"NOT_FOUND"}`}, engine.StatePending, 0},
		{"to the request", simulator.Fault{Method: http.MethodDelete, Headers: elsewhere}, engine.StateUnresolved, 1},
		{"to the request, not found there", simulator.Fault{Method: http.MethodDelete, Headers: elsewhere, Status: 404, Body: `{"error_code":"NOT_FOUND"}`}, engine.StateUnresolved, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, "")
			w.revoke(2)
			tc.fault.Path = tokenPath
			w.fault(tc.fault)
			report := w.must("wrong_workspace")
			w.states(report, tc.want, engine.StatePending)
			w.sent(http.MethodDelete, tc.sent)
			if report.Finished || report.Stopped == "" {
				t.Errorf("finished %v, stopped %q", report.Finished, report.Stopped)
			}
			w.account.ClearFaults()
			w.options.Resume = true
			w.signIn() // a session that met another workspace reads no more
			report = w.must("")
			if !report.Carried {
				t.Errorf("resumed: %+v", report.Outcomes)
			}
		})
	}
}

// service is the ruling of a judge that found a service principal.
func service(application string) engine.Party {
	return engine.Party{ID: "9", Kind: engine.ServicePrincipal, Name: application}
}

// TestProtected: owner and creator, by numeric and by application id, protected
// by the plan or by the configuration of the day.
func TestProtected(t *testing.T) {
	t.Parallel()
	const application = "6f2c1a34-0000-4000-8000-123456789abc"
	user := engine.Party{ID: "9", Kind: engine.User, Name: application} // a name is anybody's to choose
	for _, tc := range []struct {
		name           string
		protect        func(engine.Token) string
		owner, creator engine.Party
		want           engine.StepState
		reason         string
	}{
		{"owner by id", func(t engine.Token) string { return t.OwnerID }, user, user, engine.StateSkippedProtected, "protected"},
		{"creator by id", func(t engine.Token) string { return t.CreatorID }, user, user, engine.StateSkippedProtected, "protected"},
		{"owner by application id", func(engine.Token) string { return application }, service(application), user, engine.StateSkippedProtected, "protected"},
		{"creator by application id", func(engine.Token) string { return strings.ToUpper(application) }, user, service(application), engine.StateSkippedProtected, "protected"},
		{"a user of that name", func(engine.Token) string { return application }, user, user, engine.StateDone, ""},
		{"nobody", func(engine.Token) string { return "1" }, user, user, engine.StateDone, ""},
		{"an owner who cannot be told", func(engine.Token) string { return application }, engine.Party{}, user, engine.StateSkippedDrift, "unreadable"},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after the plan %v", tc.name, late), func(t *testing.T) {
				w := newWorld(t, "")
				token := w.obo()
				w.onToken(engine.Revoke, token, map[string]any{"absent": true})
				protected := engine.Protected{Principals: []string{tc.protect(parsed(t, token))}}
				w.change = func(j *apply.Job) {
					j.Judge = fixed{apply.Ruling{Fires: true, Subject: engine.Subject{Token: parsed(t, token), Owner: tc.owner, Creator: tc.creator}}}
					if late {
						j.Protected = protected
					}
				}
				if !late {
					w.plan.Protected = protected
				}
				report, _ := w.apply(t.Context())
				w.states(report, tc.want)
				if report.Outcomes[0].Reason != tc.reason || w.there(token) != (tc.want != engine.StateDone) {
					t.Errorf("%+v", report.Outcomes[0])
				}
			})
		}
	}
}

// obo is a token that one principal made for another, neither of them ours.
func (w *world) obo() simulator.Token {
	token := w.victims(1)[0]
	token.CreatedByID = 4711
	if _, err := w.account.PutToken(w.ws.Name, token); err != nil {
		w.t.Fatal(err)
	}
	return token
}

// TestTokensOwnedOrMadeByUsAreSpared, although somebody else made or owns them.
func TestTokensOwnedOrMadeByUsAreSpared(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(token *simulator.Token, me int64){
		"owned": func(token *simulator.Token, me int64) { token.OwnerID, token.CreatedByID = me, 4711 },
		"made":  func(token *simulator.Token, me int64) { token.CreatedByID = me },
	} {
		w := newWorld(t, "")
		me, _ := strconv.ParseInt(w.session.Caller().ID, 10, 64)
		token := w.victims(1)[0]
		change(&token, me)
		if _, err := w.account.PutToken(w.ws.Name, token); err != nil {
			t.Fatal(err)
		}
		w.onToken(engine.Revoke, token, map[string]any{"absent": true})
		report := w.must("not_carried_out")
		if report.Outcomes[0].State != engine.StateSkippedProtected || report.Outcomes[0].Reason != "self" {
			t.Errorf("%s: %+v", name, report.Outcomes[0])
		}
		w.sent(http.MethodDelete, 0)
	}
}

// TestALastUseThatCannotBeReadCountsAsUse, when it could be read for the plan,
// and when the plan knew of none.
func TestALastUseThatCannotBeReadCountsAsUse(t *testing.T) {
	t.Parallel()
	for _, planned := range []any{"1760000000000", nil} {
		w := newWorld(t, "")
		token := w.revoke(1)[0]
		w.plan.Steps[0].Precondition.Volatile["last_used_day"] = planned
		token.Raw = fmt.Appendf(nil, `{"token_id":%q,"creation_time":%d,"expiry_time":%d,"created_by_id":%d,"owner_id":%d,"last_used_day":"soon"}`,
			token.ID, token.CreationTime, token.ExpiryTime, token.CreatedByID, token.OwnerID)
		if _, err := w.account.PutToken(w.ws.Name, token); err != nil {
			t.Fatal(err)
		}
		report := w.must("not_carried_out")
		if report.Outcomes[0].Reason != "used_since" {
			t.Errorf("planned %v: %+v", planned, report.Outcomes[0])
		}
		w.sent(http.MethodDelete, 0)
	}
}

// TestWhatTheJudgeReadAgesToo: a request rests on nothing older than ten
// seconds, not on the token alone.
func TestWhatTheJudgeReadAgesToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	token := w.revoke(1)[0]
	asked := 0
	w.change = func(j *apply.Job) {
		j.Judge = judging(func() apply.Ruling {
			asked++
			at := w.clock.now()
			if asked < 3 {
				at = at.Add(-11 * time.Second)
			}
			return apply.Ruling{Fires: true, Subject: engine.Subject{Token: parsed(t, token)}, At: at}
		})
	}
	w.states(w.must(""), engine.StateDone)
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
	w.sent(http.MethodDelete, 1)
}

// TestAnOwnerWhoCannotBeReadLeavesTheStepOpen: nothing is called skipped or
// refused for good because the directory is busy.
func TestAnOwnerWhoCannotBeReadLeavesTheStepOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.revoke(1)
	fault := &engine.Fault{Kind: engine.FaultUnclear, Detail: "GET Users: status 503"}
	w.judge = func(engine.Step, engine.Token) (bool, string, error) { return false, "", fault }
	report := w.must("not_carried_out")
	w.states(report, engine.StatePending)
	if report.Outcomes[0].Reason != "unreadable" {
		t.Errorf("%+v", report.Outcomes[0])
	}
	fault.Kind = engine.FaultWorkspace
	w.options.Resume = true
	w.states(w.must("wrong_workspace"), engine.StatePending)
	w.sent(http.MethodDelete, 0)
}

// TestWhatAStepOnAWorkspaceTakesIsCountedAgain right before its request: no more
// live tokens than approved, and none that is protected by then.
func TestWhatAStepOnAWorkspaceTakesIsCountedAgain(t *testing.T) {
	t.Parallel()
	unreadable := &engine.Fault{Kind: engine.FaultUnclear, Detail: "tokens were not read whole"}
	for name, tc := range map[string]struct {
		judge  staked
		state  engine.StepState
		reason string
	}{
		"as many":    {staked{stake: apply.Stake{Tokens: 2}}, engine.StateDone, ""},
		"fewer":      {staked{stake: apply.Stake{Tokens: 1}}, engine.StateDone, ""},
		"more":       {staked{stake: apply.Stake{Tokens: 3}}, engine.StateSkippedDrift, "endangers_more"},
		"protected":  {staked{stake: apply.Stake{Tokens: 1, Protected: "the configuration protects its owner"}}, engine.StateSkippedProtected, "protected"},
		"unreadable": {staked{err: unreadable}, engine.StatePending, "unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, newWorld(t, "").ws.Profile+"-oauth")
			w.change = func(job *apply.Job) { job.Judge = tc.judge }
			w.plan.Limits.MaxEndangered, w.plan.Limits.MaxSteps, w.plan.Limits.MaxPercent, w.plan.Limits.MaxPerOwner = 9, 9, 100, 9
			w.setting("enableTokensConfig", nil, "false")
			w.plan.Steps[0].Risk.Endangers = 2
			report, err := w.apply(t.Context())
			if tc.state == engine.StateDone && err != nil {
				t.Fatal(err)
			}
			w.states(report, tc.state)
			if got := report.Outcomes[0].Reason; got != tc.reason {
				t.Errorf("reason %q (%s), want %q", got, report.Outcomes[0].Detail, tc.reason)
			}
			if tc.state != engine.StateDone {
				w.sent(http.MethodPatch, 0)
			}
		})
	}
}
