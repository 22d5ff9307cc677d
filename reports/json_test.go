package reports

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/reports/table"
)

func TestAuditJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writeJSON(t.Context(), &b, report()); err != nil {
		t.Fatal(err)
	}
	var audit struct {
		Schema     int
		Workspaces []struct{ Snapshot, WorkspaceID any }
		Policies   []map[string]any
		Results    []map[string]any
		Summary    struct {
			Tokens     int
			Statuses   map[string]int
			Severities map[string]int
		}
	}
	if err := json.Unmarshal(b.Bytes(), &audit); err != nil {
		t.Fatal(err)
	}
	if len(audit.Results) != len(fixtureFindings()) || audit.Schema != 1 || audit.Summary.Statuses["pass"] != 100 || audit.Summary.Severities["high"] != 37 {
		t.Errorf("%d results; %+v", len(audit.Results), audit.Summary)
	}
	if len(audit.Summary.Statuses) != len(engine.Statuses()) || len(audit.Summary.Severities) != len(engine.Severities()) {
		t.Errorf("a status or severity is missing: %+v", audit.Summary)
	}
	for _, result := range audit.Results {
		if _, text := result["workspace_id"].(string); !text {
			t.Errorf("workspace_id is %T", result["workspace_id"])
		}
		if waiver, ok := result["waiver"]; !ok || (waiver != nil) != (result["status"] == "waived") {
			t.Errorf("waiver of a %v result is %v", result["status"], waiver)
		}
		if _, object := result["evidence"].(map[string]any); !object {
			t.Errorf("evidence is %v", result["evidence"])
		}
	}
}

// TestJSONIsExact: a reader gets the text as it was, and a terminal that shows
// the file is not acted upon.
func TestJSONIsExact(t *testing.T) {
	t.Parallel()
	for _, text := range hostile {
		testExact(t, text)
	}
}

func FuzzJSONText(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(testExact)
}

func testExact(t *testing.T, text string) {
	encoded, err := table.JSONText(map[string]any{"list": []any{engine.Waiver{Reason: text}}, "text": text})
	if err != nil {
		t.Fatal(err)
	}
	if enginetest.Acting(string(encoded)) != "" {
		t.Errorf("%q acts on a terminal", encoded)
	}
	var back struct {
		List []engine.Waiver
		Text string
	}
	if err := json.Unmarshal(encoded, &back); err != nil {
		t.Fatal(err)
	}
	want := text
	if !utf8.ValidString(text) {
		want = table.LegibleText(text)
	}
	if back.Text != want || back.List[0].Reason != want {
		t.Errorf("read back %q, want %q", back.Text, want)
	}
}

func TestEmptyLists(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writeJSON(t.Context(), &b, engine.Report{Findings: table.Known[engine.Finding](nil)}); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(b.Bytes()) || !strings.Contains(b.String(), `"results": []`) {
		t.Error(b.String())
	}
	b.Reset()
	if err := Tokens(t.Context(), &b, "json", table.Known[engine.TokenRow](nil), table.Options{}); err != nil || b.String() != "[]\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}
