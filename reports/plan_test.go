package reports

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/remedy"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

const planDigest = "2698ec7801195b5631cae573d13687ad5f715d369c68ffe866d1ef095a80b0e2"

func planFixture() engine.Plan {
	idle := int64(2)
	p := engine.Plan{
		ID: "p1", AsOf: "2026-11-24T12:00:00Z", NotBefore: "2026-11-24T12:00:00Z", ExpiresAt: "2026-11-25T12:00:00Z", Planner: "planner",
		Workspaces: []engine.PlanWorkspace{{ID: "1", Name: "prod", Host: "https://prod.example.com", Tokens: 100}}, Limits: engine.DefaultLimits(),
		NotPlanned: []engine.NotPlanned{{Policy: "PAT-009", WorkspaceID: "1", ResourceID: "t0", Reason: "superseded", Detail: "step s0 revokes the token"}},
	}
	for i := range 3 {
		p.Steps = append(p.Steps, engine.Step{
			ID: fmt.Sprintf("s%012d", i), Action: engine.Revoke, Workspace: "prod", WorkspaceID: "1", Target: fmt.Sprintf("%064d", i),
			Owner: "=HYPERLINK(\"https://example.com\")", OwnerID: "9007199254740993", Policies: []string{"PAT-004"}, Severity: engine.High,
			Reasons: []string{"unused for 120 days"}, NotBefore: "2026-11-24T12:00:00Z", Critical: i == 2,
			Risk: engine.Risk{Level: []string{"low", "medium", "high"}[i], Why: "used 2 days ago", IdleDays: &idle, RecentlyUsed: i == 2},
		})
	}
	return p
}

// planBook writes the workbook and lets a reviewer change it.
func planBook(t *testing.T, review func(*excelize.File)) string {
	t.Helper()
	var b bytes.Buffer
	if err := PlanXLSX(context.Background(), &b, planFixture(), planDigest); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan.xlsx")
	if review == nil {
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file, err := excelize.OpenReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	review(file)
	if err := file.SaveAs(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func set(cell, text string) func(*excelize.File) {
	return func(file *excelize.File) { _ = file.SetCellStr("Steps", cell, text) }
}

func all(changes ...func(*excelize.File)) func(*excelize.File) {
	return func(file *excelize.File) {
		for _, change := range changes {
			change(file)
		}
	}
}

func TestPlanWorkbookIsTheSameEachTime(t *testing.T) {
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if err := PlanXLSX(context.Background(), b, planFixture(), planDigest); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same plan gives different bytes")
	}
}

func TestDecisionsComeBack(t *testing.T) {
	path := planBook(t, all(set("B2", "approve"), set("B3", " Reject "), set("C3", "=still needed"), set("B4", "")))
	got, err := ReadPlanXLSX(path, planFixture(), planDigest)
	if err != nil {
		t.Fatal(err)
	}
	want := []StepDecision{{"s000000000000", "approve", ""}, {"s000000000001", "reject", "=still needed"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	none, err := ReadPlanXLSX(planBook(t, nil), planFixture(), planDigest)
	if err != nil || len(none) != 0 {
		t.Errorf("an untouched workbook decides %v, %v", none, err)
	}
}

func TestReviewersCannotSlip(t *testing.T) {
	file, err := excelize.OpenFile(planBook(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rules, err := file.GetDataValidations("Steps")
	if err != nil || len(rules) != 1 || rules[0].Sqref != "B2:B4" || rules[0].Formula1 != `"approve,reject,defer"` {
		t.Errorf("drop-down: %+v, %v", rules, err)
	}
	if protection, err := file.GetSheetProtection("Steps"); err != nil || !protection.AutoFilter || protection.InsertRows {
		t.Errorf("protection: %+v, %v", protection, err)
	}
	for cell, locked := range map[string]bool{"A2": true, "B2": false, "C2": false, "I2": true} {
		id, _ := file.GetCellStyle("Steps", cell)
		style, err := file.GetStyle(id)
		if err != nil {
			t.Fatal(err)
		}
		if got := style.Protection == nil || style.Protection.Locked; got != locked {
			t.Errorf("%s: locked %v, want %v", cell, got, locked)
		}
	}
	if formula, _ := file.GetCellFormula("Steps", "I2"); formula != "" {
		t.Errorf("an owner's name became the formula %q", formula)
	}
}

func TestWorkbooksThatAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		review func(*excelize.File)
		want   string
		class  engine.Class
	}{
		{"unknown step", set("A2", "s999999999999"), `Steps, row 2: the plan has no step "s999999999999"`, engine.ClassUsage},
		{"step twice", set("A3", "s000000000000"), "Steps, row 3: step s000000000000 stands in Steps, row 2 already", engine.ClassUsage},
		{"no step", all(set("A2", ""), set("B2", "approve")), `Steps, row 2: the plan has no step ""`, engine.ClassUsage},
		{"unknown decision", set("B2", "yes"), `Steps, row 2: decision "yes"`, engine.ClassUsage},
		{"comment alone", set("C2", "hm"), "has a comment and no decision", engine.ClassUsage},
		{"formula as decision", func(f *excelize.File) { _ = f.SetCellFormula("Steps", "B2", `"app"&"rove"`) }, "Steps!B2: holds a formula", engine.ClassUsage},
		{"formula as step", func(f *excelize.File) { _ = f.SetCellFormula("Steps", "A2", "A3") }, "Steps!A2: holds a formula", engine.ClassUsage},
		{"formula elsewhere", func(f *excelize.File) { _ = f.SetCellFormula("Steps", "F2", "1+1") }, "Steps!F2: holds a formula", engine.ClassUsage},
		{"another plan", func(f *excelize.File) { _ = f.SetCellStr(summarySheet, "B3", strings.Repeat("0", 64)) }, "it is about the plan with sha256 000000000000", engine.ClassRefused},
		{"digest by formula", func(f *excelize.File) { _ = f.SetCellFormula(summarySheet, "B3", `"`+planDigest+`"`) }, "Summary!B3: holds a formula", engine.ClassUsage},
		{"no digest", func(f *excelize.File) { _ = f.SetCellStr(summarySheet, "A3", "x") }, `has no "Plan sha256"`, engine.ClassUsage},
		{"no worksheet", func(f *excelize.File) { _ = f.DeleteSheet("Steps") }, "there is no worksheet Steps", engine.ClassUsage},
		{"no column", set("B1", "Verdict"), "worksheet Steps has no column Decision", engine.ClassUsage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ReadPlanXLSX(planBook(t, tc.review), planFixture(), planDigest)
			known, ok := engine.AsError(err)
			if !ok || known.Class != tc.class || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	text := filepath.Join(t.TempDir(), "plan.xlsx")
	if err := os.WriteFile(text, []byte("no workbook"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPlanXLSX(text, planFixture(), planDigest); err == nil {
		t.Error("a text file was read")
	}
}

func TestPlanTableFitsATerminal(t *testing.T) {
	p := planFixture()
	for _, brief := range []bool{false, true} {
		var b bytes.Buffer
		v := PlanView{Plan: p, SHA256: planDigest, Over: remedy.Exceeds(p, remedy.Every),
			Standing: []string{"Approved: 3 of 3 steps."}, Verdicts: map[string]string{"s000000000000": "approved"}}
		if !brief {
			v.Of, v.All, v.Steps = len(p.Steps), len(p.Steps), p.Steps
		}
		if err := PlanTable(&b, v, table.Options{Width: 80}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if table.Cells(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("line is too long: %q", line)
			}
		}
		if !strings.Contains(b.String(), "max_recently_used is 0, these steps come to 1") {
			t.Errorf("limits are not told:\n%s", b.String())
		}
		if !brief && strings.Count(b.String(), "used 2 days ago") != 3 {
			t.Errorf("last use is not in plain sight:\n%s", b.String())
		}
	}
}

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
