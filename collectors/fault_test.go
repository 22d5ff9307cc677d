package collectors_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
)

// tunnel is a proxy that leads whatever it is asked for to one place.
func tunnel(t *testing.T, to string, asked *atomic.Int32) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			http.Error(w, "not what was expected: "+r.Method+" "+r.Host, http.StatusBadGateway)
			return
		}
		there, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	t.Cleanup(server.Close)
	return server
}

// TestProxyIsToldAndCanBeRefused: a proxy that the environment names is used and
// named, without its password, once; with NoProxy nothing goes through it.
func TestProxyIsToldAndCanBeRefused(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	workspace := httptest.NewTLSServer(w.Account) // its certificate is for example.com
	defer workspace.Close()
	asked := &atomic.Int32{}
	through := tunnel(t, workspace.Listener.Addr().String(), asked)
	for _, name := range []string{"NO_PROXY", "no_proxy", "https_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("HTTPS_PROXY", strings.Replace(through.URL, "http://", "http://me:pass-word@", 1))
	t.Setenv("DATABRICKS_TOKEN", w.Workspaces()[0].Token)
	w.options.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, w.options.CAFile, workspace.Certificate().Raw)
	var notes []string
	w.options.Progress = func(e collectors.Event) {
		if e.Kind == collectors.EventNote {
			notes = append(notes, e.Reason+" "+e.Detail)
		}
	}
	o := w.collect(collectors.Target{Host: "https://example.com"})
	if o.Err != nil || !w.coverage(o, engine.SectionTokens).Complete() {
		t.Errorf("through the proxy: %v", o.Err)
	}
	if asked.Load() == 0 || len(notes) != 1 || !strings.HasPrefix(notes[0], "proxy connects through the proxy "+through.URL) || strings.Contains(notes[0], "pass-word") {
		t.Errorf("%d tunnels, told %q", asked.Load(), notes)
	}

	asked.Store(0)
	notes = nil
	w.options.NoProxy = true
	w.collect(collectors.Target{Host: workspace.URL})
	transportless := w.collect(collectors.Target{Host: "https://patrol-test.invalid"})
	if transportless.Err == nil || asked.Load() > 0 || len(notes) > 0 {
		t.Errorf("directly: %v, %d tunnels, told %q", transportless.Err, asked.Load(), notes)
	}
}

// TestOldTLSIsRefused: a host that speaks TLS 1.1 at most gets no credential,
// though its authority is known; the same host with TLS 1.2 is read.
func TestOldTLSIsRefused(t *testing.T) {
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	t.Setenv("DATABRICKS_TOKEN", w.Workspaces()[0].Token)
	for version, want := range map[uint16]string{tls.VersionTLS11: "unreachable", tls.VersionTLS12: ""} {
		asked := &atomic.Int32{}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			w.ServeHTTP(rw, r)
		}))
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		defer server.Close()
		w.options.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		writePEM(t, w.options.CAFile, server.Certificate().Raw)
		o := w.collect(collectors.Target{Host: server.URL})
		if want == "" {
			if o.Err != nil || !w.coverage(o, engine.SectionTokens).Complete() {
				t.Errorf("%s: %v", tls.VersionName(version), o.Err)
			}
			continue
		}
		failure, ok := engine.AsError(o.Err)
		if !ok || failure.Reason != want || failure.Class != engine.ClassIncomplete || failure.Hint == "" {
			t.Errorf("%s: %#v", tls.VersionName(version), o.Err)
		}
		if c := w.coverage(o, engine.SectionTokens); c.Status != engine.Failed || c.Reason != want {
			t.Errorf("%s: tokens %+v", tls.VersionName(version), c)
		}
		if n := asked.Load(); n > 0 {
			t.Errorf("%s: %d requests came through", tls.VersionName(version), n)
		}
	}
}

// TestRedirectDuringSignInIsRefused: whoever is asked for a credential must
// answer; a client's secret never goes where a redirect leads.
func TestRedirectDuringSignInIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 40})
	reached := &atomic.Int32{}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		w.ClearFaults()
		w.AddFault(simulator.Fault{Path: "/oidc/v1/token", Status: status, Headers: map[string]string{"Location": elsewhere.URL}})
		o := w.collect(w.target(w.Workspaces()[0].Profile + "-oauth"))
		failure, ok := engine.AsError(o.Err)
		if !ok || failure.Reason != "sign_in" || failure.Class != engine.ClassIncomplete || failure.Hint == "" || !strings.Contains(failure.Error(), "redirect refused") {
			t.Errorf("%d: %v", status, o.Err)
		}
		if c := w.coverage(o, engine.SectionTokens); c.Complete() {
			t.Errorf("%d: tokens %+v", status, c)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests followed", n)
	}
}

func writePEM(t *testing.T, path string, der []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
