package reports

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

func outcomeFixture() engine.OutcomeReport {
	hostile := "=HYPERLINK(\"x\")\x1b[31m"
	step := engine.Step{ID: "s1", Action: engine.Revoke, Workspace: "prod", WorkspaceID: "9265712442366781", Target: strings.Repeat("5e", 32), Owner: hostile, Policies: []string{"PAT-001"}}
	other := step
	other.ID = "s2"
	return engine.OutcomeReport{
		Schema: 1, PlanID: "p1", Finished: true, Counts: map[engine.StepState]int{engine.StateDone: 1, engine.StateSkippedDrift: 1},
		Outcomes: []engine.Outcome{
			{Step: step, State: engine.StateDone, Attempt: 1, HTTP: 200, Request: "q", At: "2026-11-24T12:00:00Z"},
			{Step: other, State: engine.StateSkippedDrift, Reason: "identity", Detail: hostile, At: "2026-11-24T12:00:01Z"},
		},
		Workspaces: []engine.OutcomeWorkspace{{ID: "9265712442366781", Name: "prod", StillListed: []string{"aa"}, ThirdParty: []string{"bb"}}},
	}
}

func TestOutcomeTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := OutcomeTable(&out, OutcomeView{Report: outcomeFixture(), Files: []string{"plan.outcome.json"}}, table.Options{Width: 100}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{"finished, not every approved step", "1 done, 1 skipped drift", "s2  revoke", "skipped drift (identity)", "still listed", "1 token vanished", "plan.outcome.json"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") || strings.Contains(text, "s1  revoke") {
		t.Errorf("shows too much:\n%q", text)
	}
}

func TestOutcomeCSV(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := OutcomeCSV(&out, outcomeFixture()); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != 3 || rows[2][1] != "skipped_drift" || !strings.HasPrefix(rows[2][3], "'=") {
		t.Errorf("%v, %v", rows, err)
	}
}

func TestOutcomeXLSX(t *testing.T) {
	t.Parallel()
	var one, two bytes.Buffer
	for _, out := range []*bytes.Buffer{&one, &two} {
		if err := OutcomeXLSX(t.Context(), out, outcomeFixture()); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same outcome gives other bytes")
	}
	book, err := excelize.OpenReader(&one)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = book.Close() }()
	rows, err := book.GetRows("Outcome")
	if err != nil || len(rows) != 3 || rows[1][0] != "s1" || rows[1][6] != "9265712442366781" {
		t.Errorf("%v, %v", rows, err)
	}
	if rows, err := book.GetRows("Vanished"); err != nil || len(rows) != 3 {
		t.Errorf("%v, %v", rows, err)
	}
}
