package collectors

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

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
