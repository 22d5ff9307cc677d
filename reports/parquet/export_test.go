package parquet_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"patrol/engine"
	"patrol/reports/parquet"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func snapshot(id, name string, at time.Time, status engine.CoverageStatus) engine.WorkspaceReport {
	return engine.WorkspaceReport{Snapshot: engine.Snapshot{
		Workspace: engine.Workspace{ID: id, Name: name, Cloud: "aws"}, CollectedAt: at, Digest: strings.Repeat(id[:1], 64),
		Coverage: map[engine.SectionName]engine.Coverage{engine.SectionTokens: {Status: status}},
	}}
}

func rows[T any](list ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, row := range list {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func token(workspace, id string) engine.TokenRow {
	created, expires, never := noon.UnixMilli()-1000, engine.NeverExpires, true
	return engine.TokenRow{Workspace: engine.Workspace{ID: workspace}, Subject: engine.Subject{
		Token: engine.Token{ID: id, Comment: "nightly export", Created: &created, Expires: &expires, Scopes: []string{"sql", "jobs"}},
		Facts: engine.Facts{NeverExpires: &never, Unknown: []string{"on_behalf"}},
	}}
}

// source is two workspaces on two days and one that was not read.
func source() parquet.Source {
	report := engine.Report{
		Version: "1", AsOf: noon,
		Workspaces: []engine.WorkspaceReport{
			snapshot("11", "alpha", noon, engine.Complete), snapshot("22", "beta", noon, engine.Denied), snapshot("33", "gamma", noon.AddDate(0, 0, -1), engine.Complete),
		},
		Tokens:   rows(token("11", "a"), token("11", "b"), token("33", "c")),
		Findings: rows(engine.Finding{Policy: "PAT-001", WorkspaceID: "33", ResourceID: "c", Severity: engine.High, Status: engine.Fail, Evidence: map[string]any{"days": 400}}, engine.Finding{Policy: "PAT-001", WorkspaceID: "11", ResourceID: "a"}),
	}
	return parquet.Source{Report: report, Changes: func(s engine.Snapshot) (engine.Snapshot, iter.Seq2[engine.TokenChange, error], error) {
		if s.Workspace.ID != "11" {
			return engine.Snapshot{}, nil, nil
		}
		gone := token("11", "z").Token
		gone.Comment = "token dapi" + strings.Repeat("0a", 16)
		return engine.Snapshot{Digest: "before", CollectedAt: noon.AddDate(0, 0, -7)}, rows(engine.TokenChange{Kind: engine.Vanished, Before: &gone}), nil
	}}
}

// read gives the rows of a file by the names of their columns.
func read(t *testing.T, path string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := pq.OpenFile(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	reader := pq.NewGenericReader[map[string]any](file, file.Schema())
	list := make([]map[string]any, file.NumRows())
	for i := range list {
		list[i] = map[string]any{}
	}
	if n, err := reader.Read(list); n != len(list) {
		t.Fatalf("read %d of %d rows: %v", n, len(list), err)
	}
	return list
}

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	paths, err := parquet.Write(t.Context(), dir, source())
	if err != nil {
		t.Fatal(err)
	}
	var relative []string
	for _, path := range paths {
		name, _ := filepath.Rel(dir, path)
		relative = append(relative, filepath.Dir(name))
	}
	want := "tokens/snapshot_date=2026-11-24 tokens/snapshot_date=2026-11-23 results/snapshot_date=2026-11-23 results/snapshot_date=2026-11-24 changes/snapshot_date=2026-11-24"
	if got := strings.Join(relative, " "); got != want {
		t.Fatalf("directories\n%s, want\n%s (a workspace that was not read has no tokens)", got, want)
	}
	tokens := read(t, paths[0])
	if len(tokens) != 2 || tokens[0]["token_id"] != "a" || tokens[1]["token_id"] != "b" || tokens[0]["workspace"] != "alpha" {
		t.Errorf("tokens %v, want a and b of alpha", tokens)
	}
	if tokens[0]["expires_at"] != nil || tokens[0]["never_expires"] != true || tokens[0]["used"] != nil {
		t.Errorf("token %v: want no end, true, and null where nothing is known", tokens[0])
	}
	if results := read(t, paths[2]); len(results) != 1 || results[0]["resource_id"] != "c" || results[0]["evidence"] != `{"days":400}` {
		t.Errorf("results %v, want that of gamma's day", results)
	}
	changes := read(t, paths[4])
	if len(changes) != 1 || changes[0]["change"] != "vanished" || strings.Contains(changes[0]["comment"].(string), "dapi0a") {
		t.Errorf("changes %v, want the one that vanished, without the secret in its comment", changes)
	}
}

// TestSameBytes: an export that is repeated replaces files by themselves.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	a, err := parquet.Write(t.Context(), first, source())
	if err != nil {
		t.Fatal(err)
	}
	b, err := parquet.Write(t.Context(), second, source())
	if err != nil {
		t.Fatal(err)
	}
	for i := range a {
		x, errX := os.ReadFile(a[i])
		y, errY := os.ReadFile(b[i])
		if err := errors.Join(errX, errY); err != nil || !bytes.Equal(x, y) || filepath.Base(a[i]) != filepath.Base(b[i]) {
			t.Errorf("%s and %s differ (%v)", a[i], b[i], err)
		}
	}
}

// TestBrokenSource: what cannot be read whole leaves no file.
func TestBrokenSource(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	s := source()
	s.Report.Tokens = func(yield func(engine.TokenRow, error) bool) {
		_ = yield(token("11", "a"), nil) && yield(engine.TokenRow{}, broken)
	}
	dir := t.TempDir()
	if paths, err := parquet.Write(t.Context(), dir, s); !errors.Is(err, broken) || len(paths) > 0 {
		t.Errorf("error %v with %v written, want the source's and nothing", err, paths)
	}
	s = source()
	s.Report.Tokens = rows(token("33", "c"), token("11", "a"))
	if _, err := parquet.Write(t.Context(), dir, s); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("error %v, want that tokens are out of order", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := parquet.Write(ctx, dir, source()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the interrupt", err)
	}
}
