package reports

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/outfile"
	"patrol/reports/table"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
)

// readSARIF validates a log against the schema and refuses what it does not know.
func readSARIF(t *testing.T, log []byte) *sarif.Report {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(log))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&sarif.Report{}); err != nil {
		t.Fatal(err)
	}
	r, err := sarif.FromBytes(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range r.Runs {
		run.NewlineSequences = []string{"\r\n", "\n"} // the default; the library makes an absent one empty
	}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	return r
}

func writtenSARIF(t *testing.T, r engine.Report, limits sarifLimits) *sarif.Report {
	t.Helper()
	var b bytes.Buffer
	if err := writeSARIFWithin(t.Context(), &b, r, limits); err != nil {
		t.Fatal(err)
	}
	return readSARIF(t, b.Bytes())
}

func TestSARIF(t *testing.T) {
	t.Parallel()
	log := writtenSARIF(t, report(), codeScanning())
	run := log.Runs[0]
	fingerprints, suppressed := map[string]bool{}, 0
	for _, result := range run.Results {
		fingerprints[result.PartialFingerprints["primaryLocationLineHash"]] = true
		suppressed += len(result.Suppressions)
		where := result.Locations[0]
		if where.PhysicalLocation.Region.StartLine == nil || *where.PhysicalLocation.ArtifactLocation.URI == "" || *where.LogicalLocations[0].Name == "" {
			t.Errorf("a result has no place: %+v", where)
		}
		if *run.Tool.Driver.Rules[result.RuleIndex].ID != *result.RuleID {
			t.Errorf("rule %d is not %s", result.RuleIndex, *result.RuleID)
		}
	}
	want := len(fixtureFindings()) - 2 // one unknown, one error
	if len(run.Results) != want || len(fingerprints) != want || suppressed != 2 {
		t.Errorf("%d results of which %d differ, %d suppressed; want %d, and 2", len(run.Results), len(fingerprints), suppressed, want)
	}
	var told []string
	for _, n := range run.Invocations[0].ToolExecutionNotifications {
		told = append(told, *n.Descriptor.ID)
	}
	if got := strings.Join(told, " "); got != "error unknown coverage coverage" || *run.Invocations[0].ExecutionSuccessful {
		t.Errorf("notifications are %q", got)
	}
}

// sarifRule is what the tests read of a rule.
type sarifRule struct {
	Name  string
	Short struct{ Text string } `json:"shortDescription"`
	Full  struct{ Text string } `json:"fullDescription"`
	Help  struct{ Text string }

	Properties struct{ Tags []string }
}

func ruleOf(t *testing.T, p engine.Policy) (rule sarifRule) {
	t.Helper()
	text, err := table.JSONText(ruleSARIF(p))
	if err == nil {
		err = json.Unmarshal(text, &rule)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

// TestSARIFRules holds the limits of a rule's texts: none empty, none too long.
func TestSARIFRules(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 2000)
	rule := ruleOf(t, engine.Policy{ID: "X-1", Title: long, Description: long, Severity: engine.Low, Controls: map[string][]string{"f": strings.Split(strings.Repeat("c ", 30), " ")}})
	if n := len([]rune(rule.Name)); n != sarifName {
		t.Errorf("name of %d characters", n)
	}
	if n := len([]rune(rule.Full.Text)); n != sarifSummary || len(rule.Properties.Tags) != sarifTags {
		t.Errorf("description of %d characters, %d tags", n, len(rule.Properties.Tags))
	}
	bare := ruleOf(t, engine.Policy{ID: "X-2"})
	if bare.Name == "" || bare.Short.Text == "" || bare.Full.Text == "" || bare.Help.Text == "" || placeOf(engine.Policy{ID: "X-2"}).uri == "" {
		t.Errorf("an empty text: %+v", bare)
	}
}

func TestPlaceOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy engine.Policy
		want   string
	}{
		{engine.Policy{Pack: "built-in", File: "token/a.rego", Source: "package a\n\ndeny contains x if {\n}\n"}, "policies/token/a.rego:3"},
		{engine.Policy{Pack: "./ours", File: "token/a b.rego"}, "ours/token/a%20b.rego:1"},
		{engine.Policy{Pack: "/home/somebody/ours", File: "a.rego"}, "ours/a.rego:1"},
		{engine.Policy{Pack: "../ours", File: "a.rego"}, "ours/a.rego:1"},
	} {
		if p := placeOf(test.policy); fmt.Sprintf("%s:%d", p.uri, p.line) != test.want {
			t.Errorf("got %s:%d, want %s", p.uri, p.line, test.want)
		}
	}
}

// TestSARIFRuns counts runs and results at each limit and one over it.
func TestSARIFRuns(t *testing.T) {
	t.Parallel()
	small := sarifLimits{results: 5, runs: 4, packed: 1 << 30}
	for n, want := range map[int]string{0: "0", 1: "1", 4: "4", 5: "5", 6: "5 1", 10: "5 5", 11: "5 5 1", 20: "5 5 5 5", 21: "5 5 5 5"} {
		log := writtenSARIF(t, many(n), small)
		var got, ids []string
		for _, run := range log.Runs {
			got = append(got, fmt.Sprint(len(run.Results)))
			ids = append(ids, *run.AutomationDetails.ID)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%d findings: runs of %v, want %s", n, got, want)
		}
		if len(ids) > 1 && (ids[0] != "patrol/" || ids[1] != "patrol-2/") {
			t.Errorf("runs are named %v", ids)
		}
		last := log.Runs[len(log.Runs)-1].Invocations[0].ToolExecutionNotifications
		if left := len(last) > 0 && strings.HasPrefix(*last[len(last)-1].Message.Text, "1 results are left out"); left != (n == 21) {
			t.Errorf("%d findings: told that something is left out: %v", n, left)
		}
	}
}

// TestSARIFParts writes as many files as the findings need, and takes away
// those of a larger report before.
func TestSARIFParts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for n, want := range map[int]int{0: 1, 20: 1, 21: 2, 61: 4} {
		os.WriteFile(filepath.Join(dir, "audit-7.sarif"), nil, 0o600)
		os.WriteFile(filepath.Join(dir, "audit-x.sarif"), nil, 0o600)
		format := catalogue{}.SARIF()
		format.Parts = partsWithin(sarifLimits{results: 5, runs: 4, packed: 1 << 30})
		paths, err := WriteAll(t.Context(), dir, []Format{format}, many(n), outfile.Files{})
		if err != nil {
			t.Fatal(err)
		}
		left, _ := filepath.Glob(filepath.Join(dir, "audit*.sarif"))
		if len(paths) != want || len(left) != want+1 {
			t.Errorf("%d findings: wrote %v, found %v", n, paths, left)
		}
		if got := resultsIn(t, paths); got != n {
			t.Errorf("%d findings: %d in %v", n, got, paths)
		}
	}
}

// resultsIn counts results whose fingerprints and runs' names differ.
func resultsIn(t *testing.T, paths []string) int {
	t.Helper()
	seen := map[string]bool{}
	results := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range readSARIF(t, text).Runs {
			if seen[*run.AutomationDetails.ID] {
				t.Errorf("two runs are named %s", *run.AutomationDetails.ID)
			}
			seen[*run.AutomationDetails.ID] = true
			results += len(run.Results)
		}
	}
	return results
}

// TestSARIFPacked fills files up to what one upload takes.
func TestSARIFPacked(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	limits := sarifLimits{results: 5_000, runs: 20, packed: 400_000}
	files, total := 0, 0
	for part := range sarifParts(t.Context(), many(20_000), limits) {
		var b, packed bytes.Buffer
		if err := part(&b); err != nil {
			t.Fatal(err)
		}
		zip := gzip.NewWriter(&packed)
		zip.Write(b.Bytes())
		zip.Close()
		if packed.Len() > 600_000 {
			t.Errorf("a file takes %d bytes", packed.Len())
		}
		files++
		total += bytes.Count(b.Bytes(), []byte(`"ruleId"`))
	}
	if files < 2 || total != 20_000 {
		t.Errorf("%d results in %d files", total, files)
	}
}

// TestSARIFAtScale holds the real limits: runs of 5,000, files of 20 runs or
// less than 10 MB, nothing lost.
func TestSARIFAtScale(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	for n, want := range map[int]int{5_000: 1, 5_001: 2, 25_001: 6} {
		runs, results := 0, 0
		for part := range sarifParts(t.Context(), many(n), codeScanning()) {
			var seen counter
			if err := part(&seen); err != nil {
				t.Fatal(err)
			}
			if seen.runs > 20 {
				t.Errorf("%d findings: %d runs in a file", n, seen.runs)
			}
			runs += seen.runs
			results += seen.results
		}
		if results != n || runs < want {
			t.Errorf("%d findings: %d results in %d runs, want all in at least %d", n, results, runs, want)
		}
	}
}

// counter counts runs and results as they are written.
type counter struct{ runs, results int }

func (c *counter) Write(b []byte) (int, error) {
	c.runs += bytes.Count(b, []byte(`"automationDetails"`))
	c.results += bytes.Count(b, []byte(`"ruleId"`))
	return len(b), nil
}

func partsWithin(limits sarifLimits) Parts {
	return func(ctx context.Context, r engine.Report) iter.Seq[Part] { return sarifParts(ctx, r, limits) }
}
