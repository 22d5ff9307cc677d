package collectors

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
)

// TestWorkspaceHost: where a workspace of each cloud answers; a name that
// could lead elsewhere leads nowhere.
func TestWorkspaceHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		account, deployment, host string
		routed                    bool
	}{
		{"https://accounts.cloud.databricks.com", "dbc-a1b2c3d4-e5f6", "https://dbc-a1b2c3d4-e5f6.cloud.databricks.com", false},
		{"https://accounts.cloud.databricks.us", "dbc-a1b2c3d4-e5f6", "https://dbc-a1b2c3d4-e5f6.cloud.databricks.us", false},
		{"https://accounts-dod.cloud.databricks.mil", "gov", "https://gov.cloud.databricks.mil", false},
		{"https://accounts.azuredatabricks.net", "adb-1234567890123456.7", "https://adb-1234567890123456.7.azuredatabricks.net", false},
		{"https://accounts.azuredatabricks.us", "adb-1.7", "https://accounts.azuredatabricks.us", true}, // no domain that is known: ask the same host
		{"https://accounts.gcp.databricks.com", "1234567890123456.7", "https://1234567890123456.7.gcp.databricks.com", false},
		{"https://example.cloud.databricks.com", "ignored", "https://example.cloud.databricks.com", true},
		{"http://127.0.0.1:8080", "dbc-1", "http://127.0.0.1:8080", true},
		{"https://accounts.cloud.databricks.com", "", "", false},
		{"https://accounts.cloud.databricks.com", "evil.example.com/", "", false},
		{"https://accounts.cloud.databricks.com", "evil.example", "", false},
		{"https://accounts.cloud.databricks.com", "user@evil", "", false},
		{"https://accounts.cloud.databricks.com", "a:443#", "", false},
	} {
		account, err := url.Parse(test.account)
		if err != nil {
			t.Fatal(err)
		}
		host, routed := workspaceHost(account, test.deployment)
		if host != test.host || routed != test.routed {
			t.Errorf("workspaceHost(%s, %q) = %q, %v, want %q, %v", test.account, test.deployment, host, routed, test.host, test.routed)
		}
	}
}

// discoverFrom lists the workspaces of a server that signs in as the simulator
// does and answers the list with body.
func discoverFrom(t *testing.T, body string) (Account, error) {
	t.Helper()
	account := simulator.New(simulator.Options{Seed: 1})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body != "" && strings.HasSuffix(r.URL.Path, "/workspaces") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body)) // the reader tells
			return
		}
		account.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	id, secret := account.Credentials()
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("DATABRICKS_CLIENT_ID", id)
	t.Setenv("DATABRICKS_CLIENT_SECRET", secret)
	return Discover(t.Context(), AccountTarget{Host: server.URL, AccountID: account.ID()}, Options{})
}

func TestDiscover(t *testing.T) {
	account, err := discoverFrom(t, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(account.Workspaces) != 2 || account.Workspaces[0].ID >= account.Workspaces[1].ID {
		t.Fatalf("workspaces %+v, want both, by id", account.Workspaces)
	}
	for _, w := range account.Workspaces {
		if !w.Running() || w.Host != account.Host || !w.Routed || w.Tags["env"] == "" || w.Cloud == "" {
			t.Errorf("workspace %+v: want it running, with tags, on the same host", w)
		}
	}
}

// TestDiscoverRefuses: a list that is not understood whole is none, because
// what it hides would not be missed.
func TestDiscoverRefuses(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"wrapped":      {`{"workspaces": []}`, "workspaces"},
		"cut":          {`[{"workspace_id": 1}`, "workspaces"},
		"no object":    {`[7]`, "row 1: is no object"},
		"no id":        {`[{"workspace_id": 1}, {"workspace_name": "a"}]`, "row 2: has no workspace_id"},
		"id no number": {`[{"workspace_id": "one"}]`, "row 1: has no workspace_id"},
		"twice":        {`[{"workspace_id": 1}, {"workspace_id": "1"}]`, "row 2: workspace 1 is there twice"},
		"name":         {`[{"workspace_id": 1, "workspace_name": 2}]`, "workspace_name is no text"},
		"tags":         {`[{"workspace_id": 1, "custom_tags": {"a": 1}}]`, "custom_tags are no texts"},
	} {
		_, err := discoverFrom(t, test.body)
		known, ok := engine.AsError(err)
		if !ok || known.Class != engine.ClassIncomplete || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want an incomplete one that says %q", name, err, test.want)
		}
	}
}

// TestUnusualWorkspaces: ids pass 2^53, and what cannot be asked says why.
func TestUnusualWorkspaces(t *testing.T) {
	account, err := discoverFrom(t, `[{"workspace_id": 9007199254740993, "workspace_name": null, "workspace_status": "CANCELLING", "workspace_status_message": "on its way"}]`)
	if err != nil {
		t.Fatal(err)
	}
	target := account.Workspaces[0].Target(AccountTarget{})
	if target.WorkspaceID != "9007199254740993" || target.Label() != target.WorkspaceID {
		t.Errorf("target %+v: want the id whole, and as the name", target)
	}
	if want := "the account lists it as CANCELLING: on its way"; target.Unreadable != want {
		t.Errorf("unreadable %q, want %q", target.Unreadable, want)
	}
}

func TestAccountWantsOAuth(t *testing.T) {
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("DATABRICKS_TOKEN", "dapi-not-a-token")
	server := httptest.NewServer(simulator.New(simulator.Options{Seed: 1}))
	defer server.Close()
	_, err := Discover(t.Context(), AccountTarget{Host: server.URL}, Options{})
	if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassUsage || !strings.Contains(err.Error(), "takes no personal access token") {
		t.Errorf("error %v, want a usage error that asks for OAuth", err)
	}
}

// TestAccountIDsHaveAShape: an id becomes part of a path, and one that is none
// must not lead to another.
func TestAccountIDsHaveAShape(t *testing.T) {
	account := simulator.New(simulator.Options{Seed: 1})
	server := httptest.NewServer(account)
	defer server.Close()
	id, secret := account.Credentials()
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("DATABRICKS_CLIENT_ID", id)
	t.Setenv("DATABRICKS_CLIENT_SECRET", secret)
	for _, wrong := range []string{"../" + account.ID(), account.ID() + "/x", account.ID() + "?a=b", "a b", strings.Repeat("a", 65)} {
		_, err := Discover(t.Context(), AccountTarget{Host: server.URL, AccountID: wrong}, Options{})
		if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassUsage || !strings.Contains(err.Error(), "is none") {
			t.Errorf("%q: error %v, want a usage error", wrong, err)
		}
	}
}

// directoryFrom reads the directory of an account that answers the lists of
// these paths by itself.
func directoryFrom(t *testing.T, answers map[string]string) (*AccountDirectory, *simulator.Account) {
	t.Helper()
	account := simulator.New(simulator.Options{Seed: 1, Tokens: 40})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for ending, body := range answers {
			if strings.HasSuffix(r.URL.Path, "/scim/v2/"+ending) {
				w.Header().Set("Content-Type", "application/scim+json")
				_, _ = w.Write([]byte(body)) // the reader tells
				return
			}
		}
		account.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	id, secret := account.Credentials()
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("DATABRICKS_CLIENT_ID", id)
	t.Setenv("DATABRICKS_CLIENT_SECRET", secret)
	found, err := Discover(t.Context(), AccountTarget{Host: server.URL, AccountID: account.ID()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return found.ReadDirectory(t.Context()), account
}

func captureOf(status engine.CoverageStatus, principals []string, owners ...string) engine.Capture {
	var listed []engine.Principal
	for _, id := range principals {
		listed = append(listed, engine.Principal{ID: id})
	}
	return engine.Capture{Sections: map[engine.SectionName]engine.Section{
		engine.SectionPrincipals: {Coverage: engine.Coverage{Status: status}, Principals: listed},
		engine.SectionTokens: {Coverage: engine.Coverage{Status: engine.Complete}, Tokens: func(yield func(engine.Token, error) bool) {
			for _, owner := range owners {
				if !yield(engine.Token{OwnerID: owner, CreatorID: "1"}, nil) {
					return
				}
			}
		}},
	}}
}

func listedIn(t *testing.T, s engine.Section) (ids []string) {
	t.Helper()
	var listed engine.AccountPrincipals
	if err := json.Unmarshal(s.Document, &listed); err != nil {
		t.Fatal(err)
	}
	for _, p := range listed.Principals {
		ids = append(ids, p.ID+" "+p.Name)
	}
	return ids
}

const (
	someUsers    = `{"totalResults": 3, "Resources": [{"id": "1", "userName": "ann@example.com", "active": true}, {"id": "3", "userName": "cal@example.com"}, {"id": "2", "userName": "bob@example.com", "active": false}]}`
	someServices = `{"totalResults": 1, "Resources": [{"id": "4", "applicationId": "app", "active": true}]}`
)

// TestAccountDirectorySection: only whom tokens name and the workspace does not
// hold stands in a workspace's snapshot.
func TestAccountDirectorySection(t *testing.T) {
	d, _ := directoryFrom(t, map[string]string{"Users": someUsers, "ServicePrincipals": someServices})
	for name, test := range map[string]struct {
		capture engine.Capture
		want    []string
	}{
		"missing ones":       {captureOf(engine.Complete, []string{"1"}, "4", "2", "2", "9", ""), []string{"2 bob@example.com", "4 app"}},
		"creators":           {captureOf(engine.Complete, []string{"3"}, "3"), []string{"1 ann@example.com"}},
		"all are members":    {captureOf(engine.Complete, []string{"1", "2"}, "2"), nil},
		"nobody knows who":   {captureOf(engine.Partial, []string{"1"}, "2"), nil},
		"directory not read": {captureOf(engine.Denied, nil, "2"), nil},
	} {
		s, err := d.Section(test.capture)
		if got := listedIn(t, s); err != nil || !slices.Equal(got, test.want) || s.Coverage.Count != len(test.want) || !s.Coverage.Complete() {
			t.Errorf("%s: %v, %+v, %v; want %v", name, got, s.Coverage, err, test.want)
		}
	}
	if c := d.Coverage(); c.Count != 4 {
		t.Errorf("coverage %+v, want all four counted", c)
	}
}

// TestAccountDirectoryCoverage: half a directory says so, in one way for all
// workspaces.
func TestAccountDirectoryCoverage(t *testing.T) {
	for name, test := range map[string]struct {
		answers map[string]string
		status  engine.CoverageStatus
		reason  string
	}{
		"short":       {map[string]string{"Users": strings.Replace(someUsers, ": 3", ": 4", 1)}, engine.Implausible, reasonTotals},
		"no id":       {map[string]string{"Users": `{"totalResults": 1, "Resources": [{"userName": "ann@example.com"}]}`}, engine.Partial, reasonMissingID},
		"odd active":  {map[string]string{"Users": `{"totalResults": 1, "Resources": [{"id": "1", "active": "yes"}]}`}, engine.Partial, reasonBadType},
		"id of two":   {map[string]string{"Users": someUsers, "ServicePrincipals": strings.Replace(someServices, `"4"`, `"2"`, 1)}, engine.Partial, reasonDuplicateID},
		"no JSON":     {map[string]string{"ServicePrincipals": `<html>`}, engine.Failed, reasonBadBody},
		"breaking of": {map[string]string{"ServicePrincipals": `{"Resources": [`}, engine.Truncated, reasonTruncatedBody},
	} {
		d, _ := directoryFrom(t, test.answers)
		s, err := d.Section(captureOf(engine.Complete, nil, "2"))
		if err != nil || s.Coverage.Status != test.status || s.Coverage.Reason != test.reason || s.Coverage.Usable() != (s.Document != nil) {
			t.Errorf("%s: %+v, %v", name, s.Coverage, err)
		}
	}
}

// TestAccountContradictions: no list of the account is believed that contradicts
// itself. Rows that are gone with a total that agrees only the snapshot before tells.
func TestAccountContradictions(t *testing.T) {
	tested := 0
	for _, order := range simulator.Contradictions() {
		list, what, _ := strings.Cut(order.Name, "/")
		if what == "none" || what == "shrunk" || !slices.Contains([]string{"account-workspaces", "account-users", "account-service-principals"}, list) {
			continue
		}
		tested++
		account := simulator.New(simulator.Options{Seed: 1, Tokens: 40})
		server := httptest.NewServer(account)
		id, secret := account.Credentials()
		t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
		t.Setenv("DATABRICKS_CLIENT_ID", id)
		t.Setenv("DATABRICKS_CLIENT_SECRET", secret)
		if err := account.Contradict(order.Name, ""); err != nil {
			t.Fatal(err)
		}
		found, err := Discover(t.Context(), AccountTarget{Host: server.URL, AccountID: account.ID()}, Options{})
		if refused := err != nil; refused != (list == "account-workspaces") {
			t.Errorf("%s: %v, %d workspaces", order.Name, err, len(found.Workspaces))
		}
		if err == nil {
			if c := found.ReadDirectory(t.Context()).Coverage(); c.Status != engine.Implausible {
				t.Errorf("%s: %+v", order.Name, c)
			}
		}
		server.Close()
	}
	if tested < 12 {
		t.Errorf("%d contradictions", tested)
	}
}

// TestAccountDirectoryPages: all pages of a large directory arrive, under the
// limits that its endpoints have.
func TestAccountDirectoryPages(t *testing.T) {
	account := simulator.New(simulator.Options{Seed: 1, Tokens: 40, MaxPage: 20})
	server := httptest.NewServer(account)
	t.Cleanup(server.Close)
	id, secret := account.Credentials()
	t.Setenv("DATABRICKS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("DATABRICKS_CLIENT_ID", id)
	t.Setenv("DATABRICKS_CLIENT_SECRET", secret)
	found, err := Discover(t.Context(), AccountTarget{Host: server.URL, AccountID: account.ID()}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := found.client.accountDirectory()
	if l := c.pace.bucket(c.scim + "Users"); l.Limit() != accountSCIMPerSecond || l.Burst() != accountSCIMAtOnce {
		t.Errorf("limit %v, burst %d", l.Limit(), l.Burst())
	}
	if l := c.pace.bucket("/api/2.0/accounts/x/workspaces"); l.Limit() != unlisted {
		t.Errorf("limit of others %v", l.Limit())
	}
	begun := time.Now()
	d := found.ReadDirectory(t.Context())
	if c := d.Coverage(); !c.Complete() || c.Count <= 40 {
		t.Errorf("coverage %+v after %s", c, time.Since(begun))
	}
	calls := account.Counts()["GET /api/2.0/accounts/{account}/scim/v2/Users"]
	if calls < 2 || len(account.Users()) == 0 {
		t.Errorf("%d calls", calls)
	}
}

func TestAzureHasNoDirectory(t *testing.T) {
	t.Parallel()
	if d := (Account{}).ReadDirectory(t.Context()); d != nil {
		t.Error("there is nobody to ask")
	}
}
