package collectors_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
)

const (
	accountFederation = "/api/2.0/accounts/*/federationPolicies$"
	spFederation      = "/api/2.0/accounts/*/servicePrincipals/"
	customApps        = "/api/2.0/accounts/*/oauth2/custom-app-integrations$"
	recipients        = "/api/2.1/unity-catalog/recipients$"
)

// waysWorld reads these sections with the account's credential beside.
func waysWorld(t *testing.T, o simulator.Options) *world {
	t.Helper()
	w := newWorld(t, o)
	account, err := collectors.Discover(t.Context(), collectors.AccountTarget{Profile: "account", ConfigFile: w.target("account").ConfigFile}, w.options)
	if err != nil {
		t.Fatal(err)
	}
	w.options.Account = &account
	w.options.Sections = []engine.SectionName{engine.SectionFederation, engine.SectionOAuthApps, engine.SectionRecipients}
	return w
}

func documentOf[T any](t *testing.T, o collectors.Outcome, name engine.SectionName) (rows []T) {
	t.Helper()
	if err := json.Unmarshal(o.Capture.Sections[name].Document, &rows); err != nil {
		t.Fatal(name, err)
	}
	return rows
}

func TestSignInWays(t *testing.T) {
	w := waysWorld(t, simulator.Options{Seed: 1, Tokens: 60, Workspaces: 2, MaxPage: 2})
	o := w.collect(w.admin())
	for _, name := range w.options.Sections {
		if c := w.coverage(o, name); !c.Complete() || c.Count == 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	policies := documentOf[engine.FederationPolicy](t, o, engine.SectionFederation)
	wide := slices.ContainsFunc(policies, func(p engine.FederationPolicy) bool { return strings.Contains(p.Subject, "*") && p.OwnerName != "" })
	if policies[0].OwnerID != "" || policies[0].Issuer != "https://login.example.com" || !wide {
		t.Errorf("%+v", policies)
	}
	apps := documentOf[engine.OAuthApp](t, o, engine.SectionOAuthApps)
	if len(apps) != 3 || !slices.ContainsFunc(apps, func(a engine.OAuthApp) bool { return a.RefreshTTL == 129600 && !a.SingleUse }) {
		t.Errorf("%+v", apps)
	}
	if got := documentOf[engine.Recipient](t, o, engine.SectionRecipients); len(got) != 3 || got[2].Tokens[0].Expires != 0 {
		t.Errorf("%+v", got)
	}
	if text := string(o.Capture.Sections[engine.SectionRecipients].Document); strings.Contains(text, "activate") {
		t.Errorf("a link to a token is kept: %s", text)
	}
	// Another workspace asks the account nothing more.
	asked := len(w.Requests())
	other := w.collect(w.target(w.Workspaces()[1].Profile))
	for _, r := range w.Requests()[asked:] {
		if strings.Contains(r.Path, "ederationPolicies") || strings.Contains(r.Path, "oauth2") {
			t.Errorf("asked again: %s", r.Path)
		}
	}
	if rows := documentOf[engine.FederationPolicy](t, other, engine.SectionFederation); len(rows) == 0 || rows[0].OwnerID != "" {
		t.Errorf("%+v", rows)
	}
	for _, r := range w.Writes() {
		t.Errorf("sent %s %s", r.Method, r.Path)
	}
}

func TestSignInWaysThatCannotBeRead(t *testing.T) {
	app := `{"integration_id":"a","scopes":["sql"],"token_access_policy":{"refresh_token_ttl_in_minutes":10}}`
	good := `{"uid":"f","oidc_policy":{"issuer":"https://a.example.com","subject":"s"}}`
	for name, test := range map[string]struct {
		section engine.SectionName
		fault   simulator.Fault
		status  engine.CoverageStatus
		reason  string
	}{
		"no policies":           {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 200, Body: `{}`}, engine.Complete, ""},
		"null":                  {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 200, Body: `null`}, engine.Implausible, "not_a_list"},
		"an error with 200":     {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 200, Body: `{"error_code":"INTERNAL_ERROR","message":"x"}`}, engine.Implausible, "not_a_list"},
		"no list":               {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 200, Body: `{"policies":{}}`}, engine.Implausible, "not_a_list"},
		"pages in circles":      {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 200, Body: `{"next_page_token":"again"}`}, engine.Implausible, "totals_differ"},
		"refused":               {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 403}, engine.Denied, "permission_denied"},
		"out of scope":          {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 403, Body: `{"error_code":"PERMISSION_DENIED","message":"missing the required scopes"}`}, engine.Denied, "missing_scope"},
		"no such API":           {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 404, Body: `{"error_code":"ENDPOINT_NOT_FOUND","message":"no API"}`}, engine.Disabled, "feature_disabled"},
		"broken":                {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 502}, engine.Failed, "server_error"},
		"refused in part":       {engine.SectionFederation, simulator.Fault{Path: spFederation, Status: 403, Skip: 1, Times: 1}, engine.Partial, "permission_denied"},
		"gone meanwhile":        {engine.SectionFederation, simulator.Fault{Path: spFederation, Status: 404, Times: 1, Body: `{"error_code":"NOT_FOUND","message":"gone"}`}, engine.Complete, ""},
		"no subject":            {engine.SectionFederation, simulator.Fault{Path: spFederation, Status: 200, Times: 1, Body: `{"policies":[{"uid":"f","oidc_policy":{"issuer":"https://a.example.com"}}]}`}, engine.Partial, "missing"},
		"of somebody else":      {engine.SectionFederation, simulator.Fault{Path: spFederation, Status: 200, Times: 1, Body: `{"policies":[{"service_principal_id":5,` + good[1:] + `]}`}, engine.Partial, "bad_type"},
		"no oidc":               {engine.SectionFederation, simulator.Fault{Path: spFederation, Status: 200, Times: 1, Body: `{"policies":[{"uid":"f"}]}`}, engine.Partial, "missing"},
		"app without lifetimes": {engine.SectionOAuthApps, simulator.Fault{Path: customApps, Status: 200, Body: `{"apps":[{"integration_id":"a","scopes":["sql"]}]}`}, engine.Partial, "missing"},
		"app of no length":      {engine.SectionOAuthApps, simulator.Fault{Path: customApps, Status: 200, Body: `{"apps":[{"integration_id":"a","scopes":["sql"],"token_access_policy":{"refresh_token_ttl_in_minutes":0}}]}`}, engine.Partial, "bad_type"},
		"apps refused":          {engine.SectionOAuthApps, simulator.Fault{Path: customApps, Status: 403}, engine.Denied, "permission_denied"},
		"no recipients":         {engine.SectionRecipients, simulator.Fault{Path: recipients, Status: 200, Body: `{}`}, engine.Complete, ""},
		"recipients refused":    {engine.SectionRecipients, simulator.Fault{Path: recipients, Status: 403}, engine.Denied, "permission_denied"},
		"not the metastore's":   {engine.SectionRecipients, simulator.Fault{Path: "/api/2.1/unity-catalog/metastore_summary$", Status: 200, Body: `{"owner":"somebody"}`}, engine.Partial, "only_own_recipients"},
		"no metastore":          {engine.SectionRecipients, simulator.Fault{Path: "/api/2.1/unity-catalog/metastore_summary$", Status: 404, Body: `{"error_code":"METASTORE_DOES_NOT_EXIST","message":"none"}`}, engine.Disabled, "feature_disabled"},
		"tokens left out":       {engine.SectionRecipients, simulator.Fault{Path: recipients, Status: 200, Body: `{"recipients":[{"name":"a","authentication_type":"TOKEN"}]}`}, engine.Partial, "missing"},
		"policy listed twice":   {engine.SectionFederation, simulator.Fault{Path: accountFederation, Status: 200, Body: `{"policies":[` + good + `,` + good + `]}`}, engine.Implausible, "duplicate_id"},
		"app listed twice":      {engine.SectionOAuthApps, simulator.Fault{Path: customApps, Status: 200, Body: `{"apps":[` + app + `,` + app + `]}`}, engine.Implausible, "duplicate_id"},
		"recipient twice":       {engine.SectionRecipients, simulator.Fault{Path: recipients, Status: 200, Body: `{"recipients":[{"name":"a","authentication_type":"DATABRICKS"},{"name":"a","authentication_type":"TOKEN","tokens":[]}]}`}, engine.Implausible, "duplicate_id"},
		"token of the future":   {engine.SectionRecipients, simulator.Fault{Path: recipients, Status: 200, Body: `{"recipients":[{"name":"a","authentication_type":"TOKEN","tokens":[{"id":"t","created_at":4102444800000}]}]}`}, engine.Partial, "bad_timestamp"},
		"ends before it begins": {engine.SectionRecipients, simulator.Fault{Path: recipients, Status: 200, Body: `{"recipients":[{"name":"a","authentication_type":"TOKEN","tokens":[{"id":"t","created_at":5,"expiration_time":3}]}]}`}, engine.Partial, "bad_type"},
	} {
		t.Run(name, func(t *testing.T) {
			w := waysWorld(t, simulator.Options{Seed: 1, Tokens: 20})
			w.AddFault(test.fault)
			if c := w.coverage(w.collect(w.admin()), test.section); c.Status != test.status || c.Reason != test.reason || !c.Complete() && c.Hint == "" {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestSignInWaysWithoutAccount: what only an account tells is not known without one.
func TestSignInWaysWithoutAccount(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 20})
	w.options.Sections = []engine.SectionName{engine.SectionFederation}
	if c := w.coverage(w.collect(w.admin()), engine.SectionFederation); c.Status != engine.Failed || c.Reason != "no_account" || !strings.Contains(c.Hint, "--account") {
		t.Errorf("%+v", c)
	}
}

// TestAuditorNeedsTheScopesOfCollectors: WS-007 tells an auditor the scopes that
// the sections of every audit need, and those of usage, and no others.
func TestAuditorNeedsTheScopesOfCollectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../policies/workspace/auditor_token.rego")
	if err != nil {
		t.Fatal(err)
	}
	metadata, _, _ := strings.Cut(string(text), "\npackage ")
	told := regexp.MustCompile(`[a-z-]+:(read|restricted-query)\b`).FindAllString(metadata, -1)
	var need []string
	for _, c := range collectors.All() {
		if c.OnRequest == "" || c.Section == engine.SectionAuditLog {
			need = append(need, c.Scopes...)
		}
	}
	slices.Sort(told)
	slices.Sort(need)
	if told, need = slices.Compact(told), slices.Compact(need); !slices.Equal(told, need) {
		t.Errorf("WS-007 names %v, the collectors need %v", told, need)
	}
}
