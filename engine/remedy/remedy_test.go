package remedy_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/remedy"
)

// recorder answers everything alike and remembers what was sent.
type recorder struct {
	answer engine.Response
	err    error
	sent   []string
	bodies []string
}

func (r *recorder) Send(_ context.Context, method, target string, body []byte) (engine.Response, error) {
	path, _, _ := strings.Cut(target, "?")
	r.sent = append(r.sent, method+" "+path)
	r.bodies = append(r.bodies, string(body))
	return r.answer, r.err
}

func answer(status int, body string) engine.Response {
	return engine.Response{Status: status, Body: []byte(body), Header: http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {"q"}}}
}

func all() []remedy.Remedy {
	return remedy.All(remedy.Parsers{
		Token: func(row []byte) (engine.Token, error) {
			var wire struct {
				ID string `json:"token_id"`
			}
			err := json.Unmarshal(row, &wire)
			return engine.Token{ID: wire.ID}, err
		},
		Grants: func(answer []byte) (engine.Grants, error) {
			var wire struct{ Grants engine.Grants }
			err := json.Unmarshal(answer, &wire)
			return wire.Grants, err
		},
	})
}

// step is one that every remedy can carry out in some way.
func step(name engine.Action) engine.Step {
	s := engine.Step{Action: name, Target: "t/1", WorkspaceID: "1", Expected: map[string]any{"absent": true, "scopes": []any{"sql"}, "comment": "c", "value": "90"}}
	if name == engine.ChangeGrant {
		users := engine.Grant{Principal: "users", Kind: "group", Level: "CAN_USE"}
		admins := engine.Grant{Principal: "admins", Kind: "group", Level: "CAN_MANAGE", Inherited: true}
		s.Precondition.Identity = engine.GrantsState(engine.Grants{users, admins})
		s.Expected = engine.GrantsState(engine.Grants{admins})
	}
	return s
}

// TestWhatARemedyForgot names what a remedy does not say that plans, reports,
// exports, notices, apply or undo will ask of it.
func TestWhatARemedyForgot(t *testing.T) {
	t.Parallel()
	ranks := map[int]engine.Action{}
	for _, r := range all() {
		missing := func(what string, absent bool) {
			if absent {
				t.Errorf("remedy %s has no %s", r.Name, what)
			}
		}
		missing("Name", r.Name == "")
		missing("Doc: what it does", r.Doc == "")
		missing("For: what a finding is about that it can answer", len(r.For) == 0)
		missing("Rank of its own: "+string(ranks[r.Rank])+" has it", ranks[r.Rank] != "")
		ranks[r.Rank] = r.Name
		ofToken := slices.Contains(r.For, engine.ResourceToken)
		missing("Owner: what the owner of a token is told", ofToken && r.Owner == "")
		missing("Token: how a plan proposes it", ofToken && r.Token == nil)
		if !r.Changes() {
			missing("Safe: why nothing can break", r.Safe == "")
			continue
		}
		missing("Section: what must have been read whole", r.Section == "")
		missing("Workspace: how a plan proposes it", !ofToken && r.Workspace == nil)
		missing("Endangers: whose tokens lose their use", !ofToken && r.Endangers == nil)
		missing("Effect", !ofToken && r.Effect == nil)
		missing("CLI", r.CLI == nil)
		missing("HCL", !ofToken && r.HCL == nil)
		missing("Read", r.Read == nil)
		missing("Do", r.Do == nil)
		missing("Reached", r.Reached == nil)
		missing("Undo, or that there is none", r.Undo == nil)
	}
	if remedy.Of("nothing").Name != "" || remedy.Changes(engine.Step{Action: "nothing"}) {
		t.Error("an action that nothing here does is one")
	}
}

// remedies are those that send something.
func remedies() []remedy.Remedy {
	return slices.DeleteFunc(all(), func(r remedy.Remedy) bool { return !r.Changes() })
}

// TestRemediesSendWhatTheySay: looking sends one GET, acting sends one request
// of the kind that the remedy declares, whatever is answered.
func TestRemediesSendWhatTheySay(t *testing.T) {
	t.Parallel()
	answers := []recorder{
		{answer: answer(200, `{}`)}, {answer: answer(200, `{"token_info":{"token_id":"t/1"},"t/1":"90"}`)}, {answer: answer(204, ``)}, {answer: answer(200, `[`)},
		{answer: answer(404, `{"error_code":"RESOURCE_DOES_NOT_EXIST"}`)}, {answer: answer(403, ``)}, {answer: answer(500, `x`)}, {err: errors.New("reset")},
	}
	for _, remedy := range remedies() {
		for _, one := range answers {
			looking, acting := one, one
			_, err := remedy.Read(t.Context(), &looking, step(remedy.Name))
			faultOnly(t, err)
			if len(looking.sent) != 1 || !strings.HasPrefix(looking.sent[0], "GET ") {
				t.Errorf("%s: looking sent %v", remedy.Name, looking.sent)
			}
			_, err = remedy.Do(t.Context(), &acting, step(remedy.Name), engine.Observation{State: step(remedy.Name).Precondition.Identity})
			faultOnly(t, err)
			if len(acting.sent) != 1 || !declared(remedy.Sent, acting.sent[0]) {
				t.Errorf("%s: acting sent %v, declares %s", remedy.Name, acting.sent, remedy.Sent)
			}
		}
	}
}

// faultOnly wants errors that the machine knows what to do about.
func faultOnly(t *testing.T, err error) {
	t.Helper()
	var fault *engine.Fault
	if err != nil && !errors.As(err, &fault) {
		t.Errorf("%v is no fault", err)
	}
}

func declared(sent, request string) bool {
	method, path, _ := strings.Cut(request, " ")
	words := strings.Fields(sent)
	prefix, _, _ := strings.Cut(words[len(words)-1], "{")
	return slices.Contains(words, method) && strings.HasPrefix(path, prefix)
}

func find(name engine.Action) remedy.Remedy {
	all := remedies()
	return all[slices.IndexFunc(all, func(r remedy.Remedy) bool { return r.Name == name })]
}

// TestTakingAGrantKeepsTheOthers: the list that is sent is the list that was
// seen without the one entry, with the admins, without whom it is refused, and
// without what is inherited from elsewhere.
func TestTakingAGrantKeepsTheOthers(t *testing.T) {
	t.Parallel()
	s := step(engine.ChangeGrant)
	seen := engine.GrantsState(engine.Grants{
		{Principal: "users", Kind: "group", Level: "CAN_USE"},
		{Principal: "admins", Kind: "group", Level: "CAN_MANAGE", Inherited: true},
		{Principal: "a@example.com", Kind: "user", Level: "CAN_USE"},
		{Principal: "5e12", Kind: "service_principal", Level: "CAN_USE"},
		{Principal: "from-above", Kind: "group", Level: "CAN_USE", Inherited: true},
	})
	c := recorder{answer: answer(200, `{}`)}
	if _, err := find(engine.ChangeGrant).Do(t.Context(), &c, s, engine.Observation{State: seen}); err != nil {
		t.Fatal(err)
	}
	want := `{"access_control_list":[{"group_name":"admins","permission_level":"CAN_MANAGE"},` +
		`{"permission_level":"CAN_USE","service_principal_name":"5e12"},{"permission_level":"CAN_USE","user_name":"a@example.com"}]}`
	if c.sent[0][:4] != "PUT " || c.bodies[0] != want {
		t.Errorf("sent %s %s, want %s", c.sent[0], c.bodies[0], want)
	}
}

func TestGivingAGrantBackTouchesNothingElse(t *testing.T) {
	t.Parallel()
	s := step(engine.ChangeGrant)
	s.Precondition.Identity, s.Expected = s.Expected, s.Precondition.Identity
	c := recorder{answer: answer(200, `{}`)}
	if _, err := find(engine.ChangeGrant).Do(t.Context(), &c, s, engine.Observation{State: s.Precondition.Identity}); err != nil {
		t.Fatal(err)
	}
	if want := `{"access_control_list":[{"group_name":"users","permission_level":"CAN_USE"}]}`; c.sent[0][:6] != "PATCH " || c.bodies[0] != want {
		t.Errorf("sent %s %s", c.sent[0], c.bodies[0])
	}
}

func TestSort(t *testing.T) {
	t.Parallel()
	html := answer(200, "<html>")
	html.Header.Set("Content-Type", "text/html; charset=utf-8")
	late := answer(429, `{}`)
	late.Header.Set("Retry-After", "Tue, 24 Nov 2026 12:00:30 GMT")
	late.Header.Set("Date", "Tue, 24 Nov 2026 12:00:00 GMT")
	for name, tc := range map[string]struct {
		r      engine.Response
		absent bool
		kind   engine.FaultKind
	}{
		"success":         {answer(200, `{}`), false, ""},
		"nothing to say":  {answer(204, ``), false, ""},
		"absent":          {answer(404, `{"error_code":"RESOURCE_DOES_NOT_EXIST"}`), true, ""},
		"not found":       {answer(404, `{"error_code":"NOT_FOUND"}`), true, ""},
		"feature is off":  {answer(404, `{"error_code":"FEATURE_DISABLED"}`), false, engine.FaultEndpoint},
		"another address": {answer(404, `{"error_code":"ENDPOINT_NOT_FOUND"}`), false, engine.FaultEndpoint},
		"a page that says it": {
			engine.Response{Status: 404, Body: []byte(`{"error_code":"NOT_FOUND"}`), Header: http.Header{"Content-Type": {"text/html"}}}, false, engine.FaultEndpoint,
		},
		"404 without body":   {answer(404, ``), false, engine.FaultEndpoint},
		"code as a number":   {answer(403, `{"error_code":403,"message":"Invalid access token."}`), false, engine.FaultUnauthenticated},
		"no right":           {answer(403, `{"error_code":"PERMISSION_DENIED"}`), false, engine.FaultForbidden},
		"401":                {answer(401, ``), false, engine.FaultUnauthenticated},
		"page":               {html, false, engine.FaultEndpoint},
		"redirect":           {answer(307, ``), false, engine.FaultEndpoint},
		"limit as 500":       {answer(500, `{"error_code":"REQUEST_LIMIT_EXCEEDED"}`), false, engine.FaultBusy},
		"later":              {late, false, engine.FaultBusy},
		"gateway":            {answer(502, `<html>`), false, engine.FaultUnclear},
		"conflict":           {answer(409, `{}`), false, engine.FaultRejected},
		"some other success": {answer(202, `{}`), false, engine.FaultUnclear},
	} {
		t.Run(name, func(t *testing.T) {
			absent, fault := remedy.Sort("x", tc.r)
			if absent != tc.absent || (fault == nil) != (tc.kind == "") || fault != nil && fault.Kind != tc.kind {
				t.Errorf("absent %v, fault %v", absent, fault)
			}
			if name == "later" && fault.Wait != 30*time.Second {
				t.Errorf("waits %s", fault.Wait)
			}
		})
	}
}

// FuzzSort: whatever comes back, absence is never concluded but from the API's
// own word, and no text of a stranger reaches a terminal raw.
func FuzzSort(f *testing.F) {
	f.Add(404, "application/json", `{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"\u001b[31m"}`)
	f.Add(200, "text/html", "<html>")
	f.Add(403, "", "\xff\x00")
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		r := engine.Response{Status: status, Body: []byte(body), Header: http.Header{"Content-Type": {kind}}}
		absent, fault := remedy.Sort("GET /x", r)
		if absent && (status != http.StatusNotFound || !strings.Contains(body, "RESOURCE_DOES_NOT_EXIST") && !strings.Contains(body, "NOT_FOUND") && !strings.Contains(body, `\u`)) {
			t.Errorf("absent by status %d, %q", status, body)
		}
		if fault != nil && enginetest.Acting(fault.Detail) != "" {
			t.Errorf("raw text: %q", fault.Detail)
		}
	})
}

// TestAnotherWorkspaceAnswers: nothing is concluded from an answer that says to
// come from elsewhere, whatever it says.
func TestAnotherWorkspaceAnswers(t *testing.T) {
	t.Parallel()
	for _, one := range remedies() {
		for _, body := range []string{`{}`, `{"token_info":{"token_id":"t/1"}}`} {
			for _, status := range []int{200, 404, 500} {
				r := answer(status, body)
				r.Header.Set("X-Databricks-Org-Id", "2")
				c := recorder{answer: r}
				_, read := one.Read(t.Context(), &c, step(one.Name))
				_, done := one.Do(t.Context(), &c, step(one.Name), engine.Observation{State: step(one.Name).Precondition.Identity})
				for _, err := range []error{read, done} {
					var fault *engine.Fault
					if !errors.As(err, &fault) || fault.Kind != engine.FaultWorkspace {
						t.Errorf("%s, status %d: %v", one.Name, status, err)
					}
				}
			}
		}
	}
}

// directoryOf answers by path; anything else is the 404 of SCIM.
type directoryOf map[string]engine.Response

func (d directoryOf) Send(_ context.Context, _, target string, _ []byte) (engine.Response, error) {
	if r, known := d[target]; known {
		return r, nil
	}
	return answer(404, noSuchUser), nil
}

const noSuchUser = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"detail":"Resource with id 7 not found.","status":"404"}`

func TestAPrincipalIsMissingOnlyByTheDirectorysOwnWord(t *testing.T) {
	t.Parallel()
	const users, services = "/api/2.0/preview/scim/v2/Users/7", "/api/2.0/preview/scim/v2/ServicePrincipals/7"
	parse := remedy.Parsers{Principal: func(row []byte, kind engine.Kind) (engine.Principal, error) {
		var wire struct{ ID string }
		err := json.Unmarshal(row, &wire)
		return engine.Principal{ID: wire.ID, Kind: kind}, err
	}}
	page := answer(404, "<html>not found")
	page.Header.Set("Content-Type", "text/html")
	other := answer(404, noSuchUser)
	other.Header.Set("X-Databricks-Org-Id", "2")
	for name, tc := range map[string]struct {
		directory directoryOf
		kind      engine.Kind
		fault     engine.FaultKind
	}{
		"user":                  {directoryOf{users: answer(200, `{"id":"7"}`)}, engine.User, ""},
		"service principal":     {directoryOf{services: answer(200, `{"id":"7"}`)}, engine.ServicePrincipal, ""},
		"neither":               {directoryOf{}, engine.Missing, ""},
		"the token API's words": {directoryOf{users: answer(404, `{"error_code":"NOT_FOUND"}`)}, engine.Missing, ""},
		"an object of nothing":  {directoryOf{users: answer(200, `{}`)}, "", engine.FaultUnclear},
		"another user":          {directoryOf{users: answer(200, `{"id":"8"}`)}, "", engine.FaultUnclear},
		"off":                   {directoryOf{users: answer(404, `{"error_code":"FEATURE_DISABLED"}`)}, "", engine.FaultEndpoint},
		"no such address":       {directoryOf{services: answer(404, `{"error_code":"ENDPOINT_NOT_FOUND"}`)}, "", engine.FaultEndpoint},
		"a page":                {directoryOf{users: page}, "", engine.FaultEndpoint},
		"404 without a word":    {directoryOf{users: answer(404, `{}`)}, "", engine.FaultEndpoint},
		"the words of a list":   {directoryOf{users: answer(404, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"status":"404"}`)}, "", engine.FaultEndpoint},
		"forbidden":             {directoryOf{services: answer(403, `{}`)}, "", engine.FaultForbidden},
		"of another workspace":  {directoryOf{users: other}, "", engine.FaultWorkspace},
	} {
		for _, likely := range []engine.Kind{engine.User, engine.ServicePrincipal, engine.Missing} {
			p, err := parse.ReadPrincipal(t.Context(), tc.directory, engine.Step{WorkspaceID: "1"}, "7", likely)
			var fault *engine.Fault
			errors.As(err, &fault)
			if p.Kind != tc.kind || (fault == nil) != (tc.fault == "") || fault != nil && fault.Kind != tc.fault {
				t.Errorf("%s, likely %q: kind %q, %v", name, likely, p.Kind, err)
			}
		}
	}
}
