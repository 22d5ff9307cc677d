package collectors_test

import (
	"io"
	"net"
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
