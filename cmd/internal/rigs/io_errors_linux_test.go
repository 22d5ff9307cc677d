package rigs

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/plan"
	"patrol/engine/store"
)

// failingCommand is a command whose calls to the disk are made to fail.
type failingCommand struct {
	name        string
	args        []string
	done        []int       // its codes when nothing fails
	prepare     func(*site) // changes the copy of the stage that it runs in
	names       []string    // of files, one of which its message must hold
	makes       []string    // files that it makes or replaces
	snapshots   int         // that are there when it is done
	evaluations int64       // and when it is not, at least one less
}

// diskCalls are the calls by which a file comes to be what it is.
const diskCalls = "write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,link,linkat"

func failingCommands(g *stage) []failingCommand {
	keep := func(*site) {}
	db := []string{"patrol.db"}
	audited := []int{exitOK, exitViolations}
	return []failingCommand{
		{name: "first collect", args: []string{"collect", "--profile", g.profile}, done: []int{exitOK}, names: db, snapshots: 1, prepare: func(s *site) {
			for name := range s.files() {
				s.must(os.Remove(s.path(name)))
			}
		}},
		{name: "collect", args: []string{"collect", "--profile", g.profile}, done: []int{exitOK}, prepare: keep, names: db, snapshots: 2, evaluations: 1},
		{name: "evaluate", args: []string{"evaluate", "-q"}, done: audited, prepare: keep, names: db, snapshots: 1, evaluations: 2},
		{name: "report", args: []string{"report", "-q", "--format", "csv", "--format", "xlsx", "--output-dir", "new"}, done: audited, prepare: keep,
			names: []string{"new", "findings.csv", "audit.xlsx", "patrol.db"}, makes: []string{"new/findings.csv", "new/audit.xlsx"}, snapshots: 1, evaluations: 1},
		{name: "report again", args: []string{"report", "-q", "--format", "csv", "--format", "xlsx"}, done: audited, prepare: keep,
			names: []string{"findings.csv", "audit.xlsx", "patrol.db"}, makes: []string{"patrol-report/findings.csv", "patrol-report/audit.xlsx"}, snapshots: 1, evaluations: 1},
		{name: "plan", args: []string{"plan", "-q"}, done: []int{exitOK}, names: []string{"plan.json", "patrol.db"}, makes: []string{"plan.json"}, snapshots: 1, evaluations: 1, prepare: func(s *site) {
			s.must(os.Remove(s.path("plan.approval.json")))
		}},
		{name: "approve", args: []string{"approve", "-q", "plan.json", "--all", "--by", "eve@example.com"}, done: []int{exitOK}, prepare: keep,
			names: []string{"plan.approval.json"}, makes: []string{"plan.approval.json"}, snapshots: 1, evaluations: 1},
		{name: "apply", args: g.apply(false), done: []int{exitOK}, prepare: keep, names: []string{"patrol-journal.db", "plan.outcome", "patrol.db", "fresh"},
			makes: []string{"plan.outcome.json", "plan.outcome.csv", "plan.outcome.xlsx"}, snapshots: 2, evaluations: 1},
	}
}

// blow is a call that is made to fail: the n-th of its kind in each thread.
type blow struct {
	call  string
	n     int
	fault string // EIO, ENOSPC
}

// TestIOErrors makes calls to the disk fail, one after the other, in every
// command that writes: it ends with exit code 7 and says what failed, what was
// there stays, nothing is half there, the databases are whole, and without the
// fault the same command does its work. apply has sent nothing that its journal
// does not know. PATROLTEST_TORTURE_IO=all makes each
// call fail in turn, =fsync and the like each of that name.
func TestIOErrors(t *testing.T) {
	t.Parallel()
	needTracing(t)
	g := setStage(newSite(t, t.TempDir()), 3)
	content, err := os.ReadFile(g.path("plan.json"))
	g.must(err)
	random := rand.New(rand.NewPCG(enginetest.Seed(t), 3))
	for _, c := range failingCommands(g) {
		t.Run(c.name, func(t *testing.T) {
			site := *g.site
			site.T = t
			f := &ioFaults{stage: &stage{site: &site, began: g.began, targets: g.targets}, outer: g, command: c, sha: plan.Digest(content), random: random, seen: map[string]bool{}}
			f.all()
		})
	}
}

// ioFaults is one command and what was done to it.
type ioFaults struct {
	*stage
	outer   *stage // which serves
	command failingCommand
	sha     string
	random  *rand.Rand
	seen    map[string]bool // calls that were made to fail
	runs    int
	stops   int // of them with exit code 7
}

// all makes calls fail: each in turn, or a few by chance.
func (f *ioFaults) all() {
	blows := f.blows()
	chosen := blows
	switch only := os.Getenv("PATROLTEST_TORTURE_IO"); only {
	case "":
		chosen = f.aFew(blows)
	case "all":
	default:
		chosen = slices.DeleteFunc(slices.Clone(blows), func(b blow) bool { return b.call != only })
	}
	for _, b := range chosen {
		f.strike(b)
	}
	f.Logf("%d runs of %d, %d calls made to fail, %d stopped", f.runs, len(blows), len(f.seen), f.stops)
}

// aFew are some by chance, a sync first.
func (f *ioFaults) aFew(blows []blow) []blow {
	f.random.Shuffle(len(blows), func(i, j int) { blows[i], blows[j] = blows[j], blows[i] })
	if i := slices.IndexFunc(blows, func(b blow) bool { return b.call == "fsync" }); i > 0 {
		blows[0], blows[i] = blows[i], blows[0]
	}
	return blows[:min(4, len(blows))]
}

// blows are those that can fall, by a run in which none does.
func (f *ioFaults) blows() (blows []blow) {
	s, _ := f.stageAgain()
	code, output, log := f.traced(s)
	if !slices.Contains(f.command.done, code) {
		f.Fatalf("exit %d: %s", code, output)
	}
	counts, kinds := map[string]int{}, strings.Split(diskCalls, ",")
	for line := range strings.Lines(log) {
		thread, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ := strings.Cut(strings.TrimSpace(text), "(")
		counts[thread+name]++
		at := blow{name, counts[thread+name], "EIO"}
		if slices.Contains(kinds, name) && strings.Contains(line, s.dir) && !slices.Contains(blows, at) {
			blows = append(blows, at, blow{at.call, at.n, "ENOSPC"})
		}
	}
	return blows
}

// stageAgain is a copy of the stage, and the files in it before the command.
func (f *ioFaults) stageAgain() (*site, map[string]string) {
	s := *f.site
	s.dir = inMemory(f.T)
	f.must(os.CopyFS(s.dir, os.DirFS(f.dir)))
	f.command.prepare(&s)
	f.outer.account.Store(f.world(nil))
	return &s, s.files()
}

// traced runs the command and returns the calls that it made to a disk.
func (f *ioFaults) traced(s *site, options ...string) (code int, output, calls string) {
	log := filepath.Join(f.TempDir(), "log")
	options = append([]string{"--seccomp-bpf", "-y", "-o", log, "-e", "trace=" + diskCalls + ",unlink,unlinkat"}, options...)
	code, output = s.straced(options, f.command.args...)
	content, err := os.ReadFile(log)
	f.must(err)
	return code, output, string(content)
}

// strike runs the command with one blow.
func (f *ioFaults) strike(b blow) {
	s, before := f.stageAgain()
	defer os.RemoveAll(s.dir)
	code, output, log := f.traced(s, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", b.call, b.fault, b.n))
	failed, elsewhere := injected(log, s.dir)
	if elsewhere || len(failed) == 0 {
		return // threads took turns in another way
	}
	if strings.Contains(output, "strace: ptrace(") {
		f.Logf("%v on %q is not counted: the tracer failed: %s", b, failed, output)
		return
	}
	f.runs++
	for _, call := range failed {
		f.seen[call] = true
	}
	if strings.Contains(failed[0], "-shm ") {
		b.fault = "" // SQLite does not tell why shared memory is not to be had
	}
	if problem := f.problem(s, before, code, output, b); problem != "" {
		f.Errorf("%v on %q: exit %d: %s: %s", b, failed, code, problem, output)
	}
	if problem := retried(log); problem != "" {
		f.Errorf("%v: %s", b, problem)
	}
}

// injected are the calls on files of a directory that were made to fail, without
// what is random in their names; elsewhere tells that others were.
func injected(log, dir string) (failed []string, elsewhere bool) {
	random := regexp.MustCompile(`\d{6,}`)
	seen := map[string]int{}
	for line := range strings.Lines(log) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, rest, _ := strings.Cut(strings.TrimSpace(text), "(")
		_, path, inside := strings.Cut(rest, dir)
		if at := strings.IndexAny(path, `>",`); at >= 0 {
			path = path[:at]
		}
		key := name + " " + random.ReplaceAllString(path, "#")
		seen[key]++
		switch {
		case !strings.Contains(line, "(INJECTED)"):
		case !inside:
			elsewhere = true
		default:
			failed = append(failed, key+" "+strconv.Itoa(seen[key]))
		}
	}
	return failed, elsewhere
}

// retried reports a log of commits that was written to again after what it had
// been given could not be synced: what the kernel had dropped would seem to be
// there. A log that was removed is another one from then on.
func retried(log string) string {
	lost, unsynced := "", map[string]bool{}
	for line := range strings.Lines(log) {
		_, path, _ := strings.Cut(line, "<")
		path, _, _ = strings.Cut(path, ">")
		isLog := strings.HasSuffix(path, "-wal")
		switch {
		case isLog && strings.Contains(line, "sync("):
			if strings.Contains(line, "(INJECTED)") && unsynced[path] {
				lost = path
			}
			unsynced[path] = false
		case lost != "" && strings.Contains(line, `unlink("`+lost+`") = 0`):
			lost = ""
		case isLog && strings.Contains(line, "pwrite64("):
			if path == lost {
				return lost + " was written to after it could not be synced"
			}
			unsynced[path] = true
		}
	}
	return ""
}

func (f *ioFaults) problem(s *site, before map[string]string, code int, output string, b blow) string {
	done := slices.Contains(f.command.done, code)
	if code == exitStorage {
		f.stops++
		if problem := told(output, f.command.names, b.fault); problem != "" {
			return problem
		}
	} else if !done {
		return "is no way to end"
	}
	if problem := f.files(s, before, done); problem != "" {
		return problem
	}
	if problem := f.databases(s, done); problem != "" {
		return problem
	}
	if f.command.name == "apply" {
		return f.goOn(s)
	}
	if again, output := s.patrol(f.command.args...); !slices.Contains(f.command.done, again) {
		return fmt.Sprintf("again without the fault: exit %d: %s", again, output)
	}
	return f.databases(s, true)
}

// told wants a message that names a file, says what to do, and calls a full disk so.
func told(output string, names []string, fault string) string {
	named := func(name string) bool { return strings.Contains(output, name) }
	reasons := map[string][]string{"EIO": {"io: ", "output: "}, "ENOSPC": {"disk_full: ", "io: "}, "": {"io: ", "disk_full: "}}
	switch {
	case !slices.ContainsFunc(names, named):
		return "names no file"
	case !strings.Contains(output, "\nhint: "):
		return "says not what to do"
	case !slices.ContainsFunc(reasons[fault], named):
		return "gives another reason"
	}
	return ""
}

// files wants those that were there as they were, or replaced by whole ones,
// and nothing beside them.
func (f *ioFaults) files(s *site, before map[string]string, done bool) string {
	after := s.files()
	for _, name := range engine.SortedKeys(before) {
		if !ofDatabase(name) && after[name] != before[name] && !slices.Contains(f.command.makes, name) {
			return "changed " + name
		}
	}
	for _, name := range engine.SortedKeys(after) {
		old, known := before[name]
		made := slices.Contains(f.command.makes, name)
		switch {
		case ofDatabase(name), known && old == after[name]:
		case !made:
			return "left " + name
		case !wholeFile(name, after[name]):
			return "half: " + name
		}
	}
	for _, name := range f.command.makes {
		if _, there := after[name]; done && !there {
			return "done without " + name
		}
	}
	return ""
}

func wholeFile(name, content string) bool {
	switch filepath.Ext(name) {
	case ".json":
		return json.Valid([]byte(content))
	case ".xlsx":
		_, err := zip.NewReader(bytes.NewReader([]byte(content)), int64(len(content)))
		return err == nil
	}
	return strings.HasSuffix(content, "\n")
}

// databases wants them whole, with all that was there before, and with what the
// command was to add if it is done.
func (f *ioFaults) databases(s *site, done bool) string {
	path := s.path("patrol.db")
	if _, err := os.Lstat(path); err != nil {
		if done {
			return "done without a database"
		}
		return ""
	}
	ctx := f.Context()
	db, err := store.Open(ctx, path, store.Options{Mode: store.ReadOnly, Now: time.Now})
	if err != nil {
		return err.Error()
	}
	defer db.Close()
	snapshots, err := db.Snapshots(ctx)
	for _, snapshot := range snapshots {
		err = errors.Join(err, db.VerifySnapshot(ctx, snapshot.ID))
	}
	if err = errors.Join(err, db.VerifyChain(ctx)); err != nil {
		return err.Error()
	}
	latest := int64(0)
	if f.command.evaluations > 0 {
		latest, err = db.LatestEvaluation(ctx)
	}
	if missing := f.command.snapshots - len(snapshots); missing > 1 || missing > 0 && done && f.command.name != "apply" {
		return fmt.Sprintf("%d snapshots are there", len(snapshots))
	}
	if missing := f.command.evaluations - latest; missing > 1 || missing > 0 && done {
		return fmt.Sprintf("evaluation %d is the latest: %v", latest, err)
	}
	return ""
}

// goOn holds what apply sent against its journal, and goes on with it.
func (f *ioFaults) goOn(s *site) string {
	w := &applyWitness{auditWitness: auditWitness{t: f.T}, stage: f.outer, sha: f.sha}
	var revoked []string
	for _, id := range f.targets {
		if !there(f.outer.account.Load(), id) {
			revoked = append(revoked, id)
		}
	}
	w.sent = revoked
	begun, problem := w.inJournal(s.dir)
	if problem != "" {
		return problem
	}
	return w.goOn(s.dir, revoked, begun)
}
