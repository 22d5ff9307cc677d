package reports

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"patrol/engine"

	"github.com/xuri/excelize/v2"
)

// StepDecision is a reviewer's decision as a workbook holds it.
type StepDecision struct {
	Step     string
	Decision string // approve, reject or defer
	Comment  string
}

// How large a workbook may be that somebody hands back.
const (
	maxBookBytes  = 256 << 20
	maxSheetBytes = 64 << 20
)

// ReadPlanXLSX reads the decisions from a workbook that PlanXLSX wrote for this
// plan. Only the step's id, its decision and comment, and the plan's digest are
// read. Rows without a decision are left out; a row of an unknown step, a step
// that is there twice, an unknown decision and any formula are refused with
// their place.
func ReadPlanXLSX(path string, p engine.Plan, digest string) ([]StepDecision, error) {
	file, err := excelize.OpenFile(path, excelize.Options{UnzipSizeLimit: maxBookBytes, UnzipXMLSizeLimit: maxSheetBytes})
	if err != nil {
		return nil, badBook(path, fmt.Errorf("open workbook: %w", err))
	}
	defer func() { _ = file.Close() }()
	if err := checkDigest(file, path, digest); err != nil {
		return nil, err
	}
	r := &decisionReader{file: file, steps: map[string]bool{}, seen: map[string]string{}}
	for _, step := range p.Steps {
		r.steps[step.ID] = true
	}
	if err := r.read(); err != nil {
		return nil, badBook(path, err)
	}
	return r.decisions, nil
}

func badBook(path string, err error) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "bad_workbook", Op: "read decisions from", Target: path,
		Hint: "Correct the cell, or take a fresh workbook from `patrol plan --format xlsx`.", Err: err}
}

// checkDigest finds the plan's digest on the summary.
func checkDigest(file *excelize.File, path, digest string) error {
	rows, err := file.GetRows(summarySheet)
	if err != nil {
		return badBook(path, err)
	}
	for i, row := range rows {
		if len(row) < 2 || row[0] != digestLabel {
			continue
		}
		if err := noFormula(file, summarySheet, 2, i+1); err != nil {
			return badBook(path, err)
		}
		if strings.TrimSpace(row[1]) == digest {
			return nil
		}
		return &engine.Error{Class: engine.ClassRefused, Reason: "other_plan", Op: "read decisions from", Target: path,
			Hint: "Review a workbook of this plan: `patrol plan --format xlsx` writes it beside the plan.",
			Err:  fmt.Errorf("it is about the plan with sha256 %.12s, this one has %.12s", row[1], digest)}
	}
	return badBook(path, fmt.Errorf("the worksheet %s has no %q", summarySheet, digestLabel))
}

// decisionReader collects decisions from the worksheets of steps.
type decisionReader struct {
	file      *excelize.File
	steps     map[string]bool
	seen      map[string]string // step → place
	decisions []StepDecision
}

func (r *decisionReader) read() error {
	found := false
	for _, name := range r.file.GetSheetList() {
		if name != stepsSheet && !strings.HasPrefix(name, stepsSheet+" (") {
			continue
		}
		found = true
		if err := r.sheet(name); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("there is no worksheet %s", stepsSheet)
	}
	return nil
}

func (r *decisionReader) sheet(name string) error {
	rows, err := r.file.GetRows(name)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("worksheet %s is empty", name)
	}
	var columns [3]int
	for i, header := range []string{stepHeader, decisionHeader, commentHeader} {
		if columns[i] = slices.Index(rows[0], header); columns[i] < 0 {
			return fmt.Errorf("worksheet %s has no column %s", name, header)
		}
	}
	for i, row := range rows[1:] {
		if err := r.row(name, i+2, row, columns); err != nil {
			return err
		}
	}
	return nil
}

func (r *decisionReader) row(sheet string, number int, row []string, columns [3]int) error {
	if err := r.formulas(sheet, number, max(len(row), slices.Max(columns[:])+1)); err != nil {
		return err
	}
	if strings.TrimSpace(strings.Join(row, "")) == "" {
		return nil
	}
	step, decision, comment := cellText(row, columns[0]), strings.ToLower(cellText(row, columns[1])), cellText(row, columns[2])
	place := fmt.Sprintf("%s, row %d", sheet, number)
	switch before := r.seen[step]; {
	case !r.steps[step]:
		return fmt.Errorf("%s: the plan has no step %q", place, step)
	case before != "":
		return fmt.Errorf("%s: step %s stands in %s already", place, step, before)
	case decision == "" && comment != "":
		return fmt.Errorf("%s: step %s has a comment and no decision", place, step)
	case decision != "" && !slices.Contains(decisionWords[:], decision):
		return fmt.Errorf("%s: decision %q: want one of %s", place, decision, strings.Join(decisionWords[:], ", "))
	}
	r.seen[step] = place
	if decision != "" {
		r.decisions = append(r.decisions, StepDecision{Step: step, Decision: decision, Comment: comment})
	}
	return nil
}

// formulas refuses a formula anywhere in a row: its shown value is whatever the
// last program that opened the file made of it.
func (r *decisionReader) formulas(sheet string, row, width int) error {
	for column := 1; column <= width; column++ {
		if err := noFormula(r.file, sheet, column, row); err != nil {
			return err
		}
	}
	return nil
}

var errFormula = errors.New("holds a formula, and a decision is no computation")

func noFormula(file *excelize.File, sheet string, column, row int) error {
	cell, err := excelize.CoordinatesToCellName(column, row)
	if err != nil {
		return err
	}
	formula, err := file.GetCellFormula(sheet, cell)
	if err != nil {
		return err
	}
	if formula != "" {
		return fmt.Errorf("%s!%s: %w", sheet, cell, errFormula)
	}
	return nil
}

func cellText(row []string, column int) string {
	if column >= len(row) {
		return ""
	}
	return strings.TrimSpace(row[column])
}
