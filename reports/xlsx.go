package reports

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/reports/table"

	"github.com/xuri/excelize/v2"
)

// XLSX is the workbook for people: findings and the whole population, to
// filter and to sort.
func (catalogue) XLSX() Format {
	return Format{
		Name: "xlsx",
		File: "audit.xlsx",
		Doc:  "the auditor's workbook: cover, summary, charts, findings, all tokens, policies, frameworks, exceptions",
		Write: func(ctx context.Context, w io.Writer, r engine.Report) error {
			return writeWorkbook(ctx, w, r, maxDataRows)
		},
	}
}

// maxDataRows is what a worksheet holds below its header.
const maxDataRows = 1<<20 - 1

// writeWorkbook writes the workbook of an audit.
func writeWorkbook(ctx context.Context, w io.Writer, r engine.Report, rowsPerSheet int) error {
	return writeBook(ctx, w, r, rowsPerSheet, func(b *book) error { return b.fill(ctx, r) })
}

// writeBook writes a workbook as of the moment of a report, which makes the same
// bytes of the same report. It writes nothing to w before fill has made it whole.
func writeBook(ctx context.Context, w io.Writer, r engine.Report, rowsPerSheet int, fill func(*book) error) error {
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
	if err := fill(b); err != nil {
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
	if err := fillLinked(ctx, b, "Findings", workbookFindings(r), r.Findings, l.finding); err != nil {
		return err
	}
	if err := fillSheet(ctx, b, "Tokens", tokenColumns(), p.watch(r.Tokens)); err != nil {
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

// workbookFindings are the columns of findings, with the comment and last use of
// the token behind its owner, and what to do behind the message: a workbook has
// no join.
func workbookFindings(r engine.Report) []table.Column[engine.Finding] {
	of := func(field string, value func(*engine.FindingToken) any) func(engine.Finding) any {
		return func(f engine.Finding) any {
			switch {
			case f.Token == nil:
				return nil
			case slices.Contains(f.Token.Defects, field):
				return table.Unknown{}
			}
			return value(f.Token)
		}
	}
	var columns []table.Column[engine.Finding]
	for _, c := range findingColumns(r.AsOf) {
		columns = append(columns, c)
		switch c.Name {
		case "owner":
			columns = append(columns,
				table.Plain("comment", 34, of("comment", func(t *engine.FindingToken) any { return t.Comment })),
				table.Date("last_used_at", 20, of("last_used_day", func(t *engine.FindingToken) any { return lastUse(t.LastUsed) })))
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

// mark is what stands out in a column: numbers of a range, or a word. Excel
// takes any text for more than any number, so that a range has two ends.
type mark struct{ least, most, word string }

// marks are what a reader of tokens and waivers looks for, by heading. The
// platform revokes tokens at 90 idle days; two weeks are enough to renew one.
func marks() map[string]mark {
	return map[string]mark{
		"Idle days":       {least: "90", most: "999999"},
		"Expires in days": {least: "-999999", most: "14"},
		"Never expires":   {word: "yes"},
		"Expires soon":    {word: "yes"},
		"Days left":       {least: "-999999", most: "14"},
		"All data read":   {word: "no"},
	}
}

// mark adds the conditions to the columns of a worksheet that have them.
func (s *sheet) mark() error {
	if s.row < 2 {
		return nil
	}
	known := marks()
	for i, heading := range s.headings {
		m, ok := known[heading]
		if !ok {
			continue
		}
		column, err := excelize.ColumnNumberToName(i + 1)
		if err != nil {
			return err
		}
		if err := s.book.condition(s.tab(), fmt.Sprintf("%s2:%s%d", column, column, s.row), m); err != nil {
			return err
		}
	}
	return nil
}

// condition marks the cells of a range. Blank ones count as 0 and are let be.
func (b *book) condition(tab, cells string, m mark) error {
	rule := excelize.ConditionalFormatOptions{Type: "cell", Criteria: "between", MinValue: m.least, MaxValue: m.most, Format: &b.styles.warning}
	if m.word != "" {
		rule = excelize.ConditionalFormatOptions{Type: "cell", Criteria: "==", Value: `"` + m.word + `"`, Format: &b.styles.warning}
	}
	blank := excelize.ConditionalFormatOptions{Type: "blanks", StopIfTrue: true, Format: &b.styles.none}
	return b.file.SetConditionalFormat(tab, cells, []excelize.ConditionalFormatOptions{blank, rule})
}

// frameworks writes a worksheet for each framework.
func (b *book) frameworks(ctx context.Context, r engine.Report, l *leads) error {
	for _, f := range r.Frameworks() {
		if err := fillLinked(ctx, b, b.freeTab(f.Name), controlColumns(r.Policies), table.Known(f.Controls), l.control); err != nil {
			return err
		}
	}
	return nil
}

// tabUnits is how long the name of a worksheet may be.
const tabUnits = 31

// freeTab makes a name for a worksheet of a framework's name, which a foreign
// policy may have made up: no character that Excel refuses, no name that is
// taken or reserved.
func (b *book) freeTab(name string) string {
	clean := strings.Trim(strings.Map(tabRune, engine.SafeText(name)), "' ")
	if clean == "" || strings.EqualFold(clean, "history") {
		clean = strings.TrimSpace("Framework " + clean)
	}
	for n := 1; ; n++ {
		number := ""
		if n > 1 {
			number = fmt.Sprintf(" (%d)", n)
		}
		tab := cutUnits(clean, tabUnits-len(number)) + number
		if index, err := b.file.GetSheetIndex(tab); err == nil && index < 0 {
			return tab
		}
	}
}

func tabRune(r rune) rune {
	if strings.ContainsRune(`:\/?*[]`, r) {
		return '_'
	}
	return r
}

func cutUnits(text string, units int) string {
	for i, r := range text {
		if units -= utf16.RuneLen(r); units < 0 {
			return text[:i]
		}
	}
	return text
}
