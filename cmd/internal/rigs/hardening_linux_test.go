//go:build linux

package rigs

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"patrol/collectors/simulator"
)

// hardened is a run of the real binary under an open umask and with core dumps
// allowed, as far as the machine does, against a simulated account.
type hardened struct {
	*testing.T
	dir     string
	env     []string
	account *simulator.Account
	mu      sync.Mutex
	process *os.Process
	seen    map[string]string // file of /proc → content, while the process was asking
}

func newHardened(t *testing.T) *hardened {
	t.Helper()
	h := &hardened{T: t, dir: t.TempDir(), seen: map[string]string{}}
	h.account = simulator.New(simulator.Options{Seed: 3, Workspaces: 1, Tokens: 30, Now: time.Now})
	server := httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(server.Close)
	config := h.account.ConfigFile(server.URL)
	outside := filepath.Join(t.TempDir(), "databrickscfg") // not in the tree that is searched
	if err := os.WriteFile(outside, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	h.env = append(os.Environ(), "DATABRICKS_CONFIG_FILE="+outside, "HOME="+h.dir)
	return h
}

// serve looks at the process that asks before it is answered.
func (h *hardened) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	if h.process != nil && len(h.seen) == 0 {
		for _, name := range []string{"limits", "cmdline", "status"} {
			content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(h.process.Pid), name))
			if err == nil {
				h.seen[name] = string(content)
			}
		}
	}
	h.mu.Unlock()
	h.account.ServeHTTP(w, r)
}

// run runs patrol by a shell that opens the umask, and returns all that it said.
func (h *hardened) run(env []string, args ...string) string {
	h.Helper()
	binary := patrolBinary(h.T)
	cmd := exec.CommandContext(h.Context(), "/bin/sh", append([]string{"-c", `umask 000; ulimit -S -c unlimited 2>/dev/null; exec "$@"`, "sh", binary}, args...)...)
	cmd.Dir, cmd.Env = h.dir, append(append([]string{}, h.env...), env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	h.mu.Lock()
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	h.process, h.seen = cmd.Process, map[string]string{}
	h.mu.Unlock()
	_ = cmd.Wait() // findings end a run with 1
	h.mu.Lock()
	defer h.mu.Unlock()
	h.process = nil
	return said.String()
}

// eachFile visits every file that the runs left.
func (h *hardened) eachFile(visit func(path string, mode fs.FileMode, content []byte)) {
	h.Helper()
	err := filepath.WalkDir(h.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == h.dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		visit(path, info.Mode(), content)
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
}

func TestNothingIsReadableByOthersWhateverTheUmask(t *testing.T) {
	t.Parallel()
	h := newHardened(t)
	profile := h.account.Workspaces()[0].Profile
	h.run(nil, "audit", "--profile", profile, "--format", "csv,xlsx,json,html,sarif,junit,markdown", "--create-baseline", "baseline.json")
	h.run(nil, "plan", "-o", "plan.json")
	h.run(nil, "approve", "plan.json", "--all", "--by", "test", "--reason", "test")
	h.run(nil, "apply", "plan.json", "--profile", profile, "--yes")
	files := 0
	h.eachFile(func(path string, mode fs.FileMode, _ []byte) {
		files++
		if mode.Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, mode)
		}
	})
	if files < 10 {
		t.Errorf("%d files only", files)
	}
}

func TestCoreDumpsAreOff(t *testing.T) {
	t.Parallel()
	h := newHardened(t)
	h.run(nil, "collect", "--profile", h.account.Workspaces()[0].Profile)
	for line := range strings.Lines(h.seen["limits"]) {
		if strings.HasPrefix(line, "Max core file size") {
			if f := strings.Fields(line); f[4] != "0" || f[5] != "0" {
				t.Error(line)
			}
			return
		}
	}
	t.Errorf("no limit was seen: %q", h.seen["limits"])
}

// TestCredentialsStayWhereTheyAre puts credentials into each place that they can
// come from, and looks for them wherever patrol leaves something: files, what it
// says, its arguments.
func TestCredentialsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	h := newHardened(t)
	w := h.account.Workspaces()[0]
	host := "DATABRICKS_HOST=" + firstLine(h.config(t), "host")
	const bad = "dapicanary0000000000000000000000wrong"
	runs := map[string]struct {
		env     []string
		profile string
	}{
		"profile with a token":         {nil, w.Profile},
		"profile with an OAuth secret": {nil, w.Profile + "-oauth"},
		"environment, token":           {[]string{host, "DATABRICKS_TOKEN=" + w.Token, "DATABRICKS_CONFIG_FILE=/dev/null"}, ""},
		"environment, OAuth":           {[]string{host, "DATABRICKS_CLIENT_ID=" + w.ClientID, "DATABRICKS_CLIENT_SECRET=" + w.ClientSecret, "DATABRICKS_CONFIG_FILE=/dev/null"}, ""},
		"refused token":                {[]string{host, "DATABRICKS_TOKEN=" + bad, "DATABRICKS_CONFIG_FILE=/dev/null"}, ""},
		"debug of the SDK":             {[]string{host, "DATABRICKS_TOKEN=" + w.Token, "DATABRICKS_CONFIG_FILE=/dev/null", "DATABRICKS_DEBUG_HEADERS=true", "DATABRICKS_DEBUG_TRUNCATE_BYTES=100000"}, ""},
	}
	for name, run := range runs {
		var with []string
		if run.profile != "" {
			with = []string{"--profile", run.profile}
		}
		var said string
		for _, args := range [][]string{{"audit", "-v", "--log-format", "json"}, {"collect", "-v"}, {"doctor", "-v"}} {
			said += h.run(run.env, append(args, with...)...)
			if args[0] != "doctor" && h.seen["cmdline"] == "" {
				t.Errorf("%s: %s asked nothing: %s", name, args[0], said)
			}
			said += h.seen["cmdline"]
		}
		said += h.run(run.env, "config", "show")
		for _, secret := range []string{w.Token, w.ClientSecret, bad} {
			if strings.Contains(said, secret) {
				t.Errorf("%s: a credential is told: %s", name, said)
			}
		}
	}
	files := 0
	h.eachFile(func(path string, _ fs.FileMode, content []byte) {
		files++
		for _, secret := range []string{w.Token, w.ClientSecret, bad} {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s holds a credential", path)
			}
		}
	})
	if files < 4 {
		t.Errorf("%d files only", files)
	}
}

// TestAPanicTellsNoCredential crashes the binary while it holds one.
func TestAPanicTellsNoCredential(t *testing.T) {
	t.Parallel()
	h := newHardened(t)
	w := h.account.Workspaces()[0]
	binary := patrolBinary(t) + panicking
	crashes := 0
	for range 20 {
		cmd := exec.CommandContext(t.Context(), binary, "audit", "--profile", w.Profile, "-v")
		cmd.Dir, cmd.Env = h.dir, append(append([]string{}, h.env...), "GOTRACEBACK=crash")
		said, _ := cmd.CombinedOutput()
		if bytes.Contains(said, []byte(w.Token)) {
			t.Fatalf("a credential is told: %s", said)
		}
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.CoreDump() {
			t.Fatal("the crash left an image of memory")
		}
		if bytes.Contains(said, []byte(panicText)) {
			crashes++
		}
		if crashes == 3 {
			return
		}
	}
	if crashes == 0 {
		t.Error("it never crashed")
	}
}

func (h *hardened) config(t *testing.T) string {
	t.Helper()
	for _, pair := range h.env {
		if path, ok := strings.CutPrefix(pair, "DATABRICKS_CONFIG_FILE="); ok {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return string(content)
		}
	}
	return ""
}

// firstLine is the value of the first line of a configuration that sets a key.
func firstLine(config, key string) string {
	for line := range strings.Lines(config) {
		name, value, found := strings.Cut(line, "=")
		if found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
