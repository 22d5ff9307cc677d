package rigs

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/journal"
	"patrol/engine/plan"
	"patrol/engine/store"
)

// smallDisk is a file system of its own that can be filled.
type smallDisk struct{ *site }

const smallDiskSize = 96 << 20 // a journal wants 64 MiB to begin

func newSmallDisk(t *testing.T) *smallDisk {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", smallDiskSize)); err != nil {
		t.Skipf("a small disk takes a tmpfs, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return &smallDisk{newSite(t, dir)}
}

const ballast = "ballast"

// leave fills the disk but for so many bytes.
func (d *smallDisk) leave(room int64) { d.must(d.fill(room)) }

func (d *smallDisk) fill(room int64) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &stat); err != nil {
		return err
	}
	free := int64(stat.Bavail)*stat.Bsize - room
	return os.WriteFile(d.path(ballast), make([]byte, max(free, 0)), 0o600)
}

func (d *smallDisk) makeRoom() { d.must(os.Remove(d.path(ballast))) }

// files are those on the disk without what was put there to fill it.
func (d *smallDisk) files() map[string]string {
	content := d.site.files()
	delete(content, ballast)
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

// TestFullDisk runs each command that writes with too little room, and then with enough.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	d := newSmallDisk(t)
	_, stop := d.serve(100, func(*http.Request) {})
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

// TestFullDiskDuringApply fills the disk ahead of each request of an apply in
// turn: no request to revoke goes out whose intent is not in the journal, and
// with room again the run is gone on with to its end.
func TestFullDiskDuringApply(t *testing.T) {
	t.Parallel()
	requests := []int{3, 14, 18} // before, between and after the first steps
	if _, each := os.LookupEnv("PATROLTEST_TORTURE_IO"); each {
		requests = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}
	}
	for _, request := range requests {
		t.Run(strconv.Itoa(request), func(t *testing.T) { fullDiskDuringApply(t, request) })
	}
}

func fullDiskDuringApply(t *testing.T, request int) {
	d := newSmallDisk(t)
	var lock sync.Mutex
	fuse, deleted := 0, map[string]bool{}
	sent := func() []string {
		lock.Lock()
		defer lock.Unlock()
		return engine.SortedKeys(deleted)
	}
	account, stop := d.serve(0, func(q *http.Request) {
		lock.Lock()
		defer lock.Unlock()
		if q.Method == http.MethodDelete {
			deleted[filepath.Base(q.URL.Path)] = true
		}
		if fuse--; fuse == 0 {
			if err := d.fill(0); err != nil && !errors.Is(err, syscall.ENOSPC) {
				d.Error(err)
			}
		}
	})
	defer stop()
	owner := account.Users()[5]
	for range 4 {
		_, err := account.PutToken(account.Workspaces()[0].Name, simulator.Token{ExpiryTime: engine.NeverExpires, OwnerID: owner.ID, CreatedByID: owner.ID, CreatedByUsername: owner.Name})
		d.must(err)
	}
	d.allowAll()
	d.mustEnd([]int{exitViolations}, "audit", "-q", "--profile", d.profile, "--only", "PAT-001")
	d.mustEnd([]int{exitOK}, "plan", "-q")
	d.mustEnd([]int{exitOK}, "approve", "-q", "plan.json", "--all", "--by", "bob@example.com")

	lock.Lock()
	fuse = request
	lock.Unlock()
	apply := []string{"apply", "plan.json", "--profile", d.profile, "--yes", "--rate", "1000", "-q"}
	code, output := d.patrol(apply...)
	if code == exitOK {
		return // the run had ended before that request, or wrote within pages it had
	}
	if code != exitStorage || !strings.Contains(output, "disk_full") {
		t.Errorf("exit %d: %s", code, output)
	}
	intended := d.intents(t)
	for _, id := range sent() {
		if !intended[id] {
			t.Errorf("token %s: a request without an intent", id)
		}
	}
	d.makeRoom()
	if len(intended) > 0 {
		apply = append(apply, "--resume")
	}
	d.mustEnd([]int{exitOK, exitPartial}, apply...)
	if revoked := sent(); len(revoked) != 4 {
		t.Errorf("%d of 4 tokens were revoked in the end", len(revoked))
	}
	t.Logf("exit %d with %d intents, then done", code, len(intended))
}

// intents are the tokens whose step was begun, by the journal.
func (d *smallDisk) intents(t *testing.T) map[string]bool {
	t.Helper()
	begun := map[string]bool{}
	if _, err := os.Stat(d.path("patrol-journal.db")); err != nil {
		return begun
	}
	content, err := os.ReadFile(d.path("plan.json"))
	d.must(err)
	j, err := journal.Open(t.Context(), d.path("patrol-journal.db"), journal.Options{Mode: store.ReadOnly, Now: time.Now})
	d.must(err)
	defer j.Close()
	entries, err := j.Entries(t.Context(), plan.Digest(content))
	d.must(err)
	for _, e := range entries {
		if e.State != engine.StatePending {
			begun[e.Target] = true
		}
	}
	return begun
}
