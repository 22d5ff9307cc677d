package reports

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"patrol/reports/table"
)

// fillSheet streams rows to a worksheet, and to further ones of the same name
// with a number when they do not fit on one.
func fillSheet[T any](ctx context.Context, b *book, name string, columns []table.Column[T], rows iter.Seq2[T, error]) error {
	return fillLinked(ctx, b, name, columns, rows, func(*sheet, T) {})
}

// fillLinked does the same; lead says where each row leads.
func fillLinked[T any](ctx context.Context, b *book, name string, columns []table.Column[T], rows iter.Seq2[T, error], lead func(*sheet, T)) error {
	s := &sheet{book: b, name: name}
	for _, c := range columns {
		s.headings = append(s.headings, c.Heading())
		s.widths = append(s.widths, c.Width)
	}
	if err := s.start(); err != nil {
		return err
	}
	cells := make([]any, len(columns))
	err := table.Each(ctx, rows, func(row T) error {
		height := 1
		for i, c := range columns {
			cells[i] = b.cell(c.Kind, c.Value(row))
			if c.Kind == table.KindWrapped {
				height = max(height, linesIn(cells[i], c.Width))
			}
		}
		lead(s, row)
		return s.add(cells, height)
	})
	if err != nil {
		return err
	}
	return s.end()
}

// sheet is a table on one or more worksheets.
type sheet struct {
	book     *book
	name     string
	headings []string
	widths   []float64

	part int // number of the worksheet, from 1
	row  int // last row written on it
	out  *excelize.StreamWriter

	link  link // of the next row
	links int  // on this worksheet
}

// start begins the next worksheet with its header.
func (s *sheet) start() error {
	s.part++
	name := s.tab()
	if _, err := s.book.file.NewSheet(name); err != nil {
		return err
	}
	if err := s.book.printable(name, s.widths); err != nil {
		return err
	}
	var err error
	if s.out, err = s.book.file.NewStreamWriter(name); err != nil {
		return err
	}
	if err := s.out.SetPanes(frozenHeader()); err != nil {
		return err
	}
	for i, width := range s.widths {
		if err := s.out.SetColWidth(i+1, i+1, width); err != nil {
			return err
		}
	}
	s.row, s.links = 0, 0
	cells, height := s.header()
	return s.write(cells, height)
}

// tab is the worksheet's name. All names are ours and valid.
func (s *sheet) tab() string { return s.tabOf(s.part) }

func (s *sheet) tabOf(part int) string {
	if part == 1 {
		return s.name
	}
	return fmt.Sprintf("%s (%d)", s.name, part)
}

// nextTab and nextRow are where the next row goes.
func (s *sheet) nextTab() string {
	if s.full() {
		return s.tabOf(s.part + 1)
	}
	return s.tab()
}

func (s *sheet) nextRow() int {
	if s.full() {
		return 2
	}
	return s.row + 1
}

func (s *sheet) full() bool { return s.row > s.book.rows }

func (s *sheet) header() (cells []any, height int) {
	cells = s.book.header(s.headings...)
	for i, cell := range cells {
		height = max(height, linesIn(cell, s.widths[i]-3)) // the filter's button takes room
	}
	return cells, height
}

// add writes a row, on a new worksheet when this one is full.
func (s *sheet) add(cells []any, height int) error {
	if s.full() {
		if err := s.end(); err != nil {
			return err
		}
		if err := s.start(); err != nil {
			return err
		}
		s.book.split = append(s.book.split, s.tab())
	}
	s.linked(cells)
	if err := s.write(cells, height); err != nil {
		return err
	}
	return s.follow()
}

// write writes a row that is so many lines high: not every spreadsheet finds
// the height of wrapped text when it opens a file.
func (s *sheet) write(cells []any, height int) error {
	s.row++
	if height <= 1 {
		return s.out.SetRow(fmt.Sprintf("A%d", s.row), cells)
	}
	points := lineHeight * float64(min(height, highest))
	return s.out.SetRow(fmt.Sprintf("A%d", s.row), cells, excelize.RowOpts{Height: points})
}

const (
	lineHeight = 15.0 // points
	highest    = 20   // lines: a cell's text may have thousands
)

// linesIn estimates the lines that a cell's text takes when it wraps.
func linesIn(cell any, width float64) int {
	shown, ok := cell.(excelize.Cell)
	text, isText := shown.Value.(string)
	if !ok || !isText {
		return 1
	}
	count := 0
	for line := range strings.SplitSeq(text, "\n") {
		count += 1 + int(float64(max(0, utf8.RuneCountInString(line)-1))/max(1, width))
	}
	return count
}

// end completes a worksheet with the filter over all its rows.
func (s *sheet) end() error {
	last, err := excelize.CoordinatesToCellName(len(s.headings), s.row)
	if err != nil {
		return err
	}
	if err := s.book.file.AutoFilter(s.tab(), "A1:"+last, nil); err != nil {
		return err
	}
	if err := s.mark(); err != nil {
		return err
	}
	return s.out.Flush()
}

func frozenHeader() *excelize.Panes {
	return &excelize.Panes{
		Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft",
		Selection: []excelize.Selection{{SQRef: "A2", ActiveCell: "A2", Pane: "bottomLeft"}},
	}
}

// pages is how many pages side by side keep columns legible.
func pages(widths []float64) int {
	total := 0.0
	for _, width := range widths {
		total += width
	}
	return 1 + int(total/250)
}

// printable sets a worksheet up for paper: landscape, with the header on each
// page.
func (b *book) printable(name string, widths []float64) error {
	if err := b.file.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: ptr(true)}); err != nil {
		return err
	}
	err := b.file.SetPageLayout(name, &excelize.PageLayoutOptions{
		Orientation: ptr("landscape"), FitToWidth: ptr(pages(widths)), FitToHeight: ptr(0),
	})
	if err != nil {
		return err
	}
	return b.file.SetDefinedName(&excelize.DefinedName{
		Name: "_xlnm.Print_Titles", RefersTo: fmt.Sprintf("'%s'!$1:$1", name), Scope: name,
	})
}
