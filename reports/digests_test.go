package reports

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/outfile"
)

// TestSnapshotDigests: a report names its snapshots, or is refused. What a
// comment says is no digest.
func TestSnapshotDigests(t *testing.T) {
	t.Parallel()
	r := report()
	wanted := []string{strings.Repeat("a1", 32), strings.Repeat("b2", 32)}
	r.Workspaces = slices.Clone(r.Workspaces)
	for i, digest := range wanted {
		r.Workspaces[i].Snapshot.Digest = digest
	}
	false64 := strings.Repeat("c3", 32)
	findings := r.Findings
	r.Findings = func(yield func(engine.Finding, error) bool) {
		for f, err := range findings {
			f.Evidence = map[string]any{"digest": false64, "snapshot": "7", "snapshot_digest": false64, "workspace_id": "1"}
			f.Message += ` "digest":"` + false64 + `" <dt>Digest</dt><dd class="id">` + false64 + `<`
			if !yield(f, err) {
				return
			}
		}
	}
	none := map[string]bool{"csv": true, "markdown": true, "github": true, "azuredevops": true}
	dir := t.TempDir()
	for _, format := range Formats() {
		path := filepath.Join(dir, format.Name, format.File)
		if err := outfile.MakeDir(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		if err := outfile.Write(path, func(w io.Writer) error { return format.Write(t.Context(), w, r) }); err != nil {
			t.Fatal(err)
		}
		found, err := SnapshotDigests(path)
		slices.Sort(found) // some formats go by finding
		if none[format.Name] && (err == nil || !strings.Contains(err.Error(), "names no digest")) {
			t.Errorf("%s: got %q, %v; want an error: it has no digest", format.Name, found, err)
		}
		if !none[format.Name] && (err != nil || !slices.Equal(found, wanted)) {
			t.Errorf("%s: got %q, %v; want %q", format.Name, found, err, wanted)
		}
	}
}

func TestSnapshotDigestsAcrossPieces(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	digest := strings.Repeat("0f", 32)
	for _, before := range []int{0, 1<<20 - 300, 1<<20 - 40, 1<<20 + 216, 1<<20 + 255, 3 << 20} {
		path := filepath.Join(t.TempDir(), "audit.json")
		if err := os.WriteFile(path, []byte("{"+strings.Repeat(" ", before)+`"snapshot":"7","digest":"`+digest+`",`), 0o600); err != nil {
			t.Fatal(err)
		}
		if found, err := SnapshotDigests(path); err != nil || !slices.Equal(found, []string{digest}) {
			t.Errorf("after %d bytes: got %q, %v", before, found, err)
		}
	}
}

func TestSnapshotDigestsRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "audit.xlsx")
	if err := os.WriteFile(broken, []byte("PK\x03\x04 and no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.json")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{broken, empty, dir, filepath.Join(dir, "missing")} {
		found, err := SnapshotDigests(path)
		if told, is := engine.AsError(err); !is || told.Class != engine.ClassUsage {
			t.Errorf("%s: got %q, %v; want a usage error", path, found, err)
		}
	}
}
