package reports

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/outfile"

	"github.com/rogpeppe/go-internal/diff"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares what was written with the file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := differing(path, want, got); lines != "" {
		t.Errorf("%s (-want +got; go test -update accepts it):\n%s", path, lines)
	}
}

// differing are the lines that differ, below where they stand, and nothing else.
func differing(name string, want, got []byte) string {
	var lines strings.Builder
	for line := range bytes.Lines(diff.Diff(name, want, "got", got)) {
		if line[0] != ' ' && !bytes.HasPrefix(line, []byte("diff ")) && !bytes.HasPrefix(line, []byte("--- ")) && !bytes.HasPrefix(line, []byte("+++ ")) {
			lines.Write(line)
		}
	}
	return lines.String()
}

func TestDifferingLines(t *testing.T) {
	t.Parallel()
	want := strings.Repeat("same\n", 50) + "old\n" + strings.Repeat("same\n", 50)
	if got := differing("x", []byte(want), []byte(strings.Replace(want, "old", "new", 1))); got != "@@ -48,7 +48,7 @@\n-old\n+new\n" {
		t.Errorf("got %q", got)
	}
	if got := differing("x", []byte(want), []byte(want)); got != "" {
		t.Errorf("got %q", got)
	}
}

// legibleForms turn files that are no text into text for their golden file.
var legibleForms = map[string]func(*testing.T, []byte) []byte{"audit.xlsx": dumpWorkbook, "audit.html": legiblePage}

// TestFormats holds every format, present and future, to the same promises.
func TestFormats(t *testing.T) {
	files := map[string]bool{}
	for _, format := range Formats() {
		t.Run(format.Name, func(t *testing.T) {
			if format.Name == "" || format.Doc == "" || format.File != filepath.Base(format.File) || files[format.File] {
				t.Fatalf("incomplete, or a file of another format: %+v", format)
			}
			files[format.File] = true
			got := render(t, format)
			if again := render(t, format); !bytes.Equal(got, again) {
				t.Error("two writes of the same report differ")
			}
			name := format.File
			if form, ok := legibleForms[name]; ok {
				got, name = form(t, got), name+".txt"
			}
			golden(t, name, got)
			testStops(t, format)
		})
	}
}

func render(t *testing.T, format Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := format.Write(t.Context(), &b, report()); err != nil {
		t.Fatal(err)
	}
	if b.Len() == 0 {
		t.Fatal("wrote nothing")
	}
	return b.Bytes()
}

// testStops checks that a format passes errors on and leaves no file behind.
func testStops(t *testing.T, format Format) {
	broken := errors.New("page is torn")
	ended, end := context.WithCancel(t.Context())
	end()
	later, endLater := context.WithCancel(t.Context())
	defer endLater()
	failing, cancelling := report(), report()
	failing.Findings = breaking(failing.Findings, 5, broken)
	cancelling.Findings = func(yield func(engine.Finding, error) bool) {
		for f, err := range report().Findings {
			endLater()
			if !yield(f, err) {
				return
			}
		}
	}
	for _, test := range []struct {
		name string
		ctx  context.Context
		r    engine.Report
		want error
	}{
		{"source fails", t.Context(), failing, broken},
		{"context ended", ended, report(), context.Canceled},
		{"context ends midway", later, cancelling, context.Canceled},
	} {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		paths, err := WriteAll(test.ctx, dir, []Format{format}, test.r, outfile.Files{})
		if !errors.Is(err, test.want) || len(paths) != 0 {
			t.Errorf("%s: got %v, %v; want %v and no path", test.name, paths, err, test.want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left %v behind", test.name, left)
		}
		if err := format.Write(t.Context(), brokenPipe{}, report()); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v from a writer that fails, want its error", err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestLookup(t *testing.T) {
	t.Parallel()
	if format, err := Lookup(" CSV "); err != nil || format.Name != "csv" {
		t.Errorf("got %q, %v", format.Name, err)
	}
	_, err := Lookup("pdf")
	told, ok := engine.AsError(err)
	if !ok || told.Class != engine.ClassUsage {
		t.Fatalf("got %v, want a usage error", err)
	}
	for _, format := range Formats() {
		if !strings.Contains(err.Error(), format.Name) {
			t.Errorf("%q does not name %s", err, format.Name)
		}
	}
}

func TestWriteAll(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "out")
	paths, err := WriteAll(t.Context(), dir, Formats(), report(), outfile.Files{})
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v", info.Mode())
	}
	for i, format := range Formats() {
		if want := filepath.Join(dir, format.File); paths[i] != want {
			t.Errorf("path %q, want %q", paths[i], want)
		}
		if info, err := os.Stat(paths[i]); err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("%s: %v, %v", paths[i], info, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != len(paths) {
		t.Errorf("found %v besides the reports", left)
	}
}

func TestWriteAllRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{file, filepath.Join(file, "below")} {
		_, err := WriteAll(t.Context(), target, Formats(), report(), outfile.Files{})
		if told, ok := engine.AsError(err); !ok || told.Class != engine.ClassStorage || told.Hint == "" {
			t.Errorf("%s: got %v, want a storage error with a hint", target, err)
		}
	}
}
