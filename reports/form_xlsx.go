package reports

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// Columns of every form: the id of the step, and what somebody says to it.
const (
	stepHeader    = "Step"
	commentHeader = "Comment"
	digestLabel   = "Plan sha256"
)

// form is a worksheet of steps that somebody fills in. Only its input columns
// count when it is read back; all other cells are there to be read only.
type form struct {
	sheet string
	input []string // headers: the step's id, the word chosen, and free texts, the first of which is a comment
	words []string // to choose from in the second column
}

// fillForm writes the worksheet to fill in; a column without values is one to
// fill in, the second the one to choose in. Everything else is locked against
// slips; what is read back does not rest on that.
func fillForm(ctx context.Context, b *book, f form, columns []table.Column[engine.Step], steps []engine.Step) error {
	if _, err := b.file.NewSheet(f.sheet); err != nil {
		return err
	}
	input, err := b.inputStyle()
	if err != nil {
		return err
	}
	choice := excelize.NewDataValidation(true)
	choice.SetSqref(fmt.Sprintf("B2:B%d", max(2, len(steps)+1)))
	if err := choice.SetDropList(f.words); err != nil {
		return err
	}
	choice.SetError(excelize.DataValidationErrorStyleStop, f.input[1], "Choose "+strings.Join(f.words, ", ")+", or leave the cell empty.")
	if err := b.file.AddDataValidation(f.sheet, choice); err != nil {
		return err
	}
	err = b.file.ProtectSheet(f.sheet, &excelize.SheetProtectionOptions{
		AutoFilter: true, Sort: true, FormatColumns: true, FormatRows: true, SelectLockedCells: true, SelectUnlockedCells: true,
	})
	if err != nil {
		return err
	}
	for i := range columns {
		if columns[i].Value == nil {
			columns[i].Value = func(engine.Step) any { return excelize.Cell{StyleID: input, Value: ""} }
		}
	}
	return fillSheet(ctx, b, f.sheet, columns, table.Known(steps))
}

// inputStyle is that of cells to fill in: text, so that nothing typed into them
// becomes a formula or a number.
func (b *book) inputStyle() (int, error) {
	return b.file.NewStyle(&excelize.Style{
		NumFmt: 49, Protection: &excelize.Protection{Locked: false}, Alignment: &excelize.Alignment{Vertical: "top", WrapText: true},
		Fill: excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{"FEF9C3"}}, Font: &excelize.Font{Family: "Calibri", Size: 11},
		Border: []excelize.Border{{Type: "bottom", Color: "D1D5DB", Style: 1}, {Type: "right", Color: "D1D5DB", Style: 1}},
	})
}

// lines are a block of texts below a title.
func (b *book) lines(title string, texts ...string) [][]any {
	rows := [][]any{{b.label(title)}}
	for _, text := range texts {
		rows = append(rows, []any{b.textCell(table.KindPlain, text)})
	}
	return rows
}

// fillSummary writes the first worksheet from blocks of rows.
func (b *book) fillSummary(blocks ...[][]any) error {
	return b.blocks(summarySheet, []float64{36, 70, 30}, blocks...)
}

// answer is a row of a form that somebody filled in.
type answer struct {
	step  engine.Step
	place string // worksheet and row
	word  string
	texts []string
}

// How large a workbook may be that somebody hands back.
const (
	maxBookBytes  = 256 << 20
	maxSheetBytes = 64 << 20
)

// readForm reads the rows in which a word was chosen from a workbook about the
// plan with a digest. A row of a step that is none of these, a step that is
// there twice, an unknown word and any formula are refused with their place.
func readForm(path string, f form, steps []engine.Step, digest string) ([]answer, error) {
	file, err := excelize.OpenFile(path, excelize.Options{UnzipSizeLimit: maxBookBytes, UnzipXMLSizeLimit: maxSheetBytes})
	if err != nil {
		return nil, badBook(path, fmt.Errorf("open workbook: %w", err))
	}
	defer func() { _ = file.Close() }()
	if err := checkDigest(file, path, digest); err != nil {
		return nil, err
	}
	r := &formReader{form: f, file: file, steps: map[string]engine.Step{}, seen: map[string]string{}}
	for _, step := range steps {
		r.steps[step.ID] = step
	}
	if err := r.read(); err != nil {
		return nil, badBook(path, err)
	}
	return r.answers, nil
}

func badBook(path string, err error) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: "bad_workbook", Op: "read decisions from", Target: path,
		Hint: "Correct the cell, or take a fresh workbook from `patrol plan`.", Err: err}
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

// formReader collects answers from the worksheets of a form.
type formReader struct {
	form
	file    *excelize.File
	steps   map[string]engine.Step
	seen    map[string]string // step → place
	answers []answer
}

func (r *formReader) read() error {
	found := false
	for _, name := range r.file.GetSheetList() {
		if name != r.sheet && !strings.HasPrefix(name, r.sheet+" (") {
			continue
		}
		found = true
		if err := r.rows(name); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("there is no worksheet %s", r.sheet)
	}
	return nil
}

func (r *formReader) rows(name string) error {
	rows, err := r.file.GetRows(name)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("worksheet %s is empty", name)
	}
	columns := make([]int, len(r.input))
	for i, header := range r.input {
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

func (r *formReader) row(sheet string, number int, row []string, columns []int) error {
	if err := r.formulas(sheet, number, max(len(row), slices.Max(columns)+1)); err != nil {
		return err
	}
	if strings.TrimSpace(strings.Join(row, "")) == "" {
		return nil
	}
	id, word := cellText(row, columns[0]), strings.ToLower(cellText(row, columns[1]))
	a := answer{place: fmt.Sprintf("%s, row %d", sheet, number), word: word}
	for _, column := range columns[2:] {
		a.texts = append(a.texts, cellText(row, column))
	}
	var known bool
	a.step, known = r.steps[id]
	switch before := r.seen[id]; {
	case !known:
		return fmt.Errorf("%s: the plan has no step %q", a.place, id)
	case before != "":
		return fmt.Errorf("%s: step %s stands in %s already", a.place, id, before)
	case word == "" && strings.Join(a.texts, "") != "":
		return fmt.Errorf("%s: step %s has a %s and no %s", a.place, id, strings.ToLower(r.input[2]), strings.ToLower(r.input[1]))
	case word != "" && !slices.Contains(r.words, word):
		return fmt.Errorf("%s: %s %q: want one of %s", a.place, strings.ToLower(r.input[1]), word, strings.Join(r.words, ", "))
	}
	r.seen[id] = a.place
	if word != "" {
		r.answers = append(r.answers, a)
	}
	return nil
}

// formulas refuses a formula anywhere in a row: its shown value is whatever the
// last program that opened the file made of it.
func (r *formReader) formulas(sheet string, row, width int) error {
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
