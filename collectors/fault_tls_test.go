package collectors_test

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
)

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
