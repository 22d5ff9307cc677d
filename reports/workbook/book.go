// Package workbook writes tables and blocks of rows as XLSX workbooks, and reads
// back the forms that people filled in. It knows nothing of what they are about.
//
// Excelize makes what a workbook has once: its styles, charts, names and list of
// parts. The worksheets of rows are written here, straight into the archive: their
// XML is plain, and there are millions of cells.
package workbook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// MaxRows is what a worksheet holds below its header.
const MaxRows = 1<<20 - 1

// maxLinks is how many links a worksheet gets. Excel takes 65,530, but looks
// through all of them for each new one; who reads on beyond this many rows has
// the filter.
const maxLinks = 10_000

// Book is a workbook in the making.
type Book struct {
	Rows  int      // data rows per worksheet
	Cut   int      // cells that did not fit, so far
	Split []string // further worksheets of tables that did not fit on one, so far

	file   *excelize.File
	styles styles
	archive
	links int // per worksheet
	here  string
}

// MaxLinks is how many rows of a worksheet may lead elsewhere.
func (b *Book) MaxLinks() int { return b.links }

// Here is the place of the row that is being written, for links to it.
func (b *Book) Here() string { return b.here }

// Location is a place that a link leads to: 'Policies'!A2.
func Location(tab string, row int) string {
	return fmt.Sprintf("'%s'!A%d", strings.ReplaceAll(tab, "'", "''"), row)
}

// Write writes a workbook that fill makes. Its properties have a time instead of
// the clock's, so that the same content gives the same bytes. Nothing is written
// to w before fill has made it whole. tabs are the names of the first worksheets,
// in whatever order they are filled.
func Write(ctx context.Context, w io.Writer, title string, asOf time.Time, tabs []string, fill func(*Book) error) error {
	dir, release, err := outfile.Scratch(beside(w), ".patrol-xlsx-")
	if err != nil {
		return err
	}
	defer func() { _ = release() }() // what stays is removed by the next run
	b, err := newBook(ctx, dir, title, asOf, tabs)
	if b != nil {
		defer func() { _ = b.close() }() // its files go with the directory
	}
	if err != nil {
		return err
	}
	if err := fill(b); err != nil {
		return err
	}
	b.file.SetZipWriter(func(io.Writer) excelize.ZipWriter { return &b.archive })
	if _, err := b.file.WriteToBuffer(); err != nil { // the buffer stays empty: the archive has it all
		return err
	}
	return b.writeTo(w)
}

// beside names the directory for rows that do not fit in memory: that of the
// file which is being written, whose disk the user chose and which may be as
// large as the temporary directory is small. For anything but a regular file
// it is the temporary directory. What is made in it is readable by its owner
// only.
func beside(w io.Writer) string {
	file, ok := w.(interface{ Name() string })
	if !ok {
		return ""
	}
	info, err := os.Lstat(file.Name())
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return filepath.Dir(file.Name())
}

func newBook(ctx context.Context, dir, title string, asOf time.Time, tabs []string) (*Book, error) {
	spill, err := os.OpenFile(filepath.Join(dir, "parts"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	b := &Book{Rows: MaxRows, file: excelize.NewFile(excelize.Options{TmpDir: dir}), archive: newArchive(spill, ctx.Err), links: maxLinks}
	err = b.file.SetSheetName("Sheet1", tabs[0])
	for _, tab := range tabs[1:] {
		_, failure := b.file.NewSheet(tab)
		err = errors.Join(err, failure)
	}
	at := asOf.UTC().Format("2006-01-02T15:04:05Z")
	styles, failure := newStyles(b.file)
	b.styles = styles
	err = errors.Join(err, failure,
		b.file.SetDocProps(&excelize.DocProperties{Title: title, Creator: "patrol", LastModifiedBy: "patrol", Created: at, Modified: at}),
		b.file.SetAppProps(&excelize.AppProperties{Application: "patrol"}))
	return b, err
}

func (b *Book) close() error { return errors.Join(b.spill.Close(), b.file.Close()) }

// Tabs are the names of the worksheets, in order.
func (b *Book) Tabs() []string { return b.file.GetSheetList() }

// tabUnits is how long the name of a worksheet may be.
const tabUnits = 31

// FreeTab makes a name for a worksheet of a name that others may have made up: no
// character that Excel refuses, no name that is taken or reserved.
func (b *Book) FreeTab(name string) string {
	clean := strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`:\/?*[]`, r) {
			return '_'
		}
		return r
	}, engine.SafeText(name)), "' ")
	if clean == "" || strings.EqualFold(clean, "history") {
		clean = strings.TrimSpace("Framework " + clean)
	}
	for n := 1; ; n++ {
		number := ""
		if n > 1 {
			number = fmt.Sprintf(" (%d)", n)
		}
		tab := clean[:prefixThatFits(clean, tabUnits-len(number))] + number
		if index, err := b.file.GetSheetIndex(tab); err == nil && index < 0 {
			return tab
		}
	}
}

// Chart is a small table and its picture.
type Chart struct {
	Title  string
	Axis   string // what the bars stand for
	Bars   []Bar
	Colour string
}

// Bar is a bar of a chart.
type Bar struct {
	Label string
	Count int
}

// AddCharts writes tables in the first columns of a worksheet of their own, and the
// pictures beside them.
func (b *Book) AddCharts(tab string, charts []Chart) error {
	row := 1
	set := func(cell string, value any, style int) error {
		return errors.Join(b.file.SetCellValue(tab, cell, value), b.file.SetCellStyle(tab, cell, cell, style))
	}
	for i, c := range charts {
		err := errors.Join(set(fmt.Sprintf("A%d", row), c.Title, b.styles.header), set(fmt.Sprintf("B%d", row), c.Axis, b.styles.header))
		for n, bar := range c.Bars {
			err = errors.Join(err, set(fmt.Sprintf("A%d", row+1+n), bar.Label, b.styles.kinds[table.KindPlain]),
				set(fmt.Sprintf("B%d", row+1+n), bar.Count, b.styles.kinds[table.KindNumber]))
		}
		if err != nil {
			return err
		}
		last := row + len(c.Bars)
		err = b.file.AddChart(tab, fmt.Sprintf("D%d", 1+i*18), &excelize.Chart{
			Type: excelize.Col,
			Series: []excelize.ChartSeries{{
				Name:       fmt.Sprintf("%s!$A$%d", tab, row),
				Categories: fmt.Sprintf("%s!$A$%d:$A$%d", tab, row+1, last),
				Values:     fmt.Sprintf("%s!$B$%d:$B$%d", tab, row+1, last),
				Fill:       excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{c.Colour}},
			}},
			Title:     excelize.ChartTitle{Paragraph: []excelize.RichTextRun{{Text: c.Title}}},
			Legend:    excelize.ChartLegend{Position: "none"},
			PlotArea:  excelize.ChartPlotArea{ShowVal: true},
			XAxis:     excelize.ChartAxis{Font: excelize.Font{Size: 9, Color: "374151"}},
			YAxis:     excelize.ChartAxis{MajorGridLines: true, Font: excelize.Font{Size: 9, Color: "374151"}},
			Dimension: excelize.ChartDimension{Width: 860, Height: 330},
			Format:    excelize.GraphicOptions{AltText: c.Title + ": " + c.Axis},
			GapWidth:  new(uint(40)),
		})
		if err != nil {
			return err
		}
		row = last + 2
	}
	return errors.Join(b.file.SetColWidth(tab, "A", "B", 24),
		b.file.SetSheetProps(tab, &excelize.SheetPropsOptions{FitToPage: new(true)}),
		b.file.SetPageLayout(tab, &excelize.PageLayoutOptions{Orientation: new("portrait"), FitToWidth: new(1), FitToHeight: new(1)}))
}
