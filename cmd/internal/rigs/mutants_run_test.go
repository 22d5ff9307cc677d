package rigs

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMutantsAreNoticed takes one guard after the other away and wants the tests
// that the catalogue names to fail, which pass otherwise. PATROLTEST_MUTANTS is a
// pattern of names, or several with commas: `make mutants` runs all of them.
func TestMutantsAreNoticed(t *testing.T) {
	t.Parallel()
	patterns := os.Getenv("PATROLTEST_MUTANTS")
	if patterns == "" {
		t.Skip("takes minutes: make mutants")
	}
	chosen := slices.DeleteFunc(mutants(t), func(m mutant) bool {
		return !slices.ContainsFunc(strings.Split(patterns, ","), func(p string) bool { ok, err := path.Match(p, m.name); return ok && err == nil })
	})
	if len(chosen) == 0 {
		t.Fatalf("no mutant is called %s", patterns)
	}
	r := newMutantRun(t, chosen)
	var survivors []string
	for _, m := range chosen {
		if !t.Run(m.name, func(t *testing.T) { r.notice(t, m) }) {
			survivors = append(survivors, m.name)
		}
	}
	t.Logf("%d mutants, %d builds: %d noticed, %d not (%s), in %s", len(chosen), r.builds, len(chosen)-len(survivors), len(survivors),
		strings.Join(survivors, ", "), time.Since(r.began).Round(time.Second))
}

// mutantRun keeps what mutants share. Most of them are built into the same
// tests (mutantOverlay), and a file says which of them holds; the others take a
// build each.
type mutantRun struct {
	root, dir string
	overlay   *mutantOverlay
	all       string            // overlay with all mutants that can be told by a file
	shared    map[string]string // package → its tests, built with all of them
	sound     map[mutantTest]bool
	overlays  map[string]string // binary of tests → overlay that it was built with
	builds    int
	began     time.Time
}

func newMutantRun(t *testing.T, chosen []mutant) *mutantRun {
	t.Helper()
	r := &mutantRun{root: moduleRoot(t), dir: t.TempDir(), shared: map[string]string{}, sound: map[mutantTest]bool{}, overlays: map[string]string{}, began: time.Now()}
	r.overlay = newMutantOverlay(filepath.Join(r.dir, "chosen"))
	for _, m := range chosen {
		if err := r.overlay.add(r.root, m); err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
	}
	files, err := r.overlay.files(r.root)
	if err != nil {
		t.Fatal(err)
	}
	r.all = r.writeOverlay(t, "all", files)
	r.choose(t, "")
	return r
}

// choose says which of the mutants that are built in holds.
func (r *mutantRun) choose(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(r.overlay.chosen, []byte(name), 0o600); err != nil {
		t.Fatal(err)
	}
}

// notice demands that every test of a mutant fails because of it, and passes
// without it.
func (r *mutantRun) notice(t *testing.T, m mutant) {
	own := map[string]string{}
	for _, test := range m.tests {
		r.passes(t, test)
		binary := r.shared[test.pkg]
		if !r.overlay.holds[m.name] {
			if own[test.pkg] == "" {
				own[test.pkg] = r.build(t, test.pkg, "mutant.test", r.alone(t, m))
			}
			binary = own[test.pkg]
		}
		r.choose(t, m.name)
		began := time.Now()
		out, failed := r.run(t, test, binary)
		r.choose(t, "")
		how := "failed"
		switch {
		case !failed:
			t.Errorf("SURVIVED: %s passes without %s", test.run, m.guard)
			continue
		case bytes.Contains(out, []byte("panic: test timed out")):
			how = "did not end"
		case bytes.Contains(out, []byte("panic: ")):
			how = "panicked"
		}
		t.Logf("%s %s in %.1f s", test.run, how, time.Since(began).Seconds())
	}
}

// alone is an overlay with one mutant.
func (r *mutantRun) alone(t *testing.T, m mutant) string {
	t.Helper()
	mutated, err := m.apply(r.root)
	if err != nil {
		t.Fatal(err)
	}
	return r.writeOverlay(t, "alone", map[string]string{m.file: mutated})
}

// writeOverlay tells the go command to take other files instead.
func (r *mutantRun) writeOverlay(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	replace := map[string]string{}
	for file, text := range files {
		instead := filepath.Join(r.dir, name, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(instead), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(instead, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(r.root, filepath.FromSlash(file))] = instead
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(r.dir, name+".json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

// build compiles the tests of a package. A mutant that does not compile shows
// nothing.
func (r *mutantRun) build(t *testing.T, pkg, name, overlay string) string {
	t.Helper()
	binary := filepath.Join(r.dir, name)
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-ldflags=-w", "-overlay", overlay, "-o", binary, pkg)
	cmd.Dir = r.root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("does not build: %v\n%s", err, out)
	}
	r.builds++
	r.overlays[binary] = overlay
	return binary
}

// passes demands that a test passes while every guard is in place.
func (r *mutantRun) passes(t *testing.T, test mutantTest) {
	t.Helper()
	if r.shared[test.pkg] == "" {
		r.shared[test.pkg] = r.build(t, test.pkg, strings.ReplaceAll(strings.Trim(test.pkg, "./"), "/", "-")+".test", r.all)
	}
	if r.sound[test] {
		return
	}
	out, failed := r.run(t, test, r.shared[test.pkg])
	if failed || !bytes.Contains(out, []byte("--- PASS: "+test.run+" (")) {
		t.Fatalf("%s does not pass with every guard in place, is skipped, or does not exist:\n%s", test.run, out)
	}
	r.sound[test] = true
}

func (r *mutantRun) run(t *testing.T, test mutantTest, binary string) (out []byte, failed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "-test.v", "-test.failfast", "-test.timeout=5m", "-test.run="+test.pattern()) //nolint:gosec // arguments of our own
	cmd.Dir = filepath.Join(r.root, filepath.FromSlash(test.pkg))
	cmd.Env = append(os.Environ(), "PATROLTEST_OVERLAY="+r.overlays[binary])
	out, err := cmd.CombinedOutput()
	return out, err != nil
}
