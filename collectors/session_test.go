package collectors_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
)

// signedIn is a session with the first workspace of an account.
func signedIn(t *testing.T, account *simulator.Account, profile string) *collectors.Session {
	t.Helper()
	server := httptest.NewServer(account)
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "cfg")
	if err := os.WriteFile(file, []byte(account.ConfigFile(server.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := collectors.SignIn(t.Context(), collectors.Target{Profile: profile, ConfigFile: file}, collectors.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func sessionAccount() *simulator.Account {
	return simulator.New(simulator.Options{Seed: 1, Workspaces: 1, Tokens: 45, Now: time.Now})
}

// TestSendIsOneShot: whatever is answered, one request was sent, and the
// answer is handed on as it is.
func TestSendIsOneShot(t *testing.T) {
	t.Parallel()
	const path = "/api/2.0/token-management/tokens/"
	for name, fault := range map[string]simulator.Fault{
		"503":       {Status: 503},
		"429":       {Status: 429, Headers: map[string]string{"Retry-After": "1"}},
		"307":       {Status: 307, Headers: map[string]string{"Location": path + "elsewhere"}},
		"302":       {Status: 302, Headers: map[string]string{"Location": path + "elsewhere"}},
		"reset":     {Reset: true},
		"truncated": {Truncate: 1},
	} {
		t.Run(name, func(t *testing.T) {
			account := sessionAccount()
			s := signedIn(t, account, account.Workspaces()[0].Profile)
			fault.Method, fault.Path = http.MethodDelete, path
			account.AddFault(fault)
			account.ClearRequests()
			answer, err := s.Send(t.Context(), http.MethodDelete, path+"x", nil)
			if n := len(account.Requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
			if lost := fault.Reset || fault.Truncate > 0; lost != (err != nil) || !lost && answer.Status != fault.Status {
				t.Errorf("answered %d, %v", answer.Status, err)
			}
		})
	}
}

func TestSendTakesQueryAndBody(t *testing.T) {
	t.Parallel()
	account := sessionAccount()
	ws := account.Workspaces()[0]
	s := signedIn(t, account, ws.Profile)
	if _, err := s.Send(t.Context(), http.MethodPatch, "/api/2.0/workspace-conf", []byte(`{"maxTokenLifetimeDays":"30"}`)); err != nil {
		t.Fatal(err)
	}
	answer, err := s.Send(t.Context(), http.MethodGet, "/api/2.0/workspace-conf?keys=maxTokenLifetimeDays", nil)
	if err != nil || !strings.Contains(string(answer.Body), `"30"`) || answer.RequestID() == "" {
		t.Errorf("%s, %v", answer.Body, err)
	}
	for _, target := range []string{"https://elsewhere.example.com/api", "//elsewhere.example.com/x"} {
		if _, err := s.Send(t.Context(), http.MethodGet, target, nil); err == nil {
			t.Errorf("%s was asked", target)
		}
	}
}

func TestSessionTellsWhoCalls(t *testing.T) {
	t.Parallel()
	account := sessionAccount()
	ws := account.Workspaces()[0]
	admin, viewer, oauth := signedIn(t, account, ws.Profile).Caller(), signedIn(t, account, ws.Profile+"-viewer").Caller(), signedIn(t, account, ws.Profile+"-oauth").Caller()
	if !admin.Admin || admin.AuthType != "pat" || admin.ID == "" {
		t.Errorf("admin %+v", admin)
	}
	if _, known := account.Token(ws.Name, admin.TokenID); !known {
		t.Error("the token in use is not known")
	}
	if viewer.Admin {
		t.Errorf("viewer %+v", viewer)
	}
	if !oauth.Admin || oauth.TokenID != "" || oauth.Kind != "service_principal" {
		t.Errorf("oauth %+v", oauth)
	}
}

func TestSessionKeepsTheWorkspacesTime(t *testing.T) {
	t.Parallel()
	account := sessionAccount()
	account.Advance(-3 * time.Hour)
	s := signedIn(t, account, account.Workspaces()[0].Profile)
	if skew := s.Skew(); skew < 179*time.Minute || skew > 181*time.Minute {
		t.Errorf("skew %s", skew)
	}
	if d := s.Now().Sub(account.Now()).Abs(); d > 5*time.Second {
		t.Errorf("off by %s", d)
	}
}

func TestSessionReadsAfresh(t *testing.T) {
	t.Parallel()
	account := sessionAccount()
	ws := account.Workspaces()[0]
	s := signedIn(t, account, ws.Profile)
	for _, want := range []int{45, 44} {
		section, err := s.Tokens(t.Context())
		if err != nil || section.Coverage.Count != want {
			t.Fatalf("%d tokens, %v; want %d", section.Coverage.Count, err, want)
		}
		outcome := s.Capture(t.Context())
		if outcome.Err != nil || outcome.Capture.Sections["tokens"].Coverage.Count != want || !outcome.Capture.Sections["principals"].Coverage.Complete() {
			t.Errorf("captured %+v, %v", outcome.Capture.Sections["tokens"].Coverage, outcome.Err)
		}
		if want == 45 {
			if err := account.DeleteToken(ws.Name, account.Tokens(ws.Name)[7].ID); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSendElsewhere: the answer of another workspace is a fault of its own, and
// nothing more is sent.
func TestSendElsewhere(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 20, Workspaces: 1})
	s, err := collectors.SignIn(context.Background(), w.admin(), w.options)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w.AddFault(simulator.Fault{Method: "DELETE", Headers: map[string]string{"X-Databricks-Org-Id": "7"}})
	var fault *engine.Fault
	if _, err = s.Send(context.Background(), "DELETE", tokensPath+"/none", nil); !errors.As(err, &fault) || fault.Kind != engine.FaultWorkspace {
		t.Fatalf("DELETE: %v", err)
	}
	before := len(w.Requests())
	if _, err = s.Send(context.Background(), "GET", tokensPath, nil); !errors.As(err, &fault) || fault.Kind != engine.FaultWorkspace {
		t.Errorf("GET: %v", err)
	}
	if section, err := s.Tokens(context.Background()); err == nil || section.Coverage.Reason != "wrong_workspace" {
		t.Errorf("tokens: %+v, %v", section.Coverage, err)
	}
	if n := len(w.Requests()); n != before {
		t.Errorf("%d requests were sent after that", n-before)
	}
}
