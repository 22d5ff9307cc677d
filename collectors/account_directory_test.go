package collectors

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
)

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
