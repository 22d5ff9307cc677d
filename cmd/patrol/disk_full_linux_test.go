package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
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
func (d *smallDisk) leave(room int64) {
	var stat syscall.Statfs_t
	d.must(syscall.Statfs(d.dir, &stat))
	free := int64(stat.Bavail)*stat.Bsize - room
	d.must(os.WriteFile(d.path(ballast), make([]byte, max(free, 0)), 0o600))
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
