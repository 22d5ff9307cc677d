package reports

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"patrol/engine"
)

// XLSX is the workbook for people: findings and the whole population, to
// filter and to sort.
func (catalogue) XLSX() Format {
	return Format{
		Name:  "xlsx",
		File:  "audit.xlsx",
		Doc:   "workbook: summary, findings, all tokens, workspaces, policies, exceptions",
		Write: writeXLSX,
	}
}

// maxDataRows is what a worksheet holds below its header.
const maxDataRows = 1<<20 - 1

func writeXLSX(ctx context.Context, w io.Writer, r engine.Report) error {
	return writeWorkbook(ctx, w, r, maxDataRows)
}

// writeWorkbook writes nothing to w before all rows were read.
func writeWorkbook(ctx context.Context, w io.Writer, r engine.Report, rowsPerSheet int) error {
	spill, err := os.MkdirTemp(beside(w), ".patrol-xlsx-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(spill)
	b, err := newBook(spill, r, rowsPerSheet)
	if err != nil {
		return err
	}
	defer func() { _ = b.file.Close() }() // its temporary files go with the spill
	if err := b.fill(ctx, r); err != nil {
		return err
	}
	return b.writeTo(ctx, w)
}

// fill writes all sheets in the order of their tabs, but the summary last: it
// tells what did not fit.
func (b *book) fill(ctx context.Context, r engine.Report) error {
	if err := fillSheet(ctx, b, "Findings", findingColumns(r.AsOf), r.Findings); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Tokens", tokenColumns(), r.Tokens); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Workspaces", workspaceColumns(), known(r.Workspaces)); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Settings", settingColumns(), known(settingRows(r.Workspaces))); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Grants", grantColumns(), known(grantRows(r.Workspaces))); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Policies", policyColumns(), known(r.Policies)); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Exceptions", exceptionColumns(), known(exceptionRows(r.Exceptions))); err != nil {
		return err
	}
	return b.summarise(r)
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
