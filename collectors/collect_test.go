package collectors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
)

const (
	tokensPath   = "/api/2.0/token-management/tokens"
	grantsPath   = "/api/2.0/permissions/authorization/tokens"
	settingsPath = "/api/2.0/workspace-conf"
	mePath       = "/api/2.0/preview/scim/v2/Me"
	usersPath    = "/api/2.0/preview/scim/v2/Users"
	groupsPath   = "/api/2.0/preview/scim/v2/Groups"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// world is a simulated account and what collection of it said.
type world struct {
	*simulator.Account
	t       *testing.T
	url     string
	config  string
	options collectors.Options

	mu     sync.Mutex
	slept  []time.Duration
	events []collectors.Event
}

func newWorld(t *testing.T, o simulator.Options) *world {
	t.Helper()
	o.Now = func() time.Time { return now }
	w := &world{Account: simulator.New(o), t: t}
	server := httptest.NewServer(w.Account)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.config = filepath.Join(t.TempDir(), "databrickscfg")
	if err := os.WriteFile(w.config, []byte(w.ConfigFile(server.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.options = collectors.Options{
		Now: func() time.Time { return now }, RequestRate: 10_000, SpoolDir: t.TempDir(), Jitter: func() float64 { return 0.5 },
		UserAgentVersion: "1.2.3",
		Sleep: func(ctx context.Context, d time.Duration) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.slept = append(w.slept, d)
			return ctx.Err()
		},
		Progress: func(e collectors.Event) { w.events = append(w.events, e) },
	}
	return w
}

// TestMain hides the machine's own configuration from the SDK.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "DATABRICKS_") || strings.HasPrefix(name, "ARM_") || strings.HasPrefix(name, "ACTIONS_ID_") {
			_ = os.Unsetenv(name) // it is there
		}
	}
	empty, err := os.MkdirTemp("", "patrol-collectors")
	if err == nil {
		err = errors.Join(os.Setenv("HOME", empty), os.Setenv("PATH", empty))
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(empty) // a leftover is harmless
	os.Exit(code)
}

func (w *world) target(profile string) collectors.Target {
	return collectors.Target{Profile: profile, ConfigFile: w.config}
}

func (w *world) admin() collectors.Target { return w.target(w.Workspaces()[0].Profile) }

// collect reads one target and closes its outcome at the end of the test.
func (w *world) collect(t collectors.Target) collectors.Outcome {
	w.t.Helper()
	var last collectors.Outcome
	n := 0
	for outcome := range collectors.Collect(context.Background(), []collectors.Target{t}, w.options) {
		last = outcome
		n++
		w.t.Cleanup(func() {
			if err := outcome.Close(); err != nil {
				w.t.Error(err)
			}
		})
	}
	if n != 1 {
		w.t.Fatalf("%d outcomes", n)
	}
	return last
}

func (w *world) coverage(o collectors.Outcome, name engine.SectionName) engine.Coverage {
	w.t.Helper()
	section, ok := o.Capture.Sections[name]
	if !ok {
		w.t.Fatalf("no section %s", name)
	}
	return section.Coverage
}

func tokensOf(t *testing.T, s engine.Section) []engine.Token {
	t.Helper()
	var all []engine.Token
	for token, err := range s.Tokens {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, token)
	}
	return all
}

func TestCollectWhole(t *testing.T) {
	t.Parallel()
	for _, int64Strings := range []bool{false, true} {
		for _, suffix := range []string{"", "-oauth"} {
			t.Run(fmt.Sprintf("strings=%v%s", int64Strings, suffix), func(t *testing.T) {
				w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60, Int64Strings: int64Strings})
				ws := w.Workspaces()[1]
				target := w.target(ws.Profile + suffix)
				target.Labels = map[string]string{"env": "test"}
				o := w.collect(target)
				if o.Err != nil {
					t.Fatal(o.Err)
				}
				for _, collector := range collectors.All() {
					c := w.coverage(o, collector.Section)
					if collector.OnRequest != "" {
						if c != engine.NotRequested(collector.OnRequest) {
							t.Errorf("%s, which nobody asked for: %+v", collector.Section, c)
						}
						continue
					}
					if !c.Complete() || c.Count == 0 {
						t.Errorf("%s: %+v", collector.Section, c)
					}
				}
				got := o.Capture.Workspace
				if got.ID != fmt.Sprint(ws.ID) || got.Name != ws.Profile+suffix || got.Host != w.url || got.Cloud != ws.Cloud || got.Labels["env"] != "test" {
					t.Errorf("workspace %+v, want %+v", got, ws)
				}
				if !o.Capture.CollectedAt.Equal(now) {
					t.Errorf("collected at %v", o.Capture.CollectedAt)
				}
				w.checkTokens(o, ws)
				w.checkCaller(o, suffix)
				for _, r := range w.Writes() {
					t.Errorf("sent %s %s", r.Method, r.Path)
				}
			})
		}
	}
}

func (w *world) checkTokens(o collectors.Outcome, ws simulator.Workspace) {
	w.t.Helper()
	principals := map[string]engine.Principal{}
	for _, p := range o.Capture.Sections[engine.SectionPrincipals].Principals {
		principals[p.ID] = p
	}
	want := map[string]simulator.Token{}
	for _, token := range w.Tokens(ws.Name) {
		want[token.ID] = token
	}
	got := tokensOf(w.t, o.Capture.Sections[engine.SectionTokens])
	if len(got) != len(want) || len(got) != w.coverage(o, engine.SectionTokens).Count {
		w.t.Errorf("%d tokens, want %d", len(got), len(want))
	}
	if !slices.IsSortedFunc(got, func(a, b engine.Token) int { return strings.Compare(a.ID, b.ID) }) {
		w.t.Error("tokens are not sorted")
	}
	for _, token := range got {
		sim := want[token.ID]
		if token.Comment != sim.Comment || token.OwnerID != fmt.Sprint(sim.OwnerID) || *token.Expires != sim.ExpiryTime || len(token.Defects) > 0 {
			w.t.Errorf("%s: got %+v, want %+v", sim.Kind, token, sim)
		}
		owner, known := principals[token.OwnerID]
		switch sim.Kind {
		case "departed-owner", "owner-outside-workspace":
			if known {
				w.t.Errorf("%s: owner %+v", sim.Kind, owner)
			}
		case "nested-admin-owner", "deep-nested-admin-owner":
			if !*owner.Admin {
				w.t.Errorf("%s: owner %+v", sim.Kind, owner)
			}
		case "deactivated-owner":
			if owner.Active == nil || *owner.Active {
				w.t.Errorf("%s: owner %+v", sim.Kind, owner)
			}
		}
	}
}

func (w *world) checkCaller(o collectors.Outcome, suffix string) {
	w.t.Helper()
	var document struct {
		Caller struct {
			Name     string `json:"name"`
			Kind     string `json:"kind"`
			Admin    bool   `json:"admin"`
			AuthType string `json:"auth_type"`
		} `json:"caller"`
	}
	raw := o.Capture.Sections[engine.SectionWorkspace].Document
	if err := json.Unmarshal(raw, &document); err != nil {
		w.t.Fatal(err)
	}
	want := map[string]string{"": "user pat", "-oauth": "service_principal oauth-m2m"}[suffix]
	if c := document.Caller; c.Kind+" "+c.AuthType != want || !c.Admin || c.Name == "" {
		w.t.Errorf("workspace document %s", raw)
	}
}

func TestCollectTwiceIsEqual(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 3, Tokens: 50})
	a, b := w.collect(w.admin()), w.collect(w.admin())
	for name, section := range a.Capture.Sections {
		other := b.Capture.Sections[name]
		if string(section.Document) != string(other.Document) || fmt.Sprint(section.Principals) == "" || len(section.Principals) != len(other.Principals) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestFaults orders a fault for one section and expects one coverage, and all
// other sections whole.
func TestFaults(t *testing.T) {
	t.Parallel()
	apiErr := func(code, message string) string {
		return fmt.Sprintf(`{"error_code":%q,"message":%q}`, code, message)
	}
	html := map[string]string{"Content-Type": "text/html"}
	for name, test := range map[string]struct {
		fault   simulator.Fault
		section engine.SectionName
		status  engine.CoverageStatus
		reason  string
	}{
		"tokens forbidden":       {simulator.Fault{Path: tokensPath, Status: 403, Body: apiErr("PERMISSION_DENIED", "Requesting user 'x' is not an admin.")}, "tokens", engine.Denied, "permission_denied"},
		"tokens off":             {simulator.Fault{Path: tokensPath, Status: 404, Body: apiErr("FEATURE_DISABLED", "Tokens are off")}, "tokens", engine.Disabled, "feature_disabled"},
		"tokens off, old text":   {simulator.Fault{Path: tokensPath, Status: 404, Body: apiErr("", "requested feature is not available")}, "tokens", engine.Disabled, "feature_disabled"},
		"tokens not found":       {simulator.Fault{Path: tokensPath, Status: 404, Body: apiErr("ENDPOINT_NOT_FOUND", "No API found")}, "tokens", engine.Failed, "not_found"},
		"tokens do not exist":    {simulator.Fault{Path: tokensPath, Status: 404, Body: apiErr("RESOURCE_DOES_NOT_EXIST", "?")}, "tokens", engine.Failed, "not_found"},
		"throttled for good":     {simulator.Fault{Path: tokensPath, Status: 429}, "tokens", engine.Failed, "rate_limited"},
		"throttled as 500":       {simulator.Fault{Path: usersPath, Status: 500, Body: `{"detail":"REQUEST_LIMIT_EXCEEDED: slow down","status":"500"}`}, "principals", engine.Failed, "rate_limited"},
		"server error":           {simulator.Fault{Path: tokensPath, Status: 503}, "tokens", engine.Failed, "server_error"},
		"redirect":               {simulator.Fault{Path: tokensPath, Status: 302, Headers: map[string]string{"Location": "https://elsewhere.example.com/login"}}, "tokens", engine.Failed, "redirect"},
		"redirect 308":           {simulator.Fault{Path: grantsPath, Status: 308, Headers: map[string]string{"Location": "/x"}}, "grants", engine.Failed, "redirect"},
		"login page":             {simulator.Fault{Path: tokensPath, Status: 200, Body: "<html>sign in</html>", Headers: html}, "tokens", engine.Failed, "bad_body"},
		"login page as json":     {simulator.Fault{Path: grantsPath, Status: 200, Body: "<html>sign in</html>"}, "grants", engine.Failed, "bad_body"},
		"trailing garbage":       {simulator.Fault{Path: tokensPath, Status: 200, Body: `{"token_infos":[]}garbage`}, "tokens", engine.Failed, "bad_body"},
		"truncated":              {simulator.Fault{Path: tokensPath, Truncate: 700}, "tokens", engine.Truncated, "truncated_body"},
		"truncated cleanly":      {simulator.Fault{Path: tokensPath, Truncate: 700, Chunked: true}, "tokens", engine.Truncated, "truncated_body"},
		"truncated, value whole": {simulator.Fault{Path: tokensPath, Status: 200, Body: `{"token_infos":[]}   `, Truncate: 19}, "tokens", engine.Truncated, "truncated_body"},
		"reset":                  {simulator.Fault{Path: tokensPath, Reset: true}, "tokens", engine.Failed, "unreachable"},
		"odd status":             {simulator.Fault{Path: grantsPath, Status: 418}, "grants", engine.Failed, "unexpected_status"},
		"grants never made":      {simulator.Fault{Path: grantsPath, Status: 404, Body: apiErr("RESOURCE_DOES_NOT_EXIST", "tokens tokens does not exist")}, "grants", engine.Implausible, "tokens_of_non_admins"},
		"grants off":             {simulator.Fault{Path: grantsPath, Status: 404, Body: apiErr("FEATURE_DISABLED", "ACLs are off")}, "grants", engine.Disabled, "feature_disabled"},
		"grants without a list":  {simulator.Fault{Path: grantsPath, Status: 200, Body: `{}`}, "grants", engine.Implausible, "not_a_list"},
		"settings forbidden":     {simulator.Fault{Path: settingsPath, Status: 403, Body: apiErr("PERMISSION_DENIED", "admins only")}, "settings", engine.Denied, "permission_denied"},
		"settings broken":        {simulator.Fault{Path: settingsPath, Status: 502}, "settings", engine.Failed, "server_error"},
		"groups forbidden":       {simulator.Fault{Path: groupsPath, Status: 403}, "groups", engine.Denied, "permission_denied"},
		"who am I broken":        {simulator.Fault{Path: mePath, Status: 500}, "workspace", engine.Failed, "server_error"},
		"another row":            {simulator.Fault{Path: tokensPath, Status: 200, Body: `{"token_infos":[{"token_id":"a"}]}`}, "tokens", engine.Implausible, "own_token_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
			w.AddFault(test.fault)
			o := w.collect(w.admin())
			if o.Err != nil {
				t.Errorf("error %v", o.Err)
			}
			for _, collector := range collectors.All() {
				c := w.coverage(o, collector.Section)
				if collector.Section != test.section {
					if c.Requested() && !c.Complete() {
						t.Errorf("%s suffers: %+v", collector.Section, c)
					}
					continue
				}
				if c.Status != test.status || c.Reason != test.reason || c.Detail == "" || c.Hint == "" {
					t.Errorf("%s: %+v", collector.Section, c)
				}
			}
		})
	}
}

// TestStops covers what makes every further call pointless.
func TestStops(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault  simulator.Fault
		status engine.CoverageStatus
		reason string
	}{
		"401 at once": {simulator.Fault{Path: "/api", Status: 401}, engine.Denied, "unauthenticated"},
		"bad token":   {simulator.Fault{Path: "/api", Status: 403, Body: `{"error_code":403,"message":"Invalid access token."}`}, engine.Denied, "invalid_token"},
		"ip list":     {simulator.Fault{Path: "/api", Status: 403, Body: `{"error_code":"PERMISSION_DENIED","message":"Source IP address: 192.0.2.1 is blocked by Databricks IP ACL for workspace: 1"}`}, engine.Denied, "ip_blocked"},
		"401 midway":  {simulator.Fault{Path: "/api", Skip: 3, Status: 401}, engine.Denied, "unauthenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40, Workspaces: 1})
			w.AddFault(test.fault)
			o := w.collect(w.admin())
			var failure *engine.Error
			if !errors.As(o.Err, &failure) || failure.Class != engine.ClassIncomplete || failure.Reason != test.reason || failure.Hint == "" {
				t.Fatalf("error %#v", o.Err)
			}
			c := w.coverage(o, engine.SectionGrants)
			if c.Status != test.status || c.Reason != test.reason {
				t.Errorf("grants %+v", c)
			}
			midway := test.fault.Skip > 0
			if w.coverage(o, engine.SectionTokens).Complete() != midway {
				t.Errorf("tokens %+v", w.coverage(o, engine.SectionTokens))
			}
			if o.Capture.Workspace.ID == "" {
				t.Error("the id that the host tells to anybody is lost")
			}
			asked := map[string]int{}
			for _, r := range w.Requests() {
				asked[r.Path]++
			}
			for path, n := range asked { // what is read at once may find out at once, each by one call
				if n > 1 {
					t.Errorf("%s is asked %d times after a hopeless start", path, n)
				}
			}
			if !midway && len(asked) > 3 {
				t.Errorf("requests after a hopeless start: %v", asked)
			}
		})
	}
}

func TestRetriesHonourTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	w.AddFault(simulator.Fault{Path: tokensPath, Status: 429, Headers: map[string]string{"Retry-After": "7"}, Times: 1})
	w.AddFault(simulator.Fault{Path: tokensPath, Status: 429, Headers: map[string]string{"Retry-After": now.Add(90 * time.Second).Format(http.TimeFormat)}, Times: 1})
	w.AddFault(simulator.Fault{Path: tokensPath, Status: 503, Times: 2})
	o := w.collect(w.admin())
	if c := w.coverage(o, engine.SectionTokens); !c.Complete() {
		t.Fatalf("%+v", c)
	}
	want := []time.Duration{7 * time.Second, 90 * time.Second, 2 * time.Second, 4 * time.Second} // then half of 4 s and 8 s
	if !slices.Equal(w.slept, want) {
		t.Errorf("slept %v, want %v", w.slept, want)
	}
	retries := 0
	for _, e := range w.events {
		if e.Kind == collectors.EventRetry && e.Section == engine.SectionTokens {
			retries++
		}
	}
	if retries != 4 {
		t.Errorf("%d retry events", retries)
	}
}

func TestBudgetEndsWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	w.options.RetryBudget = 10 * time.Second
	w.AddFault(simulator.Fault{Path: tokensPath, Status: 429, Headers: map[string]string{"Retry-After": "3600"}})
	w.AddFault(simulator.Fault{Path: grantsPath, Status: 503})
	o := w.collect(w.admin())
	if c := w.coverage(o, engine.SectionTokens); c.Reason != "rate_limited" {
		t.Errorf("%+v", c)
	}
	var total time.Duration
	for _, d := range w.slept {
		total += d
	}
	if total > 10*time.Second {
		t.Errorf("slept %v", w.slept)
	}
}

func TestSilentServerTimesOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	w.options.IdleTimeout = time.Second // all else has answered by then, however busy the machine
	w.AddFault(simulator.Fault{Path: grantsPath, Delay: time.Minute})
	if c := w.coverage(w.collect(w.admin()), engine.SectionGrants); c.Status != engine.Failed || c.Reason != "timeout" {
		t.Errorf("%+v", c)
	}
}

func TestDeadHostsFailFast(t *testing.T) {
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, host := range map[string]string{
		"refused":           "http://127.0.0.1:9", // the port of a server that was closed may be another's by now
		"no such name":      "https://workspace.invalid",
		"unknown authority": tls.URL,
		"no handshake":      "https://" + silent.Addr().String(),
		"no tls":            strings.Replace(plain.URL, "http", "https", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DATABRICKS_TOKEN", "dapi"+strings.Repeat("0", 32))
			start := time.Now()
			for o := range collectors.Collect(context.Background(), []collectors.Target{{Host: host}}, collectors.Options{ConnectTimeout: 500 * time.Millisecond}) {
				failure, ok := engine.AsError(o.Err)
				if !ok || failure.Reason != "unreachable" || failure.Hint == "" {
					t.Errorf("%#v", o.Err)
				}
				if len(o.Capture.Sections) != len(collectors.All()) || o.Capture.Sections[engine.SectionTokens].Coverage.Reason != "unreachable" {
					t.Errorf("sections %+v", o.Capture.Sections)
				}
			}
			if took := time.Since(start); took > 20*time.Second { // with the usual pauses it would be minutes
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestCAFile(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	server := httptest.NewTLSServer(w.Account)
	defer server.Close()
	w.options.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, w.options.CAFile, server.Certificate().Raw)
	t.Setenv("DATABRICKS_TOKEN", w.Workspaces()[0].Token)
	if o := w.collect(collectors.Target{Host: server.URL}); o.Err != nil {
		t.Error(o.Err)
	}
	w.options.CAFile = w.config
	if failure, _ := engine.AsError(w.collect(collectors.Target{Host: server.URL}).Err); failure == nil || failure.Class != engine.ClassUsage {
		t.Errorf("%v", failure)
	}
}

func TestConfigurationProblems(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	profile := w.Workspaces()[0].Profile
	for name, test := range map[string]struct {
		target collectors.Target
		env    map[string]string
		reason string
	}{
		"unknown profile": {w.target("nobody"), nil, "config"},
		"no such file":    {collectors.Target{Profile: "x", ConfigFile: "/nonexistent/cfg"}, map[string]string{"DATABRICKS_HOST": w.url, "DATABRICKS_TOKEN": "x12345"}, "config"},
		"nothing at all":  {collectors.Target{}, nil, "config"},
		"plain http":      {collectors.Target{Host: "http://workspace.example.com"}, map[string]string{"DATABRICKS_TOKEN": "x12345"}, "insecure_host"},
		"other host":      {collectors.Target{Profile: profile, ConfigFile: w.config, Host: "https://elsewhere.example.com"}, nil, "config"},
		"two ways":        {collectors.Target{Host: w.url}, map[string]string{"DATABRICKS_TOKEN": "x12345", "DATABRICKS_CLIENT_ID": "a", "DATABRICKS_CLIENT_SECRET": "bcdefg"}, "config"},
		"no credential":   {collectors.Target{Host: w.url}, nil, "no_credentials"},
		"wrong secret":    {collectors.Target{Host: w.url}, map[string]string{"DATABRICKS_CLIENT_ID": "a", "DATABRICKS_CLIENT_SECRET": "bcdefg"}, "unauthenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range test.env {
				t.Setenv(key, value)
			}
			o := w.collect(test.target)
			failure, ok := engine.AsError(o.Err)
			if !ok || failure.Reason != test.reason || failure.Hint == "" {
				t.Errorf("%#v", o.Err)
			}
			if strings.Contains(fmt.Sprint(o.Err, o.Capture.Sections), "bcdefg") {
				t.Error("a secret shows")
			}
		})
	}
}

func TestWrongWorkspaceIsRefused(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Header.Del("X-Databricks-Workspace-Id") // a host that does not route by it
		w.ServeHTTP(rw, r)
	}))
	defer server.Close()
	t.Setenv("DATABRICKS_TOKEN", w.Workspaces()[0].Token)
	t.Setenv("DATABRICKS_WORKSPACE_ID", fmt.Sprint(w.Workspaces()[1].ID))
	o := w.collect(collectors.Target{Host: server.URL})
	if failure, ok := engine.AsError(o.Err); !ok || failure.Reason != "wrong_workspace" {
		t.Errorf("%#v", o.Err)
	}
	if c := w.coverage(o, engine.SectionTokens); c.Reason != "wrong_workspace" {
		t.Errorf("%+v", c)
	}
}

// TestNamedProfileWins: the environment must not make several profiles read
// one workspace, and must still serve where nothing is named.
func TestNamedProfileWins(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	first, second := w.Workspaces()[0], w.Workspaces()[1]
	t.Setenv("DATABRICKS_HOST", w.url)
	t.Setenv("DATABRICKS_TOKEN", first.Token)
	t.Setenv("DATABRICKS_AUTH_TYPE", "pat")
	for _, profile := range []string{second.Profile, second.Profile + "-oauth"} {
		if o := w.collect(w.target(profile)); o.Capture.Workspace.ID != fmt.Sprint(second.ID) || o.Err != nil {
			t.Errorf("%s: %+v, %v", profile, o.Capture.Workspace, o.Err)
		}
	}
	if o := w.collect(collectors.Target{}); o.Capture.Workspace.ID != fmt.Sprint(first.ID) || o.Err != nil {
		t.Errorf("environment: %+v, %v", o.Capture.Workspace, o.Err)
	}
}

func TestViewerSeesWhatItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	o := w.collect(w.target(w.Workspaces()[0].Profile + "-viewer"))
	if c := w.coverage(o, engine.SectionTokens); c.Status != engine.Denied || c.Reason != "permission_denied" {
		t.Errorf("tokens %+v", c)
	}
	if c := w.coverage(o, engine.SectionWorkspace); !c.Complete() {
		t.Errorf("workspace %+v", c)
	}
}

func TestManyTargetsInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40, Workspaces: 6, Latency: 2 * time.Millisecond})
	var targets []collectors.Target
	for _, ws := range w.Workspaces() {
		targets = append(targets, w.target(ws.Profile))
	}
	targets = slices.Insert(targets, 2, w.target("nobody"))
	i := 0
	for o := range collectors.Collect(context.Background(), targets, w.options) {
		if o.Target.Profile != targets[i].Profile || (o.Err != nil) != (i == 2) {
			t.Errorf("%d: %s, %v", i, o.Target.Profile, o.Err)
		}
		if i != 2 && len(tokensOf(t, o.Capture.Sections[engine.SectionTokens])) != 40 {
			t.Errorf("%d: tokens", i)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		i++
	}
	if i != len(targets) {
		t.Errorf("%d outcomes", i)
	}
	for range collectors.Collect(context.Background(), targets, w.options) {
		break // must neither hang nor leak
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	ctx, cancel := context.WithCancel(context.Background())
	w.options.Progress = func(e collectors.Event) {
		if e.Kind == collectors.EventStarted && e.Section == engine.SectionPrincipals {
			cancel()
		}
	}
	for o := range collectors.Collect(ctx, []collectors.Target{w.admin(), w.target(w.Workspaces()[1].Profile)}, w.options) {
		failure, ok := engine.AsError(o.Err)
		if !ok || failure.Reason != "interrupted" {
			t.Errorf("%#v", o.Err)
		}
		if c := w.coverage(o, engine.SectionGrants); c.Reason != "interrupted" {
			t.Errorf("%+v", c)
		}
		o.Close()
	}
}

func TestClockSkewIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	w.Advance(-20 * time.Minute)
	o := w.collect(w.admin())
	if !o.Capture.CollectedAt.Equal(now.Add(-20 * time.Minute)) {
		t.Errorf("collected at %v", o.Capture.CollectedAt)
	}
	if !slices.ContainsFunc(w.events, func(e collectors.Event) bool { return e.Reason == "clock_skew" }) {
		t.Error("no warning")
	}
}

func TestSpoolsGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Workspaces: 1, Tokens: 30_000})
	for o := range collectors.Collect(context.Background(), []collectors.Target{w.admin()}, w.options) {
		if n := files(t, w.options.SpoolDir); n != 0 && runtime.GOOS != "windows" {
			t.Errorf("%d files that a kill would leave", n)
		}
		if n := len(tokensOf(t, o.Capture.Sections[engine.SectionTokens])); n != 30_000 {
			t.Errorf("%d tokens", n)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
	w.AddFault(simulator.Fault{Path: tokensPath, Truncate: 9 << 20})
	for o := range collectors.Collect(context.Background(), []collectors.Target{w.admin()}, w.options) {
		if c := w.coverage(o, engine.SectionTokens); c.Status != engine.Truncated {
			t.Errorf("%+v", c)
		}
	}
	if n := files(t, w.options.SpoolDir); n != 0 {
		t.Errorf("%d files left", n)
	}
}

func files(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestUserAgent(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	agents := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		agents[r.Header.Get("User-Agent")] = true
		w.mu.Unlock()
		w.ServeHTTP(rw, r)
	}))
	defer server.Close()
	t.Setenv("DATABRICKS_HOST", server.URL)
	ws := w.Workspaces()[0]
	t.Setenv("DATABRICKS_CLIENT_ID", ws.ClientID)
	t.Setenv("DATABRICKS_CLIENT_SECRET", ws.ClientSecret)
	if o := w.collect(collectors.Target{}); o.Err != nil {
		t.Fatal(o.Err)
	}
	if len(agents) != 1 || !agents["patrol/1.2.3"] {
		t.Errorf("user agents %v", agents)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	w.AddFault(simulator.Fault{Path: grantsPath, Status: 403})
	report, err := collectors.Probe(context.Background(), w.admin(), w.options)
	if err != nil || !report.SignedIn || !report.Admin || report.AuthType != "pat" || report.Premium != "yes" || len(report.Sections) != len(collectors.All()) {
		t.Errorf("%+v, %v", report, err)
	}
	report, err = collectors.Probe(context.Background(), collectors.Target{Host: "https://workspace.invalid"}, w.options)
	if err != nil || report.SignedIn || report.Problem.Reason != "unreachable" || report.Problem.Hint == "" {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestCollectorsAreDescribed(t *testing.T) {
	t.Parallel()
	seen := map[engine.SectionName]bool{}
	for _, c := range collectors.All() {
		if c.Section == "" || seen[c.Section] || c.Doc == "" || c.Rights == "" || len(c.Calls) == 0 && c.OnRequest == "" || c.Read == nil && c.Flag == "" {
			t.Errorf("%+v", c)
		}
		for _, call := range c.Calls {
			if !strings.HasPrefix(call, "GET /") && call != "POST /api/2.0/sql/statements" {
				t.Errorf("%s calls %s", c.Section, call)
			}
		}
		seen[c.Section] = true
	}
}

// TestRunBudget: however many sections wait, a run may wait only so long in sum.
func TestRunBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40, Workspaces: 1})
	// Sections of one call each, of which the budget lets two wait, whichever: others would tell that their own is spent.
	for _, path := range []string{grantsPath, "/api/2.0/ip-access-lists", "/api/2.0/settings/types/restrict_workspace_admins"} {
		w.AddFault(simulator.Fault{Path: path, Status: 503, Headers: map[string]string{"Retry-After": "9"}})
	}
	w.options.RetryBudget = 10 * time.Second
	o := w.collect(w.admin())
	sum := time.Duration(0)
	for _, d := range w.slept {
		sum += d
	}
	if sum != 18*time.Second {
		t.Errorf("waited %s in sum, %v", sum, w.slept)
	}
	told := 0
	for _, section := range o.Capture.Sections {
		if strings.Contains(section.Coverage.Detail, "in this run") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d sections tell that the run's time is spent, want 1", told)
	}
}

// TestNoLimitIsHit: at patrol's own pace no call meets the platform's limit.
func TestNoLimitIsHit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40, Workspaces: 2, RateLimit: 40})
	w.options.RequestRate = 0
	session, err := collectors.SignIn(t.Context(), w.admin(), w.options)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for range 45 {
		if _, err := session.Tokens(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.Requests() {
		if r.Status == 429 {
			t.Fatalf("%+v", r)
		}
	}
}

// TestSectionsAreReadAtOnce: principals and settings do not wait for each
// other, but tokens come before both.
func TestSectionsAreReadAtOnce(t *testing.T) {
	t.Parallel()
	together := []string{usersPath, settingsPath, grantsPath}
	var lock sync.Mutex
	var whole sync.Once
	asked, all := map[string]bool{}, make(chan struct{})
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40, Workspaces: 1, OnRequest: func(r simulator.Request) {
		if !slices.Contains(together, r.Path) {
			return
		}
		lock.Lock()
		if asked[r.Path] = true; len(asked) == len(together) {
			whole.Do(func() { close(all) })
		}
		lock.Unlock()
		select { // each waits until the others are asked, too
		case <-all:
		case <-time.After(20 * time.Second):
			t.Errorf("%s waits for the others alone: one after the other", r.Path)
		}
	}})
	if o := w.collect(w.admin()); o.Err != nil {
		t.Fatal(o.Err)
	}
	seen := map[string]uint64{}
	for _, r := range w.Requests() {
		seen[r.Path] = r.Seq
	}
	for _, path := range []string{usersPath, groupsPath, settingsPath, grantsPath} {
		if seen[path] < seen[tokensPath] {
			t.Errorf("%s is read before tokens", path)
		}
	}
}
