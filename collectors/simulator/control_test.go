package simulator_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"patrol/collectors/simulator"
)

func TestControlFaults(t *testing.T) {
	w := newWorld(t)
	r := w.do("POST", "/_sim/faults", "", `{"method":"GET","path":"`+tokensPath+`$","status":429,"headers":{"Retry-After":"2"},"body":{"error_code":"X"},"delay":"1ms","times":1}`)
	if r.status != 200 {
		t.Fatalf("add: %s", r.body)
	}
	got := w.as(0, "GET", tokensPath, "")
	if got.status != 429 || got.header.Get("Retry-After") != "2" || got.body != `{"error_code":"X"}` {
		t.Errorf("fault: %d %v %s", got.status, got.header, got.body)
	}
	if r := w.do("GET", "/_sim/faults", "", ""); !strings.Contains(r.body, `"seen":1`) || !strings.Contains(r.body, `"delay":"1ms"`) {
		t.Errorf("list: %s", r.body)
	}
	w.do("POST", "/_sim/faults", "", `[{"status":500,"body":"plain"},{"status":502}]`)
	if n := len(w.Faults()); n != 3 {
		t.Errorf("%d faults", n)
	}
	if r := w.do("DELETE", "/_sim/faults", "", ""); r.body != `{"faults":[]}` {
		t.Errorf("cleared: %s", r.body)
	}
}

func TestParseFaults(t *testing.T) {
	faults, err := simulator.ParseFaults([]byte(` [{"status":500,"body":{"a":1},"delay":"2s"},{"reset":true,"after":true,"times":1}] `))
	if err != nil || len(faults) != 2 || faults[0].Body != `{"a":1}` || faults[0].Delay != 2*time.Second || !faults[1].After {
		t.Errorf("got %+v, %v", faults, err)
	}
	if _, err := simulator.ParseFaults([]byte(`[{"status":500},{"status":7}]`)); err == nil || !strings.Contains(err.Error(), "fault 2") {
		t.Errorf("error %v", err)
	}
}

func TestControlIsStrict(t *testing.T) {
	w := newWorld(t)
	tests := []struct{ path, body, want string }{
		{"/_sim/faults", `{"stauts":500}`, "stauts"},
		{"/_sim/faults", `{"status":99}`, "99"},
		{"/_sim/faults", `{"delay":"soon"}`, "delay"},
		{"/_sim/faults", `{"status":500} {}`, "more than one"},
		{"/_sim/clock", `{"advnace":"1h"}`, "advnace"},
		{"/_sim/clock", `{"advance":"tomorrow"}`, "tomorrow"},
		{"/_sim/state", `{"put_token":{"token_name":"x"}}`, "token_name"},
		{"/_sim/state", `{"workspace":"nowhere","delete_token":"x"}`, "nowhere"},
		{"/_sim/state", `{"put_token":{"token_id":"short"}}`, "short"},
		{"/_sim/state", `{"user":{"name":"ghost","active":true}}`, "ghost"},
		{"/_sim/state", `{"conf":{"nope":"1"}}`, "nope"},
		{"/_sim/state", `{"grants":"maybe"}`, "maybe"},
		{"/_sim/state", `{"tokens":"maybe"}`, "maybe"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			w.wantError(w.do("POST", tt.path, "", tt.body), 400, "INVALID_PARAMETER_VALUE", tt.want)
		})
	}
	w.wantError(w.do("GET", "/_sim/nothing", "", ""), 404, "ENDPOINT_NOT_FOUND", "")
}

func TestControlIsForLoopback(t *testing.T) {
	a := simulator.New(simulator.Options{})
	req := httptest.NewRequest("GET", "/_sim/state", nil) // from 192.0.2.1
	rec := httptest.NewRecorder()
	a.ServeHTTP(rec, req)
	if rec.Code != 403 {
		t.Errorf("status %d", rec.Code)
	}
}

func TestControlState(t *testing.T) {
	w := newWorld(t)
	doc := w.do("GET", "/_sim/state", "", "").json(t)
	spaces, _ := doc["workspaces"].([]any)
	if len(spaces) != 2 || doc["account_id"] != w.ID() {
		t.Fatalf("state %v", doc)
	}
	dev, _ := spaces[1].(map[string]any)
	if dev["profile"] != "dev-sandbox" || dev["workspace_id"] != fmt.Sprint(w.ws[1].ID) || dev["token"] != w.ws[1].Token {
		t.Errorf("dev %v", dev)
	}
	if r := w.do("GET", "/_sim/state?workspace=dev-sandbox&tokens=true", "", ""); strings.Count(r.body, `"token_id"`) != 60 {
		t.Errorf("tokens of one workspace: %d", strings.Count(r.body, `"token_id"`))
	}
	w.wantError(w.do("GET", "/_sim/state?workspace=nowhere", "", ""), 400, "", "nowhere")
	if r := w.do("GET", "/_sim/config", "", ""); r.body != w.ConfigFile(w.url) {
		t.Errorf("config: %s", r.body)
	}
}

func TestControlChanges(t *testing.T) {
	w := newWorld(t)
	id := strings.Repeat("ab", 32)
	post := func(body string) {
		t.Helper()
		if r := w.do("POST", "/_sim/state", "", body); r.status != 200 {
			t.Fatalf("%s: %s", body, r.body)
		}
	}
	post(`{"workspace":"dev-sandbox","put_token":{"token_id":"` + id + `","expiry_time":-1,"comment":"by hand","raw":{"token_id":"` + id + `","expiry_time":1.7e12,"novel":true}}}`)
	if r := w.as(1, "GET", tokensPath+"/"+id, ""); !strings.Contains(r.body, `"novel":true`) {
		t.Errorf("raw row: %s", r.body)
	}
	post(`{"workspace":"dev-sandbox","delete_token":"` + id + `"}`)
	w.wantError(w.as(1, "GET", tokensPath+"/"+id, ""), 404, "", id)

	post(`{"user":{"name":"user001@example.com","active":false}}`)
	post(`{"conf":{"maxTokenLifetimeDays":"45","enableWebTerminal":null}}`)
	if conf := w.Conf("prod-analytics"); conf["maxTokenLifetimeDays"] != "45" || len(conf["enableWebTerminal"]) != 0 {
		t.Errorf("conf %v", conf)
	}
	post(`{"access_control_list":[{"group_name":"data-engineers","permission_level":"CAN_USE"}],"restrict_workspace_admins":"RESTRICT_TOKENS_AND_JOB_RUN_AS"}`)
	if g := w.Grants("prod-analytics"); len(g) != 1 || g[0].GroupName != "data-engineers" || w.RestrictAdmins("prod-analytics") != simulator.RestrictTokensAndJobRuns {
		t.Errorf("grants %v", g)
	}
	post(`{"grants":"not_initialised"}`)
	w.wantError(w.as(0, "GET", aclPath, ""), 404, "RESOURCE_DOES_NOT_EXIST", "")
	post(`{"tokens":"disabled"}`)
	w.wantError(w.as(0, "GET", tokensPath, ""), 404, "FEATURE_DISABLED", "")
	post(`{"tokens":"enabled","user":{"name":"user002@example.com","admin":true}}`)
	post(`{"user":{"name":"user002@example.com","removed":true}}`)
	for _, u := range w.Users() {
		if u.Name == "user001@example.com" && u.Active || u.Name == "user002@example.com" {
			t.Errorf("user %+v", u)
		}
	}
}

func TestControlClock(t *testing.T) {
	w := newWorld(t)
	r := w.do("POST", "/_sim/clock", "", `{"advance":"48h"}`)
	if r.json(t)["now"] != "2026-03-12T12:34:56Z" || r.body != w.do("GET", "/_sim/clock", "", "").body {
		t.Errorf("clock %s", r.body)
	}
}

func TestControlRequests(t *testing.T) {
	w := newWorld(t)
	id := w.firstToken(0, "endless").ID
	w.as(0, "GET", tokensPath+"?created_by_id=1", "")
	w.as(0, "DELETE", tokensPath+"/"+id, "")
	w.as(1, "PATCH", confPath, `{"enableGp3":"true"}`)
	w.do("GET", "/_sim/state", "", "")
	doc := w.do("GET", "/_sim/requests?method=DELETE", "", "").json(t)
	rows, _ := doc["requests"].([]any)
	counts, _ := doc["counts"].(map[string]any)
	if len(rows) != 1 || fmt.Sprint(counts["DELETE /api/2.0/token-management/tokens/{id}"]) != "1" {
		t.Errorf("requests %v", doc)
	}
	all := w.Requests()
	if len(all) != 3 || all[0].Query != "created_by_id=1" || all[1].User != w.ws[0].Admin ||
		all[2].Workspace != "dev-sandbox" || all[2].Body != `{"enableGp3":"true"}` || all[2].Status != 204 {
		t.Errorf("recorded %+v", all)
	}
	if n := len(w.Writes()); n != 2 {
		t.Errorf("%d writes", n)
	}
	w.do("DELETE", "/_sim/requests", "", "")
	if len(w.Requests()) != 0 || len(w.Counts()) != 0 {
		t.Error("requests were not forgotten")
	}
}

func TestOnRequestComesBeforeTheEffect(t *testing.T) {
	var before, after int
	var w *world
	w = newWorld(t, func(o *simulator.Options) {
		o.OnRequest = func(r simulator.Request) { before = len(w.Tokens("prod-analytics")) }
	})
	w.as(0, "DELETE", tokensPath+"/"+w.firstToken(0, "endless").ID, "")
	after = len(w.Tokens("prod-analytics"))
	if before != 60 || after != 59 {
		t.Errorf("before %d, after %d", before, after)
	}
}

// Concurrent readers and writers are here for the race detector.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.Tokens = 300 })
	rows := w.Tokens("prod-analytics")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; i < 80; i += 4 {
				w.as(0, "GET", tokensPath, "")
				if rows[i].Kind != "caller" {
					w.as(0, "DELETE", tokensPath+"/"+rows[i].ID, "")
				}
				w.do("POST", "/_sim/faults", "", `{"path":"/nowhere","status":500}`)
				w.do("GET", "/_sim/state", "", "")
				w.Advance(1)
				w.as(0, "GET", scimPath+"/Users", "")
				w.as(0, "POST", "/api/2.0/token/create", `{"lifetime_seconds":60}`)
			}
		})
	}
	wg.Wait()
	if n := len(w.Tokens("prod-analytics")); n != 300-79+80 {
		t.Errorf("%d tokens", n)
	}
}
