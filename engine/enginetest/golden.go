package enginetest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Golden compares what was made with a golden file, and prints the lines that
// differ, each below the place of its hunk, and nothing else. With -update it
// writes the file first.
func Golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil { //nolint:gosec // a file of the repository
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := differing(filepath.Base(path), want, got); lines != "" {
		t.Errorf("%s (-want +got; go test -update accepts it):\n%s", path, lines)
	}
}

// differing are the lines that differ. Of a long line that was changed it is the
// part that differs.
func differing(name string, want, got []byte) string {
	var out strings.Builder
	var removed, added []string
	flush := func() {
		if len(removed) == len(added) {
			for i := range removed {
				removed[i], added[i] = narrow(removed[i], added[i])
			}
		}
		for _, line := range append(removed, added...) {
			out.WriteString(line + "\n")
		}
		removed, added = nil, nil
	}
	_, hunks, _ := strings.Cut(string(diff.Diff(name, want, "got", got)), "\n+++ got\n")
	for line := range strings.Lines(hunks) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "":
		case line[0] == '-':
			removed = append(removed, line)
		case line[0] == '+':
			added = append(added, line)
		default:
			flush()
			if line[0] == '@' {
				out.WriteString(line + "\n")
			}
		}
	}
	flush()
	return out.String()
}

// narrow leaves out what two long lines, each behind its sign, have in common,
// but for a little around the difference.
func narrow(removed, added string) (string, string) {
	const long, around = 300, 60
	if max(len(removed), len(added)) <= long {
		return removed, added
	}
	a, b := removed[1:], added[1:]
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	end := 0
	for end < min(len(a), len(b))-same && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	cut := func(text string) string {
		from, to := max(0, same-around), min(len(text), len(text)-end+around)
		shown := string(bytes.ToValidUTF8([]byte(text[from:to]), nil))
		if from > 0 {
			shown = "…" + shown
		}
		if to < len(text) {
			shown += "…"
		}
		return shown
	}
	return "-" + cut(a), "+" + cut(b)
}
