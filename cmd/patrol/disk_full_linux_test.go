package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine/store"
)

// smallDisk is a file system of its own that can be filled.
type smallDisk struct {
	*testing.T
	dir     string
	binary  string
	config  string // outside, so that it can always be read
	profile string
}

const smallDiskSize = 96 << 20 // a journal wants 64 MiB to begin

func newSmallDisk(t *testing.T) *smallDisk {
	binary, err := exec.LookPath("patrol")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", smallDiskSize)); err != nil {
		t.Skipf("a small disk takes a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &smallDisk{T: t, dir: dir, binary: binary, config: filepath.Join(t.TempDir(), "cfg")}
}

func (d *smallDisk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *smallDisk) path(name string) string { return filepath.Join(d.dir, name) }

const ballast = "ballast"

// leave fills the disk but for so many bytes.
func (d *smallDisk) leave(room int64) {
	var stat syscall.Statfs_t
	d.must(syscall.Statfs(d.dir, &stat))
	free := int64(stat.Bavail)*stat.Bsize - room
	d.must(os.WriteFile(d.path(ballast), make([]byte, max(free, 0)), 0o600))
}

func (d *smallDisk) makeRoom() { d.must(os.Remove(d.path(ballast))) }

func (d *smallDisk) patrol(args ...string) (code int, output string) {
	cmd := exec.Command(d.binary, args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "DATABRICKS_CONFIG_FILE="+d.config, "HOME="+filepath.Dir(d.config))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func (d *smallDisk) mustEnd(want []int, args ...string) {
	d.Helper()
	if code, output := d.patrol(args...); !slices.Contains(want, code) {
		d.Fatalf("patrol %s: exit %d, want %v: %s", strings.Join(args, " "), code, want, output)
	}
}

// serve answers as an account does; before is called ahead of each request.
func (d *smallDisk) serve(tokens int, before func(*http.Request)) (*simulator.Account, func()) {
	account := simulator.New(simulator.Options{Seed: 1, Workspaces: 1, Tokens: tokens, Now: time.Now})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		before(q)
		account.ServeHTTP(w, q)
	}))
	d.must(os.WriteFile(d.config, []byte(account.ConfigFile(server.URL)), 0o600))
	d.profile = account.Workspaces()[0].Profile
	return account, server.Close
}

// allowAll lifts the limits on what a plan may come to.
func (d *smallDisk) allowAll() {
	limits := "remediation:\n  limits:\n    max_percent: 100\n    max_steps: 1000\n    max_recently_used: 1000\n    max_per_owner: 1000\n"
	d.must(os.WriteFile(d.path("patrol.yaml"), []byte(limits), 0o600))
}

// files are the names on the disk, without what was put there to fill it, with their contents.
func (d *smallDisk) files() map[string]string {
	content := map[string]string{}
	d.must(filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == ballast {
			return err
		}
		data, err := os.ReadFile(path)
		content[strings.TrimPrefix(path, d.dir+"/")] = string(data)
		return err
	}))
	return content
}

// rooms go from nothing to more than a command needs; apply wants 64 MiB to begin.
var rooms = []int64{0, 4 << 10, 16 << 10, 40 << 10, 80 << 10, 160 << 10, 320 << 10, 640 << 10, 2 << 20, 68 << 20}

// tryEach runs a command with ever more room until it has what it needs. Before
// that it says disk_full, what was there stays as it was, and nothing is left behind.
func (d *smallDisk) tryEach(done []int, args ...string) {
	d.Helper()
	before, refused := d.files(), 0
	for _, room := range rooms {
		d.leave(room)
		code, output := d.patrol(args...)
		if slices.Contains(done, code) {
			d.makeRoom()
			d.Logf("patrol %s: %d refusals, then enough with %d KiB", args[0], refused, room>>10)
			if refused == 0 {
				d.Errorf("patrol %s needed no room", args[0])
			}
			return
		}
		refused++
		if code != exitStorage || !strings.Contains(output, "disk_full") {
			d.Errorf("patrol %s with %d KiB left: exit %d: %s", args[0], room>>10, code, output)
		}
		d.makeRoom()
		d.compare(before, args[0], room)
	}
	d.Errorf("patrol %s never had enough", args[0])
}

func (d *smallDisk) compare(before map[string]string, command string, room int64) {
	d.Helper()
	after := d.files()
	for name, content := range before {
		if after[name] != content && !ofDatabase(name) {
			d.Errorf("patrol %s with %d KiB left changed %s", command, room>>10, name)
		}
	}
	for name := range after {
		if _, known := before[name]; !known && !ofDatabase(name) {
			d.Errorf("patrol %s with %d KiB left: left %s behind", command, room>>10, name)
		}
	}
}

// ofDatabase reports whether a file is SQLite's to change: a database may have
// been made whole before there was no room, and its log is read by the next one.
// What is in it is looked at by opening it.
func ofDatabase(name string) bool {
	return strings.HasPrefix(name, "patrol.db") || strings.HasPrefix(name, "patrol-journal.db")
}

// snapshotsKept wants as many snapshots, all whole.
func (d *smallDisk) snapshotsKept(want int) {
	d.Helper()
	db, err := store.Open(d.Context(), d.path("patrol.db"), store.Options{Mode: store.ReadOnly, Now: time.Now})
	d.must(err)
	defer db.Close()
	for id := range want {
		d.must(db.VerifySnapshot(d.Context(), int64(id+1)))
	}
}

// TestFullDisk runs each command that writes with too little room, and then with enough.
func TestFullDisk(t *testing.T) {
	d := newSmallDisk(t)
	_, stop := d.serve(300, func(*http.Request) {})
	defer stop()
	d.tryEach([]int{exitOK}, "collect", "-q", "--profile", d.profile)
	d.snapshotsKept(1)
	d.tryEach([]int{exitOK}, "collect", "-q", "--profile", d.profile)
	d.snapshotsKept(2)
	d.tryEach([]int{exitOK, exitViolations}, "evaluate", "-q")
	d.mustEnd([]int{exitViolations}, "report", "-q", "--format", "csv", "--output-dir", "reports")
	d.tryEach([]int{exitViolations}, "report", "-q", "--format", "csv", "--format", "xlsx", "--output-dir", "reports")
	d.allowAll()
	d.tryEach([]int{exitOK}, "plan", "-q")
	d.tryEach([]int{exitOK}, "approve", "-q", "plan.json", "--all", "--by", "bob@example.com")
	d.tryEach([]int{exitOK, exitPartial}, "apply", "plan.json", "--profile", d.profile, "--yes", "--rate", "1000", "-q")
	d.snapshotsKept(2)
}
