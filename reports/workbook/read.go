package workbook

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"patrol/engine"

	"github.com/xuri/excelize/v2"
)

// Rows are the cells of a worksheet as text. Large worksheets are unpacked to
// temporary files, up to so many bytes.
func Rows(path, tab string) (rows [][]string, err error) {
	const most, inMemory = 2 << 30, 8 << 20
	file, err := excelize.OpenFile(path, excelize.Options{UnzipSizeLimit: most, UnzipXMLSizeLimit: inMemory})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return file.GetRows(tab)
}

// Form is a worksheet of steps that somebody filled in. Only its input columns and
// the digest count; all other cells are there to be read only.
type Form struct {
	Sheet   string
	Input   []string        // headers: the step's id, the word chosen, and free texts, the first of which is a comment
	Choices []string        // words to choose from in the second column
	Steps   map[string]bool // ids of those that may be answered
	Summary string          // the worksheet with the digest
	Label   string          // what stands before the digest
	Digest  string          // of the plan that the form has to be about
}

// Answer is a row of a form that somebody filled in.
type Answer struct {
	Step  string
	Place string // worksheet and row
	Word  string
	Texts []string
}

// How large a workbook may be that somebody hands back.
const (
	maxBookBytes  = 256 << 20
	maxSheetBytes = 64 << 20
)

// Read reads the rows in which a word was chosen. A workbook about another plan, a
// row of an unknown step, a step that is there twice, an unknown word and any
// formula are refused with their place.
func (f Form) Read(path string) ([]Answer, error) {
	file, err := excelize.OpenFile(path, excelize.Options{UnzipSizeLimit: maxBookBytes, UnzipXMLSizeLimit: maxSheetBytes})
	if err != nil {
		return nil, Bad(path, fmt.Errorf("open workbook: %w", err))
	}
	defer func() { _ = file.Close() }()
	digest, err := f.digest(file)
	switch {
	case err != nil:
		return nil, Bad(path, err)
	case digest != f.Digest:
		return nil, &engine.Error{Class: engine.ClassRefused, Reason: "other_plan", Op: "read decisions from", Target: path,
			Hint: "Review a workbook of this plan: `patrol plan --format xlsx` writes it beside the plan.",
			Err:  fmt.Errorf("it is about the plan with sha256 %.12s, this one has %.12s", digest, f.Digest)}
	}
	var answers []Answer
	seen := map[string]string{} // step → place
	found := false
	for _, tab := range file.GetSheetList() {
		if tab != f.Sheet && !strings.HasPrefix(tab, f.Sheet+" (") {
			continue
		}
		found = true
		more, err := f.rows(file, tab, seen)
		if err != nil {
			return nil, Bad(path, err)
		}
		answers = append(answers, more...)
	}
	if !found {
		return nil, Bad(path, fmt.Errorf("there is no worksheet %s", f.Sheet))
	}
	return answers, nil
}

// Bad is the error of a workbook that cannot be read as a form.
func Bad(path string, err error) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "bad_workbook", Op: "read decisions from", Target: path,
		Hint: "Correct the cell, or take a fresh workbook from `patrol plan`.", Err: err}
}

// digest finds the plan's digest on the summary.
func (f Form) digest(file *excelize.File) (string, error) {
	rows, err := file.GetRows(f.Summary)
	if err != nil {
		return "", err
	}
	for i, row := range rows {
		if len(row) >= 2 && row[0] == f.Label {
			return strings.TrimSpace(row[1]), noFormula(file, f.Summary, 2, i+1)
		}
	}
	return "", fmt.Errorf("the worksheet %s has no %q", f.Summary, f.Label)
}

func (f Form) rows(file *excelize.File, tab string, seen map[string]string) (answers []Answer, err error) {
	rows, err := file.GetRows(tab)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("worksheet %s is empty", tab)
	}
	columns := make([]int, len(f.Input))
	for i, header := range f.Input {
		if columns[i] = slices.Index(rows[0], header); columns[i] < 0 {
			return nil, fmt.Errorf("worksheet %s has no column %s", tab, header)
		}
	}
	for i, row := range rows[1:] {
		for column := range max(len(row), slices.Max(columns)+1) {
			if err := noFormula(file, tab, column+1, i+2); err != nil {
				return nil, err
			}
		}
		if strings.TrimSpace(strings.Join(row, "")) == "" {
			continue
		}
		var input []string
		for _, column := range columns {
			text := ""
			if column < len(row) {
				text = strings.TrimSpace(row[column])
			}
			input = append(input, text)
		}
		a := Answer{Step: input[0], Place: fmt.Sprintf("%s, row %d", tab, i+2), Word: strings.ToLower(input[1]), Texts: input[2:]}
		switch before := seen[a.Step]; {
		case !f.Steps[a.Step]:
			return nil, fmt.Errorf("%s: the plan has no step %q", a.Place, a.Step)
		case before != "":
			return nil, fmt.Errorf("%s: step %s stands in %s already", a.Place, a.Step, before)
		case a.Word == "" && strings.Join(a.Texts, "") != "":
			return nil, fmt.Errorf("%s: step %s has a %s and no %s", a.Place, a.Step, strings.ToLower(f.Input[2]), strings.ToLower(f.Input[1]))
		case a.Word != "" && !slices.Contains(f.Choices, a.Word):
			return nil, fmt.Errorf("%s: %s %q: want one of %s", a.Place, strings.ToLower(f.Input[1]), a.Word, strings.Join(f.Choices, ", "))
		}
		seen[a.Step] = a.Place
		if a.Word != "" {
			answers = append(answers, a)
		}
	}
	return answers, nil
}

// noFormula refuses a formula anywhere in a row: its shown value is whatever the
// last program that opened the file made of it.
func noFormula(file *excelize.File, tab string, column, row int) error {
	cell, err := excelize.CoordinatesToCellName(column, row)
	if err != nil {
		return err
	}
	formula, err := file.GetCellFormula(tab, cell)
	if err != nil {
		return err
	}
	if formula != "" {
		return fmt.Errorf("%s!%s: holds a formula, and a decision is no computation", tab, cell)
	}
	return nil
}
