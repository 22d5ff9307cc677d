package reports

import (
	"fmt"
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
func (b *book) fillForm(f form, columns []table.Column[engine.Step], steps []engine.Step) error {
	s := &sheet{book: b, name: f.sheet}
	for _, c := range columns {
		s.headings = append(s.headings, c.Heading())
		s.widths = append(s.widths, c.Width)
	}
	if err := s.start(); err != nil {
		return err
	}
	input, err := b.inputStyle()
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := s.add(b.stepRow(columns, step, input)); err != nil {
			return err
		}
	}
	if err := b.guard(f, len(steps)); err != nil {
		return err
	}
	return s.end()
}

func (b *book) stepRow(columns []table.Column[engine.Step], step engine.Step, input int) (cells []any, height int) {
	height = 1
	for _, c := range columns {
		if c.Value == nil {
			cells = append(cells, excelize.Cell{StyleID: input, Value: ""})
			continue
		}
		cell := b.cell(c.Kind, c.Value(step))
		if c.Kind == table.KindWrapped {
			height = max(height, linesIn(cell, c.Width))
		}
		cells = append(cells, cell)
	}
	return cells, height
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

func (b *book) guard(f form, steps int) error {
	choice := excelize.NewDataValidation(true)
	choice.SetSqref(fmt.Sprintf("B2:B%d", max(2, steps+1)))
	if err := choice.SetDropList(f.words); err != nil {
		return err
	}
	choice.SetError(excelize.DataValidationErrorStyleStop, f.input[1], "Choose "+strings.Join(f.words, ", ")+", or leave the cell empty.")
	if err := b.file.AddDataValidation(f.sheet, choice); err != nil {
		return err
	}
	return b.file.ProtectSheet(f.sheet, &excelize.SheetProtectionOptions{
		AutoFilter: true, Sort: true, FormatColumns: true, FormatRows: true, SelectLockedCells: true, SelectUnlockedCells: true,
	})
}

// fillSummary writes the first worksheet from blocks of rows.
func (b *book) fillSummary(blocks ...[][]any) error {
	s, err := b.summary([]float64{36, 70, 30})
	if err != nil {
		return err
	}
	for _, block := range blocks {
		if err := s.block(block); err != nil {
			return err
		}
	}
	return s.out.Flush()
}
