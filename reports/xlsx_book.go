package reports

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"patrol/engine"

	"github.com/xuri/excelize/v2"
)

// book is a workbook in the making.
type book struct {
	file   *excelize.File
	styles styles
	spill  string // directory for what does not fit in memory
	rows   int    // data rows per worksheet
	links  int    // links per worksheet
	cut    int    // cells that did not fit
	split  []string
}

const summarySheet = "Summary"

func newBook(spill string, r engine.Report, rows int) (*book, error) {
	b := &book{file: excelize.NewFile(excelize.Options{TmpDir: spill}), spill: spill, rows: rows, links: maxLinks}
	if err := b.file.SetSheetName("Sheet1", summarySheet); err != nil {
		return nil, err
	}
	if err := b.describe(r); err != nil {
		return nil, err
	}
	var err error
	b.styles, err = newStyles(b.file)
	return b, err
}

// describe sets the document's properties: the time of judgement instead of
// the clock, so that the same report gives the same bytes.
func (b *book) describe(r engine.Report) error {
	asOf := r.AsOf.UTC().Format("2006-01-02T15:04:05Z")
	err := b.file.SetDocProps(&excelize.DocProperties{
		Title:          "Audit of Databricks personal access tokens",
		Creator:        "patrol",
		LastModifiedBy: "patrol",
		Created:        asOf,
		Modified:       asOf,
	})
	if err != nil {
		return err
	}
	return b.file.SetAppProps(&excelize.AppProperties{Application: "patrol"})
}

// writeTo packs the workbook and writes it to w.
func (b *book) writeTo(ctx context.Context, w io.Writer) error {
	spill, err := os.OpenFile(filepath.Join(b.spill, "parts"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer spill.Close()
	parts := &partPacker{spill: spill, ended: ctx.Err}
	b.file.SetZipWriter(func(io.Writer) excelize.ZipWriter { return parts })
	if _, err := b.file.WriteToBuffer(); err != nil { // the buffer stays empty: the packer has it all
		return err
	}
	return parts.writeTo(w)
}
