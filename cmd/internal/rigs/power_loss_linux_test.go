package rigs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/store"
)

// history is what commands did to the files of a site, call by call, and what
// they told meanwhile.
type history struct {
	*site
	images string // where to make images
	before string // a copy of the directory from before the first
	ticks  []tick
}

func newHistory(s *site) *history {
	needTracing(s.T)
	if _, err := exec.LookPath("sqlite3"); err != nil {
		s.Skip("what a loss of power leaves is opened by the sqlite3 of C as well, which is not here")
	}
	before := filepath.Join(s.TempDir(), "before")
	s.must(os.CopyFS(before, os.DirFS(s.dir)))
	return &history{site: s, before: before, images: inMemory(s.T)}
}

// inMemory is a directory in memory, where there is one: what is made there need
// not outlive anything, and a sync costs nothing.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "patrol-images-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// ended marks the end of a command in a history.
const ended = "ended"

// then runs a command and adds what it did.
func (h *history) then(want []int, args ...string) {
	h.Helper()
	code, output, ticks := h.record(args...)
	if !slices.Contains(want, code) {
		h.Fatalf("patrol %s: exit %d, want %v: %s", strings.Join(args, " "), code, want, output)
	}
	h.ticks = append(append(h.ticks, ticks...), tick{call: &call{name: ended, args: args}})
}

// witness knows what had been promised by an instant, and holds an image against it.
type witness interface {
	// begin takes in the disk as it is before the first command.
	begin(d *disk)
	// hear takes in what the commands told, or sent.
	hear(d *disk, c *call)
	// problem tells what is wrong with an image; "" for nothing.
	problem(dir string, random *rand.Rand) string
}

// powerTally counts images, and what was wrong with them.
type powerTally struct {
	syncs, points, images int
	wrong                 map[string]int
	first                 map[string]string // of each kind of problem
}

func (y powerTally) String() string {
	text := fmt.Sprintf("%d images at %d points, %d of them syncs", y.images, y.points, y.syncs)
	for _, kind := range engine.SortedKeys(y.wrong) {
		text += fmt.Sprintf("; %s %d", kind, y.wrong[kind])
	}
	return text
}

func (y powerTally) problems() (n int) {
	for _, count := range y.wrong {
		n += count
	}
	return n
}

// losing says how often power is lost.
type losing struct {
	seed   uint64
	images int  // about so many
	deaf   bool // a disk on which syncs have no effect
}

// lose makes images of what a loss of power leaves: right before and right
// after each sync, and at random instants between, and holds each against what
// had been promised by then.
func (h *history) lose(o losing, newWitness func() witness) powerTally {
	h.Helper()
	weights := 0.0
	h.replay(o, newWitness(), func(_ *disk, c *call) { weights += weight(c) })
	random := rand.New(rand.NewPCG(o.seed, 1))
	tally := powerTally{wrong: map[string]int{}, first: map[string]string{}}
	w := newWitness()
	h.replay(o, w, func(d *disk, c *call) {
		n := int(weight(c)*float64(o.images)/weights + random.Float64())
		if n > 0 {
			tally.points++
		}
		if n > 0 && weight(c) > 1 {
			tally.syncs++
		}
		for range n {
			tally.images++
			h.loseNow(d, w, random.Uint64(), &tally)
		}
	})
	return tally
}

// weight is how much more often power is lost around a sync and at the end of a command.
func weight(c *call) float64 {
	if strings.HasSuffix(c.name, "sync") || c.name == ended {
		return 4
	}
	return 1
}

func (h *history) loseNow(d *disk, w witness, seed uint64, tally *powerTally) {
	dir, err := os.MkdirTemp(h.images, "")
	h.must(err)
	random := rand.New(rand.NewPCG(seed, 2))
	h.must(d.image(dir, random))
	problem := w.problem(dir, random)
	if problem != "" {
		kind, _, _ := strings.Cut(problem, ":")
		if tally.wrong[kind]++; tally.wrong[kind] == 1 {
			tally.first[kind] = problem
		}
	}
	h.must(os.RemoveAll(dir))
}

// replay plays the history and calls visit after each instant at which the
// disk may have become another, and right before each sync.
func (h *history) replay(o losing, w witness, visit func(*disk, *call)) {
	h.Helper()
	d, err := newDisk(h.before)
	h.must(err)
	d.root, d.deaf = h.dir, o.deaf
	w.begin(d)
	for _, i := range h.ticks {
		changed, err := d.play(i)
		h.must(err)
		if !i.ended {
			w.hear(d, i.call)
		}
		beginsSync := !i.ended && strings.HasSuffix(i.call.name, "sync") && d.handle(i.call.args[0]) != nil
		if changed || beginsSync || i.call.name == ended {
			visit(d, i.call)
		}
	}
}

// auditWitness knows what audits and plans promise: that a snapshot is stored
// when the line about it is printed, and all of what a command made when it ends.
type auditWitness struct {
	t           *testing.T
	digests     []string // of the snapshots in the end
	snapshots   int
	evaluations int64
	files       promises
}

func (w *auditWitness) begin(d *disk) { w.files = promisesOf(d) }

func (w *auditWitness) hear(d *disk, c *call) {
	switch {
	case c.name == "write" && c.args[0] == "2" && strings.Contains(c.args[1], " tokens, complete"):
		w.snapshots++
	case c.name == ended:
		if c.args[0] == "evaluate" {
			w.evaluations++
		}
		w.files = promisesOf(d)
	}
}

// promises are the files that people know by name, as commands that have ended
// left them.
type promises struct {
	disk  *disk
	files map[string][]byte // by path
	given map[string]int    // how often the name had been given by then
}

func promisesOf(d *disk) promises {
	p := promises{disk: d, files: map[string][]byte{}, given: map[string]int{}}
	p.add(d.root, d.top)
	return p
}

// add adds what is in a directory. What is in a database is asked of the database.
func (p promises) add(dir string, f *folder) {
	for name, there := range f.names() {
		path := filepath.Join(dir, name)
		switch there := there.(type) {
		case *folder:
			p.add(path, there)
		case *file:
			if !p.ofDatabase(path) && !strings.HasPrefix(name, ".") {
				p.files[path], p.given[path] = there.content(), len(p.disk.whole[path])
			}
		}
	}
}

func (p promises) ofDatabase(path string) bool {
	return ofDatabase(strings.TrimPrefix(path, p.disk.root+"/"))
}

// problem wants every file to be as promised, or as a command that had not
// ended replaced it: whole when it got the name. A name without a promise may be
// missing.
func (p promises) problem(dir string) string {
	for _, path := range engine.SortedKeys(p.files) {
		if problem := p.problemWith(path, dir); problem != "" {
			return problem
		}
	}
	for _, path := range engine.SortedKeys(p.disk.whole) {
		_, promised := p.files[path]
		if problem := p.problemWith(path, dir); !promised && !p.ofDatabase(path) && strings.HasPrefix(problem, "half") {
			return problem
		}
	}
	return ""
}

func (p promises) problemWith(path, dir string) string {
	below := strings.TrimPrefix(path, p.disk.root+"/")
	got, err := os.ReadFile(filepath.Join(dir, below))
	if err != nil {
		return "lost: " + below
	}
	same := func(content []byte) bool { return bytes.Equal(got, content) }
	switch content, promised := p.files[path]; {
	case promised && same(content), slices.ContainsFunc(p.disk.whole[path][p.given[path]:], same):
		return ""
	case slices.ContainsFunc(p.disk.whole[path], same):
		return "lost: an old " + below + " is there"
	}
	return "half: " + below
}

func (w *auditWitness) problem(dir string, random *rand.Rand) string {
	if problem := w.files.problem(dir); problem != "" {
		return problem
	}
	if _, err := os.Lstat(filepath.Join(dir, "patrol.db")); err != nil {
		if w.snapshots > 0 {
			return "lost: the database"
		}
		return ""
	}
	if problem := problemInC(dir, "patrol.db"); problem != "" {
		return problem
	}
	path, err := copied(dir, "patrol.db")
	if err != nil {
		return "harness: " + err.Error()
	}
	return w.inStore(path)
}

// copied is a copy of a database of an image, in a directory of its own:
// opening one changes it.
func copied(dir, name string) (path string, err error) {
	beside, err := os.MkdirTemp(dir, ".copy-")
	if err != nil {
		return "", err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		content, err := os.ReadFile(filepath.Join(dir, name+suffix))
		if err == nil {
			err = os.WriteFile(filepath.Join(beside, name+suffix), content, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return filepath.Join(beside, name), nil
}

// problemInC asks the SQLite of C.
func problemInC(dir, name string) string {
	path, err := copied(dir, name)
	if err != nil {
		return "harness: " + err.Error()
	}
	out, err := exec.Command("sqlite3", path, "PRAGMA integrity_check; PRAGMA quick_check; PRAGMA foreign_key_check").CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "ok\nok" {
		return fmt.Sprintf("corrupt: %s, to the sqlite3 of C: %v %.200s", name, err, got)
	}
	return ""
}

func (w *auditWitness) inStore(path string) string {
	ctx := w.t.Context()
	db, err := store.Open(ctx, path, store.Options{Mode: store.ReadWrite, MustExist: true, Now: time.Now})
	if err != nil {
		return "unreadable: " + err.Error()
	}
	defer db.Close()
	snapshots, err := db.Snapshots(ctx)
	if err = errors.Join(err, db.VerifyChain(ctx)); err != nil {
		return "corrupt: " + err.Error()
	}
	if len(snapshots) < w.snapshots {
		return fmt.Sprintf("lost: %d of %d snapshots", w.snapshots-len(snapshots), w.snapshots)
	}
	slices.SortFunc(snapshots, func(a, b engine.Snapshot) int { return int(a.ID - b.ID) })
	for i, s := range snapshots {
		if err := db.VerifySnapshot(ctx, s.ID); err != nil || s.Digest != w.digests[i] {
			return fmt.Sprintf("corrupt: snapshot %d: %v, digest %s, want %s", s.ID, err, s.Digest, w.digests[i])
		}
	}
	if latest, err := db.LatestEvaluation(ctx); latest < w.evaluations {
		return fmt.Sprintf("lost: evaluation %d: %v", w.evaluations, err)
	}
	return ""
}

// powerImages is how many images a test makes; PATROLTEST_TORTURE_IMAGES asks for more.
func powerImages(t *testing.T, usual int) int {
	text, set := os.LookupEnv("PATROLTEST_TORTURE_IMAGES")
	if !set {
		return usual
	}
	return int(parseInt(text))
}

// TestPowerLossDuringAudit loses power at any moment between the first collect
// and a plan that is approved and a backup: no snapshot is lost that was told of, none is
// damaged, and no file is half there. On a disk where syncs have no effect the
// same finds losses: that it can.
func TestPowerLossDuringAudit(t *testing.T) {
	t.Parallel()
	s := newSite(t, t.TempDir())
	_, stop := s.serve(40, nil)
	defer stop()
	s.allowAll()
	h := newHistory(s)
	h.then([]int{exitOK}, "collect", "--profile", s.profile)
	h.then([]int{exitOK}, "collect", "--profile", s.profile)
	h.then([]int{exitOK, exitViolations}, "evaluate", "-q")
	h.then([]int{exitViolations}, "report", "-q", "--format", "csv", "--format", "xlsx", "--output-dir", "reports")
	h.then([]int{exitOK, exitViolations}, "evaluate", "-q", "--only", "PAT-001,PAT-002")
	h.then([]int{exitViolations}, "report", "-q", "--format", "csv", "--output-dir", "reports")
	h.then([]int{exitOK}, "plan", "-q")
	h.then([]int{exitOK}, "approve", "-q", "plan.json", "--all", "--by", "bob@example.com")
	h.then([]int{exitOK}, "snapshots", "backup", "copy.db")
	h.then([]int{exitOK}, "collect", "--profile", s.profile)

	witness := func() witness { return &auditWitness{t: t, digests: s.digestsOf(3)} }
	o := losing{seed: enginetest.Seed(t), images: powerImages(t, 80)}
	h.mustSurvive(h.lose(o, witness))
	o.deaf, o.images = true, 30
	h.mustNotSurvive(h.lose(o, witness))
}

func (h *history) mustSurvive(y powerTally) {
	h.Helper()
	h.Log(y)
	for _, kind := range engine.SortedKeys(y.first) {
		h.Errorf("%d images of %d: %s", y.wrong[kind], y.images, y.first[kind])
	}
}

func (h *history) mustNotSurvive(y powerTally) {
	h.Helper()
	h.Logf("without syncs: %s", y)
	if y.problems() == 0 {
		h.Error("nothing is lost without syncs: this test sees nothing")
	}
}

// digestsOf are those of the snapshots that are there, of which there must be so many.
func (s *site) digestsOf(want int) (digests []string) {
	s.Helper()
	db, err := store.Open(s.Context(), s.path("patrol.db"), store.Options{Mode: store.ReadOnly, Now: time.Now})
	s.must(err)
	defer db.Close()
	snapshots, err := db.Snapshots(s.Context())
	s.must(err)
	slices.SortFunc(snapshots, func(a, b engine.Snapshot) int { return int(a.ID - b.ID) })
	for _, snapshot := range snapshots {
		digests = append(digests, snapshot.Digest)
	}
	if len(digests) != want {
		s.Fatalf("%d snapshots, want %d", len(digests), want)
	}
	return digests
}
