package simulator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"patrol/collectors/simulator"
	"patrol/engine/enginetest"
)

// Each contradiction changes the answers that it is about, with status 200.
func TestContradictions(t *testing.T) {
	enginetest.NotInRace(t)
	seen := map[string]bool{}
	for _, c := range simulator.Contradictions() {
		if seen[c.Name] || c.About == "" || len(c.Faults) == 0 {
			t.Errorf("%s: twice, or nothing is said of it", c.Name)
		}
		seen[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			w := newWorld(t, func(o *simulator.Options) { o.MaxPage = 30 })
			bearer := w.oauth(w.Credentials())
			sp := ""
			for _, u := range w.Users() { // one with several secrets
				path := "/api/2.0/accounts/" + w.ID() + "/servicePrincipals/" + fmt.Sprint(u.ID) + "/credentials/secrets"
				if u.Service && sp == "" && strings.Count(serve(w.Account, "GET", path, bearer).Body.String(), "secret_hash") > 2 {
					sp = fmt.Sprint(u.ID)
				}
			}
			read := func() string {
				var all strings.Builder
				get := func(bearer, path string) {
					r := serve(w.Account, "GET", path, bearer)
					if r.Code != 200 {
						t.Errorf("%s: %d %s", path, r.Code, r.Body)
					}
					fmt.Fprintln(&all, path, r.Header().Get("X-Databricks-Org-Id"), r.Body)
				}
				for _, who := range []string{w.ws[1].Token, w.oauth(w.ws[1].ClientID, w.ws[1].ClientSecret)} {
					for _, path := range []string{tokensPath, "/api/2.0/token/list", aclPath, "/api/2.0/ip-access-lists", rwaPath, "/api/2.1/unity-catalog/recipients", confPath + "?keys=maxTokenLifetimeDays",
						scimPath + "/Users?count=20", scimPath + "/Users?startIndex=21&count=20", scimPath + "/Groups?count=3", scimPath + "/Groups?startIndex=4",
						scimPath + "/ServicePrincipals?count=4", scimPath + "/ServicePrincipals?startIndex=5"} {
						get(who, path)
					}
				}
				base := "/api/2.0/accounts/" + w.ID()
				for _, path := range []string{"/workspaces", "/scim/v2/Users", "/scim/v2/Groups", "/scim/v2/ServicePrincipals", "/servicePrincipals/" + sp + "/credentials/secrets", "/federationPolicies", "/oauth2/custom-app-integrations"} {
					get(bearer, base+path)
				}
				return all.String()
			}
			before := read()
			where := ""
			list, _, _ := strings.Cut(c.Name, "/")
			if c.Name != "workspace/other-midway" && !slices.Contains([]string{"secrets", "federation-policies", "oauth-apps"}, list) && !strings.HasPrefix(c.Name, "account-") {
				where = w.ws[1].Name
			}
			if c.Name == "workspace/other-midway" {
				for i := range c.Faults {
					c.Faults[i].As = w.ws[0].Name
					w.AddFault(c.Faults[i])
				}
			} else {
				w.must(w.Contradict(c.Name, where))
			}
			if read() == before {
				t.Error("the answers are what they were")
			}
			w.ClearFaults()
			if c.Faults[0].Then == nil && read() != before {
				t.Error("the answers stay changed")
			}
		})
	}
	w := newWorld(t)
	w.wantError(w.do("POST", "/_sim/contradict", "", `{"name":"nothing/at-all"}`), 400, "INVALID_PARAMETER_VALUE", "nothing/at-all")
	if r := w.do("POST", "/_sim/contradict", "", `{"name":"tokens/none","workspace":"prod-analytics"}`); !strings.Contains(r.body, `"hide":["*"]`) {
		t.Errorf("armed: %s", r.body)
	}
	if r := w.do("GET", "/_sim/contradict", "", ""); !strings.Contains(r.body, `"users/removed-between-pages"`) {
		t.Errorf("list: %s", r.body)
	}
}

// What the edits of a fault make of an answer.
func TestFaultEdits(t *testing.T) {
	w := newWorld(t)
	own := w.firstToken(0, "caller").ID
	order := func(fault string) {
		w.ClearFaults()
		if r := w.do("POST", "/_sim/faults", "", fault); r.status != 200 {
			t.Fatalf("%s: %s", fault, r.body)
		}
	}
	rows := func(path, key string) []any {
		list, _ := w.as(0, "GET", path, "").json(t)[key].([]any)
		return list
	}
	all, users := len(rows(tokensPath, "token_infos")), len(rows(scimPath+"/Users", "Resources"))

	order(`{"path":"` + tokensPath + `$","hide":["token-in-use"]}`)
	if got := w.as(0, "GET", tokensPath, "").body; strings.Contains(got, own) || len(rows(tokensPath, "token_infos")) != all-1 {
		t.Error("the token in use is listed")
	}
	if r := w.as(0, "GET", tokensPath+"/"+own, ""); r.status != 200 {
		t.Errorf("single: %s", r.body)
	}
	order(`{"path":"` + scimPath + `/Users","hide":["caller","20%"],"skip":1}`)
	first := w.as(0, "GET", scimPath+"/Users", "").json(t)
	later := w.as(0, "GET", scimPath+"/Users", "").json(t)
	list, _ := later["Resources"].([]any)
	if fmt.Sprint(first["totalResults"]) != fmt.Sprint(users) || fmt.Sprint(later["totalResults"]) != fmt.Sprint(len(list)) || len(list) != (users-1)*80/100 {
		t.Errorf("%d users, then %v of %v of %d", users, len(list), later["totalResults"], users)
	}
	order(`{"path":"` + tokensPath + `","strip":["last_used_day","comment"],"set":{"next_page_token":"x"}}`)
	if got := w.as(0, "GET", tokensPath, "").body; strings.Contains(got, "last_used_day") || !strings.Contains(got, `"next_page_token":"x"`) {
		t.Errorf("stripped: %.200s", got)
	}
	order(`{"path":"` + scimPath + `/Users","first_page":true,"total":3}`)
	if page := w.as(0, "GET", scimPath+"/Users?startIndex=5&count=2", "").json(t); fmt.Sprint(page["startIndex"]) != "1" || fmt.Sprint(page["totalResults"]) != fmt.Sprint(users+3) {
		t.Errorf("page %v", page)
	}
	order(`{"path":"` + scimPath + `/Users","hide":["owners:20%"]}`)
	if n := len(rows(scimPath+"/Users", "Resources")); n >= users || n < users*3/4 {
		t.Errorf("%d of %d users", n, users)
	}
	order(`{"path":"` + confPath + `","twice":{"MaxTokenLifetimeDays":"30"}}`)
	if got := w.as(0, "GET", confPath+"?keys=maxTokenLifetimeDays", "").body; got != `{"maxTokenLifetimeDays":null,"MaxTokenLifetimeDays":"30"}` {
		t.Errorf("twice: %s", got)
	}
	order(`{"as":"dev-sandbox","skip":1}`)
	for _, i := range []int{0, 1} {
		if r := w.as(0, "GET", scimPath+"/Me", ""); r.header.Get("X-Databricks-Org-Id") != fmt.Sprint(w.ws[i].ID) {
			t.Errorf("call %d: %v", i+1, r.header)
		}
	}
	order(`{"path":"` + scimPath + `/Users","then":{"user":{"name":"user001@example.com","removed":true}},"times":1}`)
	if a, b := len(rows(scimPath+"/Users", "Resources")), len(rows(scimPath+"/Users", "Resources")); a != users || b != users-1 {
		t.Errorf("%d, then %d", a, b)
	}
	w.wantError(w.do("POST", "/_sim/faults", "", `{"then":{"usr":{}}}`), 400, "", "usr")
}
