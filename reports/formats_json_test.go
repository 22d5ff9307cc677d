package reports

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/outfile"
	"patrol/reports/table"

	"github.com/defenseunicorns/go-oscal/src/pkg/validation"
	oscaltypes "github.com/defenseunicorns/go-oscal/src/types/oscal-1-1-3"
	validate "github.com/valllabh/ocsf-schema-golang/ocsfvalidate/1.2"
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

// ocsfEvent is what the tests read of an event.
type ocsfEvent struct {
	ActivityID int `json:"activity_id"`
	ClassUID   int `json:"class_uid"`
	TypeUID    int `json:"type_uid"`
	StatusID   int `json:"status_id"`
	Status     string
	Finding    struct{ UID string } `json:"finding_info"`
	Compliance struct {
		StatusID int `json:"status_id"`
		Status   string
	}
	Unmapped struct{ Status engine.Status }
}

// writtenOCSF validates each event against the schema of its class.
func writtenOCSF(t *testing.T, r engine.Report) []ocsfEvent {
	t.Helper()
	var b bytes.Buffer
	if err := writeOCSF(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &raw); err != nil {
		t.Fatal(err)
	}
	events := make([]ocsfEvent, len(raw))
	for i, text := range raw {
		if err := validate.Validate("compliance_finding", text); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
		if err := json.Unmarshal(text, &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return events
}

func TestOCSF(t *testing.T) {
	t.Parallel()
	events := writtenOCSF(t, report())
	findings := fixtureFindings()
	if len(events) != len(findings) {
		t.Fatalf("%d events of %d findings", len(events), len(findings))
	}
	for i, f := range findings {
		e := events[i]
		suppressed := f.Status == engine.Waived || f.Status == engine.Baselined
		if (e.StatusID == 3) != suppressed || (e.Compliance.StatusID == 0) != !f.Status.Judged() {
			t.Errorf("%s is %s and %s", f.Status, e.Status, e.Compliance.Status)
		}
		if e.TypeUID != e.ClassUID*100+e.ActivityID || e.Finding.UID != f.Fingerprint || e.Unmapped.Status != f.Status {
			t.Errorf("%+v", e)
		}
	}
}

func TestOCSFOfNothing(t *testing.T) {
	t.Parallel()
	for n := range 3 {
		if got := len(writtenOCSF(t, many(n))); got != n {
			t.Errorf("%d events, want %d", got, n)
		}
	}
}

func TestSeverityOCSF(t *testing.T) {
	t.Parallel()
	for i, level := range engine.Severities() {
		if id, _ := severityOCSF(level); id != 5-i {
			t.Errorf("%s is %d", level, id)
		}
	}
}

// writtenOSCAL validates the document against the schema and refuses what it
// does not know.
func writtenOSCAL(t *testing.T, r engine.Report) *oscaltypes.AssessmentResults {
	t.Helper()
	var b bytes.Buffer
	if err := writeOSCAL(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	validator, err := validation.NewValidatorDesiredVersion(b.Bytes(), oscalVersion)
	if err != nil {
		t.Fatal(err)
	}
	if err := validator.Validate(); err != nil {
		result, _ := validator.GetValidationResult()
		t.Fatalf("%v: %+v", err, result)
	}
	var models oscaltypes.OscalModels
	decoder := json.NewDecoder(&b)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&models); err != nil {
		t.Fatal(err)
	}
	return models.AssessmentResults
}

func TestOSCAL(t *testing.T) {
	t.Parallel()
	result := writtenOSCAL(t, report()).Results[0]
	evidence, known := 0, map[string]bool{}
	for _, o := range *result.Observations {
		if known[o.UUID] {
			t.Errorf("two observations are %s", o.UUID)
		}
		known[o.UUID] = true
		if o.RelevantEvidence != nil {
			evidence += len(*o.RelevantEvidence)
		}
	}
	if want := len(fixtureFindings()); evidence != want {
		t.Errorf("%d findings in all observations, want %d", evidence, want)
	}
	states := map[string]string{}
	for _, f := range *result.Findings {
		states[f.Target.TargetId] = f.Target.Status.State + " " + f.Target.Status.Reason
		for _, related := range *f.RelatedObservations {
			if !known[related.ObservationUuid] {
				t.Errorf("%s rests on an observation that is not there", f.Title)
			}
		}
	}
	if states["ia-5"] != "not-satisfied fail" || states["iso-27001-2022_A.8.2"] != "not-satisfied other" || states["ac-2.3"] == "" {
		t.Errorf("controls are %v", states)
	}
}

func TestOSCALOfNothing(t *testing.T) {
	t.Parallel()
	for n := range 3 {
		writtenOSCAL(t, many(n))
	}
	writtenOSCAL(t, engine.Report{AsOf: asOf, Findings: table.Known[engine.Finding](nil)})
	writtenOSCAL(t, engine.Report{AsOf: asOf, Findings: table.Known[engine.Finding](nil), Policies: fixturePolicies(nil)[:1], Workspaces: fixtureWorkspaces(1)[:1]})
}

func TestControlID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nist-800-53r5 IA-5":              "ia-5",
		"nist-800-53r5 AC-2(3)(d)":        "ac-2.3",
		"nist-800-53r5 AC-2(j)":           "ac-2",
		"cis-azure-foundations-6.0 2.1.6": "cis-azure-foundations-6.0_2.1.6",
		"7-own a b/c":                     "_7-own_a_b_c",
	} {
		framework, control, _ := strings.Cut(in, " ")
		if got := controlID(framework, control); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

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
