package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
)

const (
	tokensPath = "/api/2.0/token-management/tokens"
	confPath   = "/api/2.0/workspace-conf"
	aclPath    = "/api/2.0/permissions/authorization/tokens"
	scimPath   = "/api/2.0/preview/scim/v2"
	rwaPath    = "/api/2.0/settings/types/restrict_workspace_admins/names/default"
)

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	second := fmt.Sprint(w.ws[1].ID)
	tests := []struct {
		name, bearer string
		header       []string
		status       int
		workspace    int // that answered, from 1
		body         string
	}{
		{"admin of the first", w.ws[0].Token, nil, 200, 1, ""},
		{"admin of the second", w.ws[1].Token, nil, 200, 2, ""},
		{"any text", "x", nil, 200, 1, ""},
		{"any text, other workspace", "x", []string{"X-Databricks-Org-Id", second}, 200, 2, ""},
		{"any text, other workspace, new header", "x", []string{"X-Databricks-Workspace-Id", second}, 200, 2, ""},
		{"header agrees with token", w.ws[1].Token, []string{"X-Databricks-Org-Id", second}, 200, 2, ""},
		{"one token, one workspace", w.ws[0].Token, []string{"X-Databricks-Org-Id", second}, 403, 0, "Invalid access token."},
		{"unknown workspace", "x", []string{"X-Databricks-Org-Id", "12"}, 400, 0, "Unknown workspace"},
		{"none", "", nil, 401, 0, `"error_code":401`},
		{"basic", "", []string{"Authorization", "Basic eDp5"}, 401, 0, "unsupported type"},
		{"reserved expired", simulator.ExpiredToken, nil, 403, 0, `"error_code":403`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do("GET", scimPath+"/Me", tt.bearer, "", tt.header...)
			if r.status != tt.status || !strings.Contains(r.body, tt.body) {
				t.Fatalf("got %d %s", r.status, r.body)
			}
			if tt.workspace > 0 && r.header.Get("X-Databricks-Org-Id") != fmt.Sprint(w.ws[tt.workspace-1].ID) {
				t.Errorf("answered by %s", r.header.Get("X-Databricks-Org-Id"))
			}
		})
	}
}

func TestEveryAnswerIsStamped(t *testing.T) {
	w := newWorld(t)
	w.Advance(48 * time.Hour)
	seen := map[string]bool{}
	for _, path := range []string{tokensPath, "/nowhere", "/_sim/state", scimPath + "/Me"} {
		r := w.as(0, "GET", path, "")
		if got := r.header.Get("Date"); got != "Thu, 12 Mar 2026 12:34:56 GMT" {
			t.Errorf("%s: Date %q", path, got)
		}
		id := r.header.Get("X-Request-Id")
		if id == "" || seen[id] {
			t.Errorf("%s: request id %q", path, id)
		}
		seen[id] = true
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	w.wantError(w.as(0, "GET", "/api/2.0/clusters/list", ""), 404, "ENDPOINT_NOT_FOUND", "/api/2.0/clusters/list")
	w.wantError(w.as(0, "PUT", tokensPath, ""), 405, "METHOD_NOT_ALLOWED", "PUT")
	if r := w.as(0, "HEAD", tokensPath+"?", ""); r.status != 200 || r.body != "" {
		t.Errorf("HEAD: %d %q", r.status, r.body)
	}
	w.wantError(w.as(0, "PATCH", confPath, "{"), 400, "MALFORMED_REQUEST", "")
}

func TestViewerIsNoAdmin(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{tokensPath, tokensPath + "/x", confPath + "?keys=enableTokensConfig", aclPath, rwaPath, "/api/2.0/ip-access-lists", scimPath + "/Users"} {
		r := w.do("GET", path, w.ws[1].ViewerToken, "")
		w.wantError(r, 403, "", "Requesting user 'viewer@example.com' is not an admin.")
	}
}

func TestAdminsThroughNesting(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.Tokens = 60 })
	for _, name := range []string{"platform.lead@example.com", "on.call@example.com"} {
		bearer := w.ownTokenOf(0, name)
		if r := w.do("GET", tokensPath, bearer, ""); r.status != 200 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// ownTokenOf lets the admin mint a PAT for a service principal, or, for users,
// stores one whose value is known through the id.
func (w *world) ownTokenOf(i int, user string) string {
	w.t.Helper()
	for _, u := range w.Users() {
		if u.Name == user {
			value := "dapi-test-" + user
			_, err := w.PutToken(w.ws[i].Name, simulator.Token{ID: sha256Hex(value), OwnerID: u.ID, CreatedByID: u.ID, ExpiryTime: -1})
			if err != nil {
				w.t.Fatal(err)
			}
			return value
		}
	}
	w.t.Fatalf("no user %q", user)
	return ""
}

func TestTokenListFilters(t *testing.T) {
	w := newWorld(t)
	obo := w.firstToken(0, "on-behalf-of")
	admin := w.ws[0].Admin
	count := func(query string) int {
		doc := w.as(0, "GET", tokensPath+"?"+query, "").json(t)
		rows, _ := doc["token_infos"].([]any)
		return len(rows)
	}
	byName, byID := count("created_by_username="+url.QueryEscape(admin)), count(fmt.Sprintf("created_by_id=%d", obo.CreatedByID))
	if byName < 2 || byName != byID {
		t.Errorf("by name %d, by id %d", byName, byID)
	}
	made := 0
	for _, tok := range w.Tokens(w.ws[0].Name) {
		if tok.CreatedByID == obo.OwnerID {
			made++
		}
	}
	if n := count(fmt.Sprintf("created_by_id=%d", obo.OwnerID)); n != made {
		t.Errorf("%d tokens of the creator, want %d: the filter is not by owner", n, made)
	}
	if r := w.as(0, "GET", tokensPath+"?created_by_username=nobody%40example.com", ""); r.body != "{}" {
		t.Errorf("nothing: %s", r.body)
	}
	w.wantError(w.as(0, "GET", tokensPath+"?created_by_id=abc", ""), 400, "INVALID_PARAMETER_VALUE", "abc")
}

func TestEmptyWorkspaceHasNoTokenInfos(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.Tokens = 0 })
	if r := w.as(0, "GET", tokensPath, ""); r.status != 200 || r.body != "{}" {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if n := len(simulator.New(simulator.Options{}).Workspaces()); n != 2 {
		t.Errorf("the usual account has %d workspaces", n)
	}
}

func TestTokenLifecycle(t *testing.T) {
	w := newWorld(t)
	created := w.as(1, "POST", "/api/2.0/token/create", `{"comment":"mine","lifetime_seconds":3600,"autoscope_enabled":true}`).json(t)
	value, _ := created["token_value"].(string)
	info, _ := created["token_info"].(map[string]any)
	id, _ := info["token_id"].(string)
	if id != sha256Hex(value) || info["autoscope_state"] != "AUTOSCOPE_STATE_RUNNING" {
		t.Fatalf("created %v", created)
	}
	if r := w.do("GET", scimPath+"/Me", value, ""); r.status != 200 {
		t.Errorf("new token: %d %s", r.status, r.body)
	}
	if tok, _ := w.Token(w.ws[1].Name, id); tok.LastUsedDay != time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC).UnixMilli() {
		t.Errorf("last used %d", tok.LastUsedDay)
	}
	if r := w.as(1, "PATCH", "/api/2.0/token/"+id, `{"token":{"comment":"renamed"},"update_mask":"comment"}`); r.body != "{}" {
		t.Errorf("own update: %s", r.body)
	}
	if r := w.as(1, "GET", "/api/2.0/token/list", ""); !strings.Contains(r.body, "renamed") || strings.Contains(r.body, "owner_id") {
		t.Errorf("own list: %s", r.body)
	}
	w.Advance(2 * time.Hour)
	w.wantError(w.do("GET", scimPath+"/Me", value, ""), 403, "403", "Invalid access token.")
	remove := func() reply { return w.as(1, "POST", "/api/2.0/token/delete", `{"token_id":"`+id+`"}`) }
	w.wantError(remove(), 404, "RESOURCE_DOES_NOT_EXIST", "No valid token with ID "+id+" found.") // it has expired
	w.Advance(-2 * time.Hour)
	if r := remove(); r.status != 200 {
		t.Errorf("delete: %s", r.body)
	}
	w.wantError(w.as(1, "GET", tokensPath+"/"+id, ""), 404, "RESOURCE_DOES_NOT_EXIST", id)
}

// What a caller is told of its own tokens agrees with the list of all, the one in
// use included, and every profile names the workspace that it opens.
func TestOwnTokensAgreeWithTheList(t *testing.T) {
	w := newWorld(t)
	for i, ws := range w.ws {
		own, _ := w.as(i, "GET", "/api/2.0/token/list", "").json(t)["token_infos"].([]any)
		listed := map[string]bool{}
		for _, row := range own {
			info, _ := row.(map[string]any)
			id, _ := info["token_id"].(string)
			listed[id] = true
		}
		me, _ := w.as(i, "GET", scimPath+"/Me", "").json(t)["id"].(string)
		for _, token := range w.Tokens(ws.Name) {
			if listed[token.ID] != (fmt.Sprint(token.OwnerID) == me) {
				t.Errorf("%s: token %s of %d, caller %s, listed as own: %v", ws.Name, token.ID, token.OwnerID, me, listed[token.ID])
			}
		}
		if !listed[sha256Hex(ws.Token)] {
			t.Errorf("%s: the token in use is not among the caller's own", ws.Name)
		}
		if n := strings.Count(w.ConfigFile(w.url), fmt.Sprintf("= %d\n", ws.ID)); n != 3 {
			t.Errorf("%s: %d profiles name the workspace, want 3", ws.Name, n)
		}
	}
}

func TestTokenCreationRules(t *testing.T) {
	const create = "/api/2.0/token/create"
	tests := []struct {
		name    string
		prepare func(*world)
		path    string
		body    string
		status  int
		want    string
	}{
		{"zero lifetime", nil, create, `{"lifetime_seconds":0}`, 400, "Invalid timeout: 0"},
		{"above workspace maximum", nil, create, `{"lifetime_seconds":7776001}`, 400, "maximum of 90 days"},
		{"at the maximum", nil, create, `{"lifetime_seconds":7776000}`, 200, "token_value"},
		{"unknown application", nil, "/api/2.0/token-management/on-behalf-of/tokens", `{"application_id":"nope"}`, 404, "RESOURCE_DOES_NOT_EXIST"},
		{"feature off", func(w *world) { w.change(1, simulator.Change{Tokens: "disabled"}) }, create, `{}`, 404, "FEATURE_DISABLED"},
		{"quota", func(w *world) {
			for range 600 {
				_, err := w.PutToken(w.ws[1].Name, simulator.Token{ExpiryTime: -1})
				w.must(err)
			}
		}, create, `{}`, 400, "Token quota exceeded (600 tokens)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.prepare != nil {
				tt.prepare(w)
			}
			w.wantError(w.as(1, "POST", tt.path, tt.body), tt.status, tt.want, "")
		})
	}
}

// change changes the state of workspace i.
func (w *world) change(i int, change simulator.Change) {
	w.t.Helper()
	change.Workspace = w.ws[i].Name
	_, err := w.Change(change)
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestOnBehalfOf(t *testing.T) {
	w := newWorld(t)
	body := `{"application_id":"` + w.ws[0].ClientID + `","comment":"robot","lifetime_seconds":60}`
	doc := w.as(0, "POST", "/api/2.0/token-management/on-behalf-of/tokens", body).json(t)
	info, _ := doc["token_info"].(map[string]any)
	if info["created_by_username"] != w.ws[0].Admin || info["owner_id"] == info["created_by_id"] {
		t.Errorf("token %v", info)
	}
	value, _ := doc["token_value"].(string)
	me := w.do("GET", scimPath+"/Me", value, "").json(t)
	if me["userName"] != w.ws[0].ClientID {
		t.Errorf("the token acts as %v", me["userName"])
	}
}

func TestRevocationShutsTheTokenOut(t *testing.T) {
	w := newWorld(t)
	own := w.firstToken(0, "caller")
	if own.ID != sha256Hex(w.ws[0].Token) {
		t.Fatal("the admin's own token is not in the list")
	}
	if r := w.as(0, "DELETE", tokensPath+"/"+own.ID, ""); r.status != 200 || r.body != "{}" {
		t.Fatalf("delete: %d %s", r.status, r.body)
	}
	w.wantError(w.as(0, "GET", tokensPath, ""), 403, "403", "Invalid access token.")
}

func TestOwnersWhoCannotSignIn(t *testing.T) {
	tests := []struct {
		name   string
		change func(*world, string)
	}{
		{"deactivated", func(w *world, user string) {
			w.change(0, simulator.Change{User: &simulator.UserChange{Name: user, Active: new(bool)}})
		}},
		{"removed", func(w *world, user string) {
			w.change(0, simulator.Change{User: &simulator.UserChange{Name: user, Removed: true}})
		}},
		{"grant withdrawn", func(w *world, _ string) { w.change(0, simulator.Change{ACL: &[]simulator.Grant{}}) }},
		{"tokens switched off", func(w *world, _ string) {
			no := "False"
			w.change(0, simulator.Change{Conf: map[string]*string{"enableTokensConfig": &no}})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			bearer := w.ownTokenOf(0, "user004@example.com")
			if r := w.do("GET", scimPath+"/Me", bearer, ""); r.status != 200 {
				t.Fatalf("before: %d %s", r.status, r.body)
			}
			tt.change(w, "user004@example.com")
			w.wantError(w.do("GET", scimPath+"/Me", bearer, ""), 403, "403", "Invalid access token.")
		})
	}
}

// Tokens that are switched off by configuration stop PATs, keep every row, and
// come back; the separate state flag makes the API answer FEATURE_DISABLED.
func TestTokensSwitchedOff(t *testing.T) {
	w := newWorld(t)
	if r := w.as(0, "PATCH", confPath, `{"enableTokensConfig":"false"}`); r.status != 204 {
		t.Fatalf("patch: %d %s", r.status, r.body)
	}
	w.wantError(w.as(0, "GET", tokensPath, ""), 403, "403", "Invalid access token.")
	w.wantError(w.do("GET", tokensPath, "x", ""), 403, "403", "Invalid access token.")
	bearer := w.oauth(w.ws[0].ClientID, w.ws[0].ClientSecret)
	rows, _ := w.do("GET", tokensPath, bearer, "").json(t)["token_infos"].([]any)
	if len(rows) != 60 {
		t.Errorf("%d rows by OAuth", len(rows))
	}
	w.do("PATCH", confPath, bearer, `{"enableTokensConfig":"true"}`)
	if r := w.as(0, "GET", tokensPath, ""); r.status != 200 {
		t.Errorf("after switching on: %d %s", r.status, r.body)
	}
	w.change(0, simulator.Change{Tokens: "disabled"})
	w.wantError(w.as(0, "GET", tokensPath, ""), 404, "FEATURE_DISABLED", "")
	w.wantError(w.as(0, "DELETE", tokensPath+"/x", ""), 404, "FEATURE_DISABLED", "")
}

func (w *world) oauth(id, secret string) string {
	w.t.Helper()
	r := w.tokenRequest("/oidc/v1/token", id, secret, "grant_type=client_credentials&scope=all-apis")
	bearer, _ := r.json(w.t)["access_token"].(string)
	if bearer == "" {
		w.t.Fatalf("no access token: %s", r.body)
	}
	return bearer
}

func (w *world) tokenRequest(path, id, secret, form string) reply {
	req, _ := http.NewRequest("GET", w.url, nil)
	req.SetBasicAuth(id, secret)
	return w.do("POST", path, "", form, "Authorization", req.Header.Get("Authorization"), "Content-Type", "application/x-www-form-urlencoded")
}

func TestPatchToken(t *testing.T) {
	w := newWorld(t)
	tok := w.firstToken(0, "autoscope-running")
	path := tokensPath + "/" + tok.ID
	doc := w.as(0, "PATCH", path, `{"token":{"comment":"new","scopes":["sql"]},"update_mask":"comment,scopes"}`).json(t)
	if doc["comment"] != "new" || doc["autoscope_state"] != "AUTOSCOPE_STATE_USER_SELECTED" || doc["token_id"] != tok.ID {
		t.Errorf("answer %v", doc)
	}
	stored, _ := w.Token(w.ws[0].Name, tok.ID)
	if stored.Comment != "new" || len(stored.Scopes) != 1 || stored.ExpiryTime != tok.ExpiryTime {
		t.Errorf("stored %+v", stored)
	}
	w.wantError(w.as(0, "PATCH", path, `{"token":{},"update_mask":"expiry_time"}`), 400, "INVALID_PARAMETER_VALUE", "expiry_time")
	w.wantError(w.as(0, "PATCH", path, `{"token":{}}`), 400, "INVALID_PARAMETER_VALUE", "update_mask")
}

func TestWorkspaceConf(t *testing.T) {
	w := newWorld(t)
	get := func(query string) string { return confPath + "?keys=" + query }
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"strings and null", "GET", get("maxTokenLifetimeDays%2CenableWebTerminal"), "", 200, `{"enableWebTerminal":"true","maxTokenLifetimeDays":null}`},
		{"preview alias", "GET", "/api/2.0/preview/workspace-conf?keys=enableGp3", "", 200, `{"enableGp3":null}`},
		{"unknown keys fail the call", "GET", get("enableWebTerminal,k1,k2"), "", 400, `Invalid keys: [\"k1\",\"k2\"]`},
		{"no keys", "GET", confPath, "", 400, "keys"},
		{"verbatim", "PATCH", confPath, `{"enableGp3":"TRue"}`, 204, ""},
		{"verbatim echo", "GET", get("enableGp3"), "", 200, `{"enableGp3":"TRue"}`},
		{"unknown key", "PATCH", confPath, `{"nope":"1"}`, 400, `Invalid keys: [\"nope\"]`},
		{"reset", "PATCH", confPath, `{"maxTokenLifetimeDays":""}`, 400, `Some values are not allowed: {\"maxTokenLifetimeDays\":\"\"}`},
		{"too long", "PATCH", confPath, `{"maxTokenLifetimeDays":"731"}`, 400, "INVALID_REQUEST"},
		{"number", "PATCH", confPath, `{"maxTokenLifetimeDays":90}`, 400, "MALFORMED_REQUEST"},
		{"null", "PATCH", confPath, `{"enableWebTerminal":null}`, 400, `Some values are not allowed: {\"enableWebTerminal\":null}`},
		{"all or nothing", "PATCH", confPath, `{"enableWebTerminal":"false","enableGp3":""}`, 400, "enableGp3"},
		{"nothing was stored", "GET", get("enableWebTerminal"), "", 200, `"true"`},
		{"no limit", "PATCH", confPath, `{"maxTokenLifetimeDays":"0"}`, 204, ""},
	}
	for _, tt := range tests { // one after another: later ones read what earlier ones wrote
		t.Run(tt.name, func(t *testing.T) {
			w.wantError(w.as(0, tt.method, tt.path, tt.body), tt.status, "", tt.want)
		})
	}
}

func TestTokenPermissions(t *testing.T) {
	const admins = `{"group_name":"admins","permission_level":"CAN_MANAGE"}`
	list := func(entries ...string) string { return `{"access_control_list":[` + strings.Join(entries, ",") + `]}` }
	tests := []struct {
		name, method, body string
		status             int
		want               string
	}{
		{"levels in one entry", "GET", "", 200, `[{"all_permissions":[{"inherited":false,"permission_level":"CAN_MANAGE"},{"inherited":false,"permission_level":"CAN_USE"}],"group_name":"admins"}`},
		{"without admins", "PUT", list(`{"group_name":"users","permission_level":"CAN_USE"}`), 400, "Cannot change permissions for group 'admins' to None."},
		{"manage for others", "PATCH", list(`{"group_name":"users","permission_level":"CAN_MANAGE"}`), 400, "Only admins can be given CAN_MANAGE permission on tokens"},
		{"unknown level", "PATCH", list(`{"group_name":"users","permission_level":"CAN_FLY"}`), 400, "CAN_FLY"},
		{"two principals", "PATCH", list(`{"group_name":"users","user_name":"a","permission_level":"CAN_USE"}`), 400, "Exactly one"},
		{"unknown group", "PATCH", list(`{"group_name":"ghosts","permission_level":"CAN_USE"}`), 404, "GroupName(ghosts) does not exist"},
		{"merge", "PATCH", list(`{"group_name":"users","permission_level":"CAN_USE"}`), 200, `"group_name":"users"`},
		{"merge keeps the rest", "GET", "", 200, `"group_name":"data-engineers"`},
		{"replace", "PUT", list(admins), 200, `"group_name":"admins"`},
	}
	w := newWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.wantError(w.as(1, tt.method, aclPath, tt.body), tt.status, "", tt.want)
		})
	}
	if r := w.as(1, "GET", aclPath+"/permissionLevels", ""); !strings.Contains(r.body, `"Can use tokens"`) || !strings.Contains(r.body, `"Can use and modify permissions on tokens"`) {
		t.Errorf("levels: %s", r.body)
	}
	if got := w.Grants(w.ws[1].Name); len(got) != 0 {
		t.Errorf("after PUT of the admins alone: %+v", got)
	}
}

func TestTokenPermissionsMissing(t *testing.T) {
	tests := []struct {
		state   string
		code    string
		message string
	}{
		{simulator.GrantsNotInitialised, "RESOURCE_DOES_NOT_EXIST", "tokens tokens does not exist"},
		{simulator.GrantsDisabled, "FEATURE_DISABLED", ""},
	}
	for _, tt := range tests {
		t.Run(tt.state, func(t *testing.T) {
			w := newWorld(t)
			w.change(0, simulator.Change{Grants: tt.state})
			for _, call := range [][2]string{{"GET", aclPath}, {"PUT", aclPath}, {"PATCH", aclPath}, {"GET", aclPath + "/permissionLevels"}} {
				w.wantError(w.as(0, call[0], call[1], "{}"), 404, tt.code, tt.message)
			}
			if r := w.as(0, "GET", tokensPath, ""); r.status != 200 {
				t.Errorf("tokens: %d", r.status)
			}
		})
	}
	w := newWorld(t)
	w.change(0, simulator.Change{Grants: simulator.GrantsNotInitialised})
	w.as(0, "POST", "/api/2.0/token/create", `{"lifetime_seconds":60}`)
	if r := w.as(0, "GET", aclPath, ""); r.status != 200 {
		t.Errorf("the first PAT did not create the ACL: %s", r.body)
	}
}

// What was inherited, or left out, is explicit once it was written.
func TestWrittenGrantsAreExplicit(t *testing.T) {
	const admins = `{"all_permissions":[{"inherited":false,"permission_level":"CAN_MANAGE"}],"group_name":"admins"}`
	for _, entry := range []string{simulator.AdminsInherited, simulator.AdminsAbsent} {
		w := newWorld(t)
		w.change(0, simulator.Change{Admins: entry, ACL: &[]simulator.Grant{{GroupName: "users", Level: simulator.CanUse, Inherited: true}}})
		before := w.as(0, "GET", aclPath, "").body
		if strings.Contains(before, `"admins"`) != (entry == simulator.AdminsInherited) || !strings.Contains(before, `{"inherited":true,"inherited_from_object":["/authorization/"],"permission_level":"CAN_USE"}`) {
			t.Errorf("%s, before: %s", entry, before)
		}
		after := w.as(0, "PUT", aclPath, `{"access_control_list":[{"group_name":"admins","permission_level":"CAN_MANAGE"},{"group_name":"users","permission_level":"CAN_USE","inherited":true}]}`).body
		if strings.Count(after, admins) != 1 || strings.Contains(after, "true") || after != w.as(0, "GET", aclPath, "").body {
			t.Errorf("%s, after: %s", entry, after)
		}
	}
}

// Where there never was a token, there is no ACL, and nobody but admins may use one.
func TestGrantsMissWhereThereNeverWasAToken(t *testing.T) {
	for tokens, want := range map[int]int{0: 404, 60: 200} {
		w := newWorld(t, func(o *simulator.Options) { o.Workspaces, o.Tokens = 5, tokens })
		if r := w.as(4, "GET", aclPath, ""); r.status != want {
			t.Errorf("%d tokens: %d %s", tokens, r.status, r.body)
		}
	}
	w := newWorld(t)
	w.change(0, simulator.Change{Grants: simulator.GrantsNotInitialised})
	w.wantError(w.do("GET", scimPath+"/Me", w.ownTokenOf(0, "user004@example.com"), ""), 403, "403", "Invalid access token.")
}

func TestBothSpellingsOfNotFound(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.NotFound = simulator.NotFoundPlain })
	for range 2 {
		for _, call := range [][3]string{{"GET", tokensPath + "/x"}, {"DELETE", tokensPath + "/x"}, {"PATCH", tokensPath + "/x", "{}"}, {"POST", "/api/2.0/token/delete", `{"token_id":"x"}`}, {"PATCH", "/api/2.0/token/x", "{}"}} {
			w.wantError(w.as(0, call[0], call[1], call[2]), 404, `"NOT_FOUND"`, "Token with ID x does not exist.")
		}
		w.wantError(w.do("POST", "/_sim/state", "", `{"not_found":"GONE"}`), 400, "", "GONE")
	}
	w.change(0, simulator.Change{NotFound: simulator.NotFoundResource})
	w.wantError(w.as(0, "GET", tokensPath+"/x", ""), 404, `"RESOURCE_DOES_NOT_EXIST"`, "")
}

func TestSCIM(t *testing.T) {
	w := newWorld(t)
	names := func(path string) []string {
		doc := w.as(0, "GET", scimPath+path, "").json(t)
		rows, _ := doc["Resources"].([]any)
		var list []string
		for _, row := range rows {
			m, _ := row.(map[string]any)
			name, found := m["userName"].(string)
			if !found {
				name, _ = m["displayName"].(string)
			}
			list = append(list, name)
		}
		return list
	}
	tests := []struct{ name, path, want string }{
		{"eq ignores case", `/Users?filter=` + url.QueryEscape(`userName eq "USER001@example.com"`), "user001@example.com"},
		{"sw", `/Users?filter=` + url.QueryEscape(`userName sw "deactivated"`), "deactivated01@example.com deactivated02@example.com"},
		{"and", `/Users?filter=` + url.QueryEscape(`active eq false and userName co "01"`), "deactivated01@example.com"},
		{"or, parentheses, not", `/Users?filter=` + url.QueryEscape(`(userName eq "viewer@example.com" or userName eq "on.call@example.com") and not (userName sw "on")`), "viewer@example.com"},
		{"ne", `/Groups?filter=` + url.QueryEscape(`displayName ne "admins"`), "users platform-admins break-glass data-engineers ml-team 🤖"},
		{"pages", "/Users?startIndex=2&count=2", "viewer@example.com platform.lead@example.com"},
		{"past the end", "/Users?startIndex=1000", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(names(tt.path), " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	r := w.as(0, "GET", scimPath+"/Users?filter="+url.QueryEscape("userName like x"), "")
	w.wantError(r, 400, "invalidFilter", `"status":"400"`)
	if got := r.header.Get("Content-Type"); got != "application/scim+json" {
		t.Errorf("content type %q", got)
	}
	w.wantError(w.as(0, "GET", scimPath+"/Users/1", ""), 404, "Error", "not found")
}

func TestSCIMAttributes(t *testing.T) {
	w := newWorld(t)
	doc := w.as(0, "GET", scimPath+"/Groups?attributes=displayName&count=1", "").body
	if strings.Contains(doc, "members") || !strings.Contains(doc, "displayName") || !strings.Contains(doc, `"id"`) {
		t.Errorf("attributes: %s", doc)
	}
	doc = w.as(0, "GET", scimPath+"/Me?excludedAttributes=entitlements,groups.value", "").body
	if strings.Contains(doc, "entitlements") || strings.Contains(doc, "groups") {
		t.Errorf("excludedAttributes: %s", doc)
	}
}

func TestSCIMLeavesActiveOutWhereTold(t *testing.T) {
	w := newWorld(t)
	for _, user := range []string{"deactivated01@example.com", w.Workspaces()[0].ClientID} {
		w.change(0, simulator.Change{User: &simulator.UserChange{Name: user, Hide: true}})
	}
	missing := 0
	for _, kind := range []string{"/Users", "/ServicePrincipals"} {
		rows, _ := w.as(0, "GET", scimPath+kind, "").json(t)["Resources"].([]any)
		for _, row := range rows {
			m, _ := row.(map[string]any)
			if _, there := m["active"]; !there {
				missing++
			}
		}
	}
	if missing != 2 {
		t.Errorf("%d resources without active, want 2", missing)
	}
}

func TestAccountAPI(t *testing.T) {
	w := newWorld(t)
	base := "/api/2.0/accounts/" + w.ID()
	w.wantError(w.as(0, "GET", base+"/workspaces", ""), 403, "PERMISSION_DENIED", "personal access tokens")
	w.wantError(w.do("GET", base+"/workspaces", w.oauth(w.ws[0].ClientID, w.ws[0].ClientSecret), ""), 403, "PERMISSION_DENIED", "account admin")
	bearer := w.oauth(w.Credentials())
	r := w.do("GET", base+"/workspaces", bearer, "")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(r.body), &rows); err != nil || len(rows) != 2 || rows[0]["workspace_name"] != "prod-analytics" {
		t.Errorf("%v: %s", err, r.body)
	}
	w.wantError(w.do("GET", "/api/2.0/accounts/other/workspaces", bearer, ""), 404, "RESOURCE_DOES_NOT_EXIST", "other")
	// The account admin is an admin of every workspace, picked by header.
	r = w.do("GET", tokensPath, bearer, "", "X-Databricks-Workspace-Id", fmt.Sprint(w.ws[1].ID))
	if r.status != 200 || !strings.Contains(r.body, fmt.Sprint(w.ws[1].ID)) {
		t.Errorf("second workspace: %d", r.status)
	}
}

func TestOAuth(t *testing.T) {
	w := newWorld(t)
	ws := w.ws[1]
	const form = "grant_type=client_credentials&scope=all-apis"
	w.wantError(w.tokenRequest("/oidc/v1/token", ws.ClientID, "wrong", form), 401, "invalid_client", "")
	w.wantError(w.tokenRequest("/oidc/v1/token", ws.ClientID, ws.ClientSecret, "grant_type=password"), 400, "unsupported_grant_type", "password")
	w.wantError(w.tokenRequest("/oidc/accounts/"+w.ID()+"/v1/token", ws.ClientID, ws.ClientSecret, form), 200, "access_token", "")
	w.wantError(w.tokenRequest("/oidc/accounts/other/v1/token", ws.ClientID, ws.ClientSecret, form), 401, "invalid_client", "")
	post := form + "&client_id=" + ws.ClientID + "&client_secret=" + ws.ClientSecret
	w.wantError(w.do("POST", "/oidc/v1/token", "", post), 200, "access_token", "")
	me := w.do("GET", scimPath+"/Me", w.oauth(ws.ClientID, ws.ClientSecret), "")
	if me.header.Get("X-Databricks-Org-Id") != fmt.Sprint(ws.ID) {
		t.Errorf("the access token does not carry its workspace")
	}
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	doc := w.do("GET", "/.well-known/databricks-config", "", "").json(t)
	if _, there := doc["workspace_id"]; there || doc["oidc_endpoint"] != w.url+"/oidc" || doc["host_type"] != "workspace" {
		t.Errorf("two workspaces: %v", doc)
	}
	one := newWorld(t, func(o *simulator.Options) { o.Workspaces = 1 })
	doc = one.do("GET", "/.well-known/databricks-config", "", "").json(t)
	if doc["workspace_id"] != fmt.Sprint(one.ws[0].ID) || doc["cloud"] != "azure" {
		t.Errorf("one workspace: %v", doc)
	}
	server := w.do("GET", "/oidc/.well-known/oauth-authorization-server", "", "").json(t)
	if server["token_endpoint"] != w.url+"/oidc/v1/token" {
		t.Errorf("authorization server: %v", server)
	}
}

func TestRestrictWorkspaceAdmins(t *testing.T) {
	w := newWorld(t)
	set := func(etag, status string) string {
		return `{"allow_missing":true,"field_mask":"restrict_workspace_admins.status","setting":{"etag":"` + etag +
			`","restrict_workspace_admins":{"status":"` + status + `"}}}`
	}
	etag, _ := w.as(0, "GET", rwaPath, "").json(t)["etag"].(string)
	w.wantError(w.as(0, "PATCH", rwaPath, set("stale", simulator.RestrictTokensAndJobRuns)), 409, "RESOURCE_CONFLICT", etag)
	w.wantError(w.as(0, "PATCH", rwaPath, set(etag, "MAYBE")), 400, "INVALID_PARAMETER_VALUE", "MAYBE")
	w.wantError(w.do("PATCH", rwaPath, w.oauth(w.ws[0].ClientID, w.ws[0].ClientSecret), set(etag, simulator.AllowAll)), 403, "PERMISSION_DENIED", "account admins")
	w.wantError(w.as(0, "PATCH", rwaPath, set(etag, simulator.RestrictTokensAndJobRuns)), 200, simulator.RestrictTokensAndJobRuns, "etag")
	fresh, _ := w.as(0, "GET", rwaPath, "").json(t)["etag"].(string)
	w.wantError(w.as(0, "DELETE", rwaPath+"?etag="+etag, ""), 409, "RESOURCE_CONFLICT", fresh)
	w.wantError(w.as(0, "DELETE", rwaPath+"?etag="+fresh, ""), 200, "etag", "")
	if got := w.RestrictAdmins(w.ws[0].Name); got != simulator.AllowAll {
		t.Errorf("after delete: %s", got)
	}
}

func TestIPAccessLists(t *testing.T) {
	w := newWorld(t)
	if r := w.as(0, "GET", "/api/2.0/ip-access-lists", ""); r.body != `{"ip_access_lists":[]}` {
		t.Errorf("prod: %s", r.body)
	}
	lists, _ := w.as(1, "GET", "/api/2.0/ip-access-lists", "").json(t)["ip_access_lists"].([]any)
	if len(lists) != 2 {
		t.Errorf("dev: %v", lists)
	}
	w.wantError(w.as(1, "GET", "/api/2.0/ip-access-lists/nope", ""), 404, "RESOURCE_DOES_NOT_EXIST", "")
}

func TestRateLimit(t *testing.T) {
	w := newWorld(t, func(o *simulator.Options) { o.RateLimit = 3 })
	statuses := map[int]int{}
	for range 8 {
		r := w.as(0, "GET", tokensPath+"/x", "")
		statuses[r.status]++
		if r.status == 429 && (r.header.Get("Retry-After") != "1" || !strings.Contains(r.body, "REQUEST_LIMIT_EXCEEDED")) {
			t.Errorf("%v %s", r.header, r.body)
		}
	}
	if statuses[429] == 0 || statuses[404] < 3 {
		t.Errorf("statuses %v", statuses)
	}
	if r := w.as(0, "GET", scimPath+"/Me", ""); r.status != 200 {
		t.Errorf("other APIs are not limited: %d", r.status)
	}
	if r := w.as(1, "GET", tokensPath+"/x", ""); r.status != 404 {
		t.Errorf("other workspaces are not limited: %d", r.status)
	}
}

func FuzzSCIMFilter(f *testing.F) {
	for _, seed := range []string{`userName eq "x"`, `(a or b`, `not not active eq true`, `"`, `displayName pr`, strings.Repeat("(", 300)} {
		f.Add(seed)
	}
	a := simulator.New(simulator.Options{Now: frozen})
	f.Fuzz(func(t *testing.T, filter string) {
		r := serve(a, "GET", scimPath+"/Users?filter="+url.QueryEscape(filter), "x")
		if r.Code != 200 && r.Code != 400 {
			t.Errorf("status %d: %s", r.Code, r.Body)
		}
	})
}
