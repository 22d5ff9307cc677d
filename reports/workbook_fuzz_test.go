package reports

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patrol/engine"
)

// respun is a workbook with one of its parts changed: some bytes of the part
// replaced. Which and where is taken from the numbers as far as they go.
func respun(t *testing.T, book []byte, part, at, drop uint16, text []byte) []byte {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(book), int64(len(book)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	for i, entry := range archive.File {
		r, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if i == int(part)%len(archive.File) {
			from := int(at) % (len(content) + 1)
			content = slices.Concat(content[:from], text, content[min(len(content), from+int(drop)):])
		}
		w, err := out.Create(entry.Name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(content)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func seedWorkbooks(f *testing.F) {
	for part := range uint16(16) {
		f.Add(part, uint16(200), uint16(3), []byte("<x>"))
	}
	f.Add(uint16(3), uint16(900), uint16(0), []byte(`<row r="99"><c r="A99" t="inlineStr"><is><t>s9</t></is></c><c r="B99" t="inlineStr"><is><t>approve</t></is></c></row>`))
	f.Add(uint16(3), uint16(0), uint16(65535), []byte{})
}

// FuzzReadPlanXLSX: a reviewers' workbook of any make never panics, and decides
// about steps of the plan only, each once, in words that there are.
func FuzzReadPlanXLSX(f *testing.F) {
	p := planFixture()
	var book bytes.Buffer
	if err := PlanXLSX(context.Background(), &book, p, planDigest); err != nil {
		f.Fatal(err)
	}
	seedWorkbooks(f)
	path := filepath.Join(f.TempDir(), "plan.xlsx")
	f.Fuzz(func(t *testing.T, part, at, drop uint16, text []byte) {
		if err := os.WriteFile(path, respun(t, book.Bytes(), part, at, drop, text), 0o600); err != nil {
			t.Fatal(err)
		}
		decisions, err := ReadPlanXLSX(path, p, planDigest)
		refusedAsBad(t, err)
		seen := map[string]bool{}
		for _, d := range decisions {
			known := slices.ContainsFunc(p.Steps, func(s engine.Step) bool { return s.ID == d.Step })
			if !known || seen[d.Step] || !slices.Contains(decisionForm().words, d.Decision) {
				t.Fatalf("decision %+v", d)
			}
			seen[d.Step] = true
		}
	})
}

// FuzzReadReplyXLSX: the same of the workbook in which an owner answers.
func FuzzReadReplyXLSX(f *testing.F) {
	p := planFixture()
	var book bytes.Buffer
	if err := ReplyXLSX(context.Background(), &book, p, planDigest, p.Steps); err != nil {
		f.Fatal(err)
	}
	seedWorkbooks(f)
	path := filepath.Join(f.TempDir(), "reply.xlsx")
	f.Fuzz(func(t *testing.T, part, at, drop uint16, text []byte) {
		if err := os.WriteFile(path, respun(t, book.Bytes(), part, at, drop, text), 0o600); err != nil {
			t.Fatal(err)
		}
		replies, err := ReadReplyXLSX(path, p.Steps, planDigest, asOf)
		refusedAsBad(t, err)
		for _, r := range replies {
			known := slices.ContainsFunc(p.Steps, func(s engine.Step) bool { return s.ID == r.Step.ID })
			if !known || !slices.Contains(engine.ReplyWords(), r.Reply) {
				t.Fatalf("reply %+v", r)
			}
		}
	})
}

func refusedAsBad(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if e, ok := engine.AsError(err); !ok || e.Reason != "bad_workbook" && e.Reason != "other_plan" {
		t.Fatalf("%T: %v", err, err)
	}
}
