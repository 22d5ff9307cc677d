package collectors

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/databricks/databricks-sdk-go/client"
	"github.com/databricks/databricks-sdk-go/config"
	"github.com/databricks/databricks-sdk-go/logger"
	"github.com/databricks/databricks-sdk-go/service/sql"
	"github.com/google/go-cmp/cmp"

	"patrol/collectors/simulator"
	"patrol/engine"
)

// heard is a logger that wants everything, as somebody would set who debugs.
type heard struct {
	mu    sync.Mutex
	lines []string
}

func (*heard) Enabled(context.Context, logger.Level) bool { return true }

func (h *heard) note(_ context.Context, format string, values ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf(format, values...))
}

func (h *heard) Tracef(ctx context.Context, f string, v ...any) { h.note(ctx, f, v...) }
func (h *heard) Debugf(ctx context.Context, f string, v ...any) { h.note(ctx, f, v...) }
func (h *heard) Infof(ctx context.Context, f string, v ...any)  { h.note(ctx, f, v...) }
func (h *heard) Warnf(ctx context.Context, f string, v ...any)  { h.note(ctx, f, v...) }
func (h *heard) Errorf(ctx context.Context, f string, v ...any) { h.note(ctx, f, v...) }

// azureCommand is a directory with a command that stands in for the Azure CLI.
func azureCommand(t *testing.T) string {
	t.Helper()
	const script = "#!/bin/sh\necho '{\"accessToken\": \"none\", \"tokenType\": \"Bearer\", \"expiresOn\": \"2100-01-01 00:00:00.000000\"}'\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return dir
}

const listening = "PATROL_TEST_LISTENS"

// TestTheSDKSaysNothing, though all of its log is wanted and its headers too:
// each way to sign in, in a process of its own, because the SDK has one logger.
func TestTheSDKSaysNothing(t *testing.T) {
	account := simulator.New(simulator.Options{Seed: 1, Workspaces: 1, Tokens: 40})
	server := httptest.NewServer(account)
	t.Cleanup(server.Close)
	profile := Target{Profile: account.Workspaces()[0].Profile + "-oauth", ConfigFile: filepath.Join(t.TempDir(), "cfg")}
	id, secret := account.Credentials()
	ways := map[string]func() error{
		"check": func() error { return Check(t.Context(), []Target{profile}, Options{}) },
		"workspace": func() error {
			s, err := SignIn(t.Context(), profile, Options{})
			if err != nil {
				return err
			}
			return s.Close()
		},
		"account": func() error {
			t.Setenv("DATABRICKS_CLIENT_ID", id)
			t.Setenv("DATABRICKS_CLIENT_SECRET", secret)
			_, err := Discover(t.Context(), AccountTarget{Host: server.URL, AccountID: account.ID()}, Options{})
			return err
		},
		"azure": func() error {
			t.Setenv("PATH", azureCommand(t)+":/bin:/usr/bin")
			client, problem := AccountTarget{Azure: &AzureAccount{}}.signInAzure(t.Context(), Options{}.withDefaults(), nil)
			if problem == nil {
				problem = client.sign(t.Context(), &http.Request{Header: http.Header{}})
			}
			if problem != nil {
				return problem.error("sign in to", "azure")
			}
			return nil
		},
	}
	if way := os.Getenv(listening); way != "" {
		if err := os.WriteFile(profile.ConfigFile, []byte(account.ConfigFile(server.URL)), 0o600); err != nil {
			t.Fatal(err)
		}
		spy := &heard{}
		logger.DefaultLogger = spy
		if err := ways[way](); err != nil {
			t.Fatal(err)
		}
		if len(spy.lines) > 0 {
			t.Errorf("the SDK says %d lines, such as %q", len(spy.lines), spy.lines[len(spy.lines)-1])
		}
		return
	}
	for _, way := range engine.SortedKeys(ways) {
		t.Run(way, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheSDKSaysNothing$", "-test.v")
			cmd.Env = []string{
				listening + "=" + way, "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(),
				"DATABRICKS_DEBUG_HEADERS=true", "DATABRICKS_DEBUG_TRUNCATE_BYTES=100000",
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestTheSDKSaysNothing") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestDebugHeadersCannotBeSwitchedOn, nor checking certificates off: neither by
// the environment nor by a profile, however a target is named.
func TestDebugHeadersCannotBeSwitchedOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cfg")
	const bad = "host = https://workspace.example.com\ntoken = dapi-none\ndebug_headers = true\nskip_verify = true\n"
	if err := os.WriteFile(file, []byte("[DEFAULT]\n"+bad+"[named]\n"+bad), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]Target{
		"profile":    {Profile: "named", ConfigFile: file},
		"default":    {ConfigFile: file},
		"discovered": {Discovered: true, Profile: "named", ConfigFile: file, Host: "https://workspace.example.com", WorkspaceID: "1"},
		"account":    {Discovered: true, ConfigFile: file, Host: "https://workspace.example.com", WorkspaceID: "1"},
	} {
		for _, variable := range []string{"", "true", "1"} {
			t.Run(name+" "+variable, func(t *testing.T) {
				t.Setenv("DATABRICKS_DEBUG_HEADERS", variable)
				careless := &config.Config{Profile: target.Profile, ConfigFile: file, HostMetadataResolver: nobodyAsked}
				if err := careless.EnsureResolved(); err != nil || !careless.DebugHeaders || !careless.InsecureSkipVerify {
					t.Fatalf("the SDK alone does not switch them on: %v, %v, %v", careless.DebugHeaders, careless.InsecureSkipVerify, err)
				}
				cfg := &config.Config{Profile: target.Profile, ConfigFile: file, HostMetadataResolver: nobodyAsked, Loaders: loaders(target)}
				if err := cfg.EnsureResolved(); err != nil {
					t.Fatal(err)
				}
				if cfg.DebugHeaders || cfg.InsecureSkipVerify {
					t.Errorf("debug headers %v, certificates unchecked %v", cfg.DebugHeaders, cfg.InsecureSkipVerify)
				}
			})
		}
	}
}

func nobodyAsked(context.Context, string) (*config.HostMetadata, error) { return nil, nil }

type sentTo struct{ sent []string }

func (s *sentTo) RoundTrip(r *http.Request) (*http.Response, error) {
	s.sent = append(s.sent, r.Method+" "+r.URL.Path)
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
}

// TestOnlyOurQueriesAreSent: the client cannot be brought to send anything that
// changes a workspace, whoever calls it.
func TestOnlyOurQueriesAreSent(t *testing.T) {
	query := func(text string) string {
		body, err := json.Marshal(statement{Statement: text, WarehouseID: "w", Parameters: []parameter{{"days", "30", "INT"}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for _, test := range []struct {
		method, path, body string
		allowed            bool
	}{
		{"GET", "/api/2.0/token-management/tokens", "", true},
		{"POST", statementsPath, query(usageTokensSQL), true},
		{"POST", statementsPath, query(usageChangesSQL), true},
		{"POST", statementsPath, query("DROP TABLE t"), false},
		{"POST", statementsPath, query(usageTokensSQL + "; DROP TABLE t"), false},
		{"POST", statementsPath, strings.Replace(query(usageTokensSQL), "{", `{"catalog":"c",`, 1), false},
		{"POST", statementsPath, query(usageTokensSQL) + query("DROP TABLE t"), false},
		{"POST", statementsPath + "/1/cancel", query(usageTokensSQL), false},
		{"POST", statementsPath + "/01f0-1/cancel", "", true},
		{"POST", statementsPath + "/cancel", "", false},
		{"POST", statementsPath + "/1/2/cancel", "", false},
		{"POST", "/api/2.0/jobs/runs/1/cancel", "", false},
		{"POST", "/api/2.0/token/delete", query(usageTokensSQL), false},
		{"PUT", statementsPath, query(usageTokensSQL), false},
		{"DELETE", "/api/2.0/token-management/tokens/a", "", false},
		{"PATCH", "/api/2.0/workspace-conf", "{}", false},
	} {
		next := &sentTo{}
		request, err := http.NewRequestWithContext(t.Context(), test.method, "http://127.0.0.1"+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := readOnly{next}.RoundTrip(request)
		if err == nil {
			answer.Body.Close()
		}
		if (len(next.sent) == 1) != test.allowed || (err == nil) != test.allowed {
			t.Errorf("%s %s %s: sent %v, %v", test.method, test.path, test.body, next.sent, err)
		}
	}
}

// TestQueriesRead: no word of a query changes anything.
func TestQueriesRead(t *testing.T) {
	for _, query := range Queries() {
		for _, word := range strings.Fields(strings.ToUpper(query.SQL)) {
			switch strings.Trim(word, "(),;") {
			case "INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "DROP", "ALTER", "GRANT", "REVOKE", "COPY", "TRUNCATE", "SET", "CALL;", "USE":
				t.Errorf("%s says %s", query.Name, word)
			}
		}
		if strings.Contains(query.SQL, ";") {
			t.Errorf("%s is more than one statement", query.Name)
		}
	}
}

// TestStatementsAreAsTheSDKSendsThem: the vendor's own library asks for the same
// result with the same request.
func TestStatementsAreAsTheSDKSendsThem(t *testing.T) {
	t.Parallel()
	var bodies []map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == metadataPath {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var body map[string]any
		text, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != statementsPath || json.Unmarshal(text, &body) != nil {
			t.Errorf("%s %s %s", r.Method, r.URL.Path, text)
		}
		bodies = append(bodies, body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"statement_id":"1","status":{"state":"FAILED"}}`))
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	ours := newClient(Options{Usage: &Usage{Warehouse: "w"}}.withDefaults(), "test", base, http.DefaultTransport, &session{})
	if problem := ours.query(t.Context(), usageChanges, []parameter{{"days", "30", "INT"}, {"workspace_id", "7", "STRING"}}, func(record) error { return nil }); problem == nil || problem.Reason != reasonQueryFailed {
		t.Fatal(problem)
	}
	api, err := client.New(&config.Config{Host: server.URL, Token: "none", AuthType: "pat"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sql.NewStatementExecution(api).ExecuteStatement(t.Context(), sql.ExecuteStatementRequest{
		Statement: usageChangesSQL, WarehouseId: "w", WaitTimeout: "30s", OnWaitTimeout: sql.ExecuteStatementRequestOnWaitTimeoutContinue,
		Disposition: sql.DispositionInline, Format: sql.FormatJsonArray,
		Parameters: []sql.StatementParameterListItem{{Name: "days", Value: "30", Type: "INT"}, {Name: "workspace_id", Value: "7", Type: "STRING"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(bodies) != 2 || cmp.Diff(bodies[0], bodies[1]) != "" {
		t.Errorf("%d requests: %s", len(bodies), cmp.Diff(bodies[0], bodies[len(bodies)-1]))
	}
}
