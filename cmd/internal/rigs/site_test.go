package rigs

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine/store"
)

// site is a directory in which the real binary works on a simulated account.
type site struct {
	*testing.T
	dir     string
	binary  string
	config  string // outside, so that it can always be read
	profile string
}

func newSite(t *testing.T, dir string) *site {
	t.Helper()
	binary := patrolBinary(t)
	return &site{T: t, dir: dir, binary: binary, config: filepath.Join(t.TempDir(), "cfg")}
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) patrol(args ...string) (code int, output string) {
	s.Helper()
	return s.run(exec.Command(s.binary, args...))
}

// run runs a command in the directory, with the account's profiles.
func (s *site) run(cmd *exec.Cmd) (code int, output string) {
	s.Helper()
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "DATABRICKS_CONFIG_FILE="+s.config, "HOME="+filepath.Dir(s.config))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func (s *site) mustEnd(want []int, args ...string) {
	s.Helper()
	if code, output := s.patrol(args...); !slices.Contains(want, code) {
		s.Fatalf("patrol %s: exit %d, want %v: %s", strings.Join(args, " "), code, want, output)
	}
}

// serve answers as an account does; before, unless nil, is called ahead of each request.
func (s *site) serve(tokens int, before func(*http.Request)) (*simulator.Account, func()) {
	account := simulator.New(simulator.Options{Seed: 1, Workspaces: 1, Tokens: tokens, Now: time.Now})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if before != nil {
			before(q)
		}
		account.ServeHTTP(w, q)
	}))
	s.must(os.WriteFile(s.config, []byte(account.ConfigFile(server.URL)), 0o600))
	s.profile = account.Workspaces()[0].Profile
	return account, server.Close
}

// allowAll lifts the limits on what a plan may come to.
func (s *site) allowAll() {
	limits := "approval: {critical_need_own: false}\nremediation:\n  limits:\n    max_percent: 100\n    max_steps: 1000\n    max_recently_used: 1000\n    max_per_owner: 1000\n    max_endangered: 1000\n"
	s.must(os.WriteFile(s.path("patrol.yaml"), []byte(limits), 0o600))
}

// files are the names in the directory with their contents.
func (s *site) files() map[string]string {
	content := map[string]string{}
	s.must(filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		content[strings.TrimPrefix(path, s.dir+"/")] = string(data)
		return err
	}))
	return content
}

// ofDatabase reports whether a file is SQLite's to change: a database may have
// been made whole before there was no room, and its log is read by the next one.
// What is in it is looked at by opening it.
func ofDatabase(name string) bool {
	return strings.HasPrefix(name, "patrol.db") || strings.HasPrefix(name, "patrol-journal.db")
}

// snapshotsKept wants as many snapshots, all whole.
func (s *site) snapshotsKept(want int) {
	s.Helper()
	db, err := store.Open(s.Context(), s.path("patrol.db"), store.Options{Mode: store.ReadOnly, Now: time.Now})
	s.must(err)
	defer db.Close()
	for id := range want {
		s.must(db.VerifySnapshot(s.Context(), int64(id+1)))
	}
}
