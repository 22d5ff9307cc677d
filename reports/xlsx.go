package reports

import (
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/reports/table"
)

// XLSX is the workbook for people: findings and the whole population, to
// filter and to sort.
func (catalogue) XLSX() Format {
	return Format{
		Name:  "xlsx",
		File:  "audit.xlsx",
		Doc:   "the auditor's workbook: cover, summary, charts, findings, all tokens, policies, frameworks, exceptions",
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
	spill, release, err := outfile.Scratch(beside(w), ".patrol-xlsx-")
	if err != nil {
		return err
	}
	defer func() { _ = release() }() // what stays is removed by the next run
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

// fill writes all sheets in the order of their tabs, but those last that tell
// of the others: the charts, the summary, the cover.
func (b *book) fill(ctx context.Context, r engine.Report) error {
	l, p := newLeads(r.Policies), newPopulation(r.AsOf)
	if err := b.front(); err != nil {
		return err
	}
	if _, err := b.file.NewSheet("Findings"); err != nil { // before the tokens, which are read first: findings tell of them
		return err
	}
	known := tokensOfFindings{}
	if err := fillSheet(ctx, b, "Tokens", tokenColumns(), known.watch(p.watch(r.Tokens))); err != nil {
		return err
	}
	if err := fillLinked(ctx, b, "Findings", known.columns(r), r.Findings, l.finding); err != nil {
		return err
	}
	if err := b.context(ctx, r, l); err != nil {
		return err
	}
	if err := b.charts(r, p); err != nil {
		return err
	}
	if err := b.summarise(r); err != nil {
		return err
	}
	return b.cover(r, b.file.GetSheetList()[1:])
}

// tokensOfFindings is what a row of findings says of its token: a workbook has no
// join.
type tokensOfFindings map[[2]string]commentAndUse

type commentAndUse struct {
	comment any
	used    any
}

func (k tokensOfFindings) watch(rows iter.Seq2[engine.TokenRow, error]) iter.Seq2[engine.TokenRow, error] {
	comment, used := field("comment", func(t engine.TokenRow) any { return t.Token.Comment }), fact("last_used_at", lastUsedAt)
	return func(yield func(engine.TokenRow, error) bool) {
		for row, err := range rows {
			if err == nil {
				k[[2]string{row.Workspace.ID, row.Token.ID}] = commentAndUse{comment(row), used(row)}
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// columns are those of findings, with the comment and last use of the token
// behind its owner, and what to do behind the message.
func (k tokensOfFindings) columns(r engine.Report) []table.Column[engine.Finding] {
	of := func(f engine.Finding) commentAndUse {
		if f.Resource != engine.ResourceToken {
			return commentAndUse{}
		}
		return k[[2]string{f.WorkspaceID, f.ResourceID}]
	}
	var columns []table.Column[engine.Finding]
	for _, c := range findingColumns(r.AsOf) {
		columns = append(columns, c)
		switch c.Name {
		case "owner":
			columns = append(columns,
				table.Plain("comment", 34, func(f engine.Finding) any { return of(f).comment }),
				table.Date("last_used_at", 20, func(f engine.Finding) any { return of(f).used }))
		case "message":
			columns = append(columns, policyCells(r.Policies)...)
		}
	}
	return columns
}

// context writes what findings rest on.
func (b *book) context(ctx context.Context, r engine.Report, l *leads) error {
	if err := fillSheet(ctx, b, "Workspaces", workspaceColumns(), table.Known(r.Workspaces)); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Settings", settingColumns(), table.Known(settingRows(r.Workspaces))); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Grants", grantColumns(), table.Known(grantRows(r.Workspaces))); err != nil {
		return err
	}
	if err := fillLinked(ctx, b, "Policies", policyColumns(), table.Known(r.Policies), l.policy); err != nil {
		return err
	}
	if err := b.frameworks(ctx, r, l); err != nil {
		return err
	}
	return fillSheet(ctx, b, "Exceptions", exceptionColumns(), table.Known(exceptionRows(r.Exceptions)))
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
