package reports

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/outfile"
	"patrol/reports/table"
	"patrol/reports/workbook"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

// dumpWorkbook shows all cells, for the golden file.
func dumpWorkbook(t *testing.T, workbook []byte) []byte {
	t.Helper()
	file := openWorkbook(t, workbook)
	var b bytes.Buffer
	for _, name := range file.GetSheetList() {
		fmt.Fprintf(&b, "## %s\n", name)
		rows, err := file.GetRows(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			fmt.Fprintf(&b, "%s\n", strings.ReplaceAll(strings.Join(row, "\t"), "\n", "⏎"))
		}
	}
	return b.Bytes()
}

func openWorkbook(t *testing.T, workbook []byte) *excelize.File {
	t.Helper()
	file, err := excelize.OpenReader(bytes.NewReader(workbook))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func openedBook(t *testing.T, r engine.Report, rows int) *excelize.File {
	t.Helper()
	var b bytes.Buffer
	if err := writeWorkbook(t.Context(), &b, r, rows); err != nil {
		t.Fatal(err)
	}
	return openWorkbook(t, b.Bytes())
}

// TestWorkbookReadsBack compares every cell of the two big sheets with the
// value that it was made of.
func TestWorkbookReadsBack(t *testing.T) {
	t.Parallel()
	r := report()
	file := openedBook(t, r, workbook.MaxRows)
	compareSheet(t, file, "Findings", workbookFindings(r), r.Findings)
	compareSheet(t, file, "Tokens", tokenColumns(), r.Tokens)
}

func compareSheet[T any](t *testing.T, file *excelize.File, name string, columns []table.Column[T], rows iter.Seq2[T, error]) {
	t.Helper()
	line := 1
	for row := range rows {
		line++
		for i, c := range columns {
			ref, _ := excelize.CoordinatesToCellName(i+1, line)
			got, err := file.GetCellValue(name, ref)
			if err != nil {
				t.Fatal(err)
			}
			if want := shown(c.Value(row)); got != want {
				t.Errorf("%s!%s (%s): read back %q, want %q", name, ref, c.Name, got, want)
			}
			if formula, _ := file.GetCellFormula(name, ref); formula != "" {
				t.Errorf("%s!%s is a formula: %s", name, ref, formula)
			}
		}
	}
}

// shown is how a value is read back from a sheet.
func shown(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case table.Unknown:
		return "unknown"
	case table.Never:
		return "never"
	case bool:
		return table.Print(v)
	case table.Instant:
		return strings.NewReplacer("T", " ", "Z", "").Replace(v.Text())
	case []string:
		return engine.Defuse(strings.Join(v, ", "))
	}
	return engine.Defuse(fmt.Sprint(value))
}

func TestWorkbookTypes(t *testing.T) {
	t.Parallel()
	file := openedBook(t, report(), workbook.MaxRows)
	for ref, want := range map[string]excelize.CellType{
		"B2": excelize.CellTypeInlineString, // workspace id: digits, and text all the same
		"O2": excelize.CellTypeUnset,        // created at: a number with a date format
		"R2": excelize.CellTypeUnset,        // age in days
	} {
		if got, err := file.GetCellType("Tokens", ref); err != nil || got != want {
			t.Errorf("%s has type %v, want %v (%v)", ref, got, want, err)
		}
	}
	props, err := file.GetDocProps()
	if err != nil || props.Creator != "patrol" || props.Created != "2026-07-01T12:00:00Z" {
		t.Errorf("document properties: %+v, %v", props, err)
	}
}

func TestWorkbookSplits(t *testing.T) {
	t.Parallel()
	r := report()
	file := openedBook(t, r, 10)
	var names []string
	total := 0
	for _, name := range file.GetSheetList() {
		if !strings.HasPrefix(name, "Findings") {
			continue
		}
		rows, err := file.GetRows(name)
		if err != nil || len(rows) < 2 || len(rows) > 11 || rows[0][0] != "Severity" {
			t.Errorf("%s: %d rows, %v", name, len(rows), err)
		}
		names = append(names, name)
		total += len(rows) - 1
	}
	if want := len(fixtureFindings()); total != want {
		t.Errorf("found %d findings on %v, want %d", total, names, want)
	}
	if len(names) < 3 || names[1] != "Findings (2)" || file.GetSheetList()[3] != "Findings" {
		t.Errorf("sheets are %v", file.GetSheetList())
	}
	if text := string(dumpSheet(t, file, summarySheet)); !strings.Contains(text, "Findings (2), Findings (3)") {
		t.Errorf("the summary does not name the further sheets:\n%s", text)
	}
}

func dumpSheet(t *testing.T, file *excelize.File, name string) []byte {
	t.Helper()
	rows, err := file.GetRows(name)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, row := range rows {
		b.WriteString(strings.Join(row, "\t") + "\n")
	}
	return b.Bytes()
}

// TestWorkbookSplitsOnlyWhenFull holds the edge: as many rows as fit need one sheet.
func TestWorkbookSplitsOnlyWhenFull(t *testing.T) {
	t.Parallel()
	n := len(fixtureFindings())
	for rows, want := range map[int]int{n: -1, n - 1: 0} {
		index, err := openedBook(t, report(), rows).GetSheetIndex("Findings (2)")
		if err != nil || (index < 0) != (want < 0) {
			t.Errorf("%d rows a sheet: index of a second sheet is %d (%v)", rows, index, err)
		}
	}
}

func TestWorkbookTellsWhatWasCut(t *testing.T) {
	t.Parallel()
	r := report()
	long := fixtureTokens()[:1]
	long[0].Token.Comment = strings.Repeat("🔑", 20_000)
	r.Tokens = table.Known(long)
	found := fixtureFindings()[:1]
	found[0].Token = &engine.FindingToken{Comment: long[0].Token.Comment}
	r.Findings = table.Known(found)
	file := openedBook(t, r, workbook.MaxRows)
	comment, _ := file.GetCellValue("Tokens", "D2")
	if !strings.Contains(comment, "…[cut, 3") {
		t.Errorf("the cell ends in %q", comment[len(comment)-40:])
	}
	if text := string(dumpSheet(t, file, summarySheet)); !strings.Contains(text, "Cells cut (marked …[cut])\t2") {
		t.Errorf("the summary does not count the cuts:\n%s", text)
	}
}

// TestSpillStaysPrivate looks at the rows on disk while they are written.
func TestSpillStaysPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := report()
	looked := false
	r.Tokens = func(yield func(engine.TokenRow, error) bool) {
		spills, _ := filepath.Glob(filepath.Join(dir, ".patrol-xlsx-*"))
		for _, spill := range spills {
			info, err := os.Stat(spill)
			looked = err == nil && info.Mode().Perm() == 0o700
		}
		fixture := report()
		fixture.Tokens(yield)
	}
	if _, err := WriteAll(t.Context(), dir, []Format{catalogue{}.XLSX()}, r, outfile.Files{}); err != nil {
		t.Fatal(err)
	}
	if !looked {
		t.Error("no spill directory of mode 0700 beside the file")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// many is a report with n tokens and findings, none of them in memory.
func many(n int) engine.Report {
	r := report()
	one, rows := fixtureFindings()[0], fixtureTokens()
	r.Findings = func(yield func(engine.Finding, error) bool) {
		for i := range n {
			one.ResourceID = tokenID(i)
			if !yield(one, nil) {
				return
			}
		}
	}
	r.Tokens = func(yield func(engine.TokenRow, error) bool) {
		for i := range n {
			row := rows[i%len(rows)]
			row.Token.ID = tokenID(i)
			if !yield(row, nil) {
				return
			}
		}
	}
	return r
}

func BenchmarkFormats(b *testing.B) {
	r := many(100_000)
	for _, format := range Formats() {
		b.Run(format.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := format.Write(context.Background(), discard{}, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// TestWorkbookLinks: a finding leads to its policy, a policy to its first
// finding, wherever the worksheet was split.
func TestWorkbookLinks(t *testing.T) {
	t.Parallel()
	file := openedBook(t, report(), 10)
	for ref, want := range map[string]string{
		"Findings!B2":                  "'Policies'!A2",
		"Findings!B4":                  "'Policies'!A3",
		"Findings (2)!B2":              "'Policies'!A3",
		"Policies!A2":                  "'Findings'!A2",
		"Policies!A4":                  "'Findings (5)'!A3",
		"cis-azure-foundations-6.0!D2": "'Policies'!A2",
	} {
		tab, cell, _ := strings.Cut(ref, "!")
		if ok, target, err := file.GetCellHyperLink(tab, cell); !ok || target != want || err != nil {
			t.Errorf("%s leads to %q (%v, %v), want %q", ref, target, ok, err, want)
		}
	}
	titles := map[string]bool{}
	for _, policy := range []string{"Policies!A2", "Policies!A3", "Policies!A4", "Policies!A6"} {
		tab, cell, _ := strings.Cut(policy, "!")
		_, target, _ := file.GetCellHyperLink(tab, cell)
		place, row, _ := strings.Cut(strings.Trim(target, "'"), "'!A")
		id, _ := file.GetCellValue(tab, cell)
		got, _ := file.GetCellValue(place, "B"+row)
		if got != id {
			t.Errorf("%s leads to a finding of %s", id, got)
		}
		titles[got] = true
	}
	if len(titles) != 4 {
		t.Errorf("policies are %v", titles)
	}
}

func TestPopulation(t *testing.T) {
	t.Parallel()
	p := newPopulation(asOf)
	row := func(created, expires, used *int64) engine.TokenRow {
		return tokenRow(prod, engine.Token{Created: created, Expires: expires, LastUsed: used})
	}
	for _, test := range []struct {
		row               engine.TokenRow
		age, idle, expiry string
	}{
		{row(ms(-30*24), ms(1), ms(-7*24)), "up to 30 days", "up to 7 days", "2026-07"},
		{row(ms(-31*24), ms(31*24), ms(-8*24)), "31 to 90", "8 to 30", "2026-08"},
		{row(ms(-731*24), ms(-1), ms(-90*24)), "over 730", "90 and more", "expired"},
		{row(ms(-91*24), new(int64(engine.NeverExpires)), nil), "91 to 180", "never used", "never"},
		{row(nil, nil, ms(-89*24)), "unknown", "61 to 89", "unknown"},
		{row(ms(-1), ms(24*365*2), ms(-1)), "up to 30 days", "up to 7 days", "2028-06"},
		{row(ms(-1), ms(24*365*3), ms(-1)), "up to 30 days", "up to 7 days", "later"},
	} {
		before := *newPopulation(asOf)
		before.add(test.row)
		if age, idle, expiry := only(before.age), only(before.idle), only(before.expiry); age != test.age || idle != test.idle || expiry != test.expiry {
			t.Errorf("counted as %s, %s, %s; want %s, %s, %s", age, idle, expiry, test.age, test.idle, test.expiry)
		}
	}
	if n := len(p.expiry); n != monthsAhead+4 {
		t.Errorf("%d months and more", n)
	}
}

// only is the label of the one bucket that counts something.
func only(list []workbook.Bar) string {
	found := ""
	for _, b := range list {
		if b.Count > 0 {
			found += b.Label
		}
	}
	return found
}

// TestWorkbookInOffice opens the workbook in LibreOffice and compares what it
// shows with what was written. Formulas would be exported as such.
func TestWorkbookInOffice(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starting an office takes seconds")
	}
	office, err := exec.LookPath("soffice")
	if err != nil {
		t.Skip("LibreOffice is not installed: skipping what it makes of a workbook")
	}
	dir := t.TempDir()
	if _, err := WriteAll(t.Context(), dir, []Format{catalogue{}.XLSX()}, report(), outfile.Files{}); err != nil {
		t.Fatal(err)
	}
	// comma, quote, UTF-8, from line 1, all quoted, as shown, formulas instead of their values, every sheet
	filter := "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,true,true,true,true,false,-1"
	convert := exec.CommandContext(t.Context(), office, "-env:UserInstallation=file://"+filepath.Join(dir, "profile"),
		"--headless", "--convert-to", filter, "--outdir", dir, filepath.Join(dir, "audit.xlsx"))
	if output, err := convert.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	r := report()
	compareExport(t, filepath.Join(dir, "audit-Findings.csv"), workbookFindings(r), r.Findings)
	compareExport(t, filepath.Join(dir, "audit-Tokens.csv"), tokenColumns(), r.Tokens)
}

func compareExport[T any](t *testing.T, path string, columns []table.Column[T], rows iter.Seq2[T, error]) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	line := 0
	for row := range rows {
		line++
		want := make([]string, len(columns))
		for i, c := range columns {
			want[i] = shown(c.Value(row))
		}
		if diff := cmp.Diff(want, got[line]); diff != "" {
			t.Errorf("%s, row %d (-written +shown):\n%s", filepath.Base(path), line, diff)
		}
	}
}

// respun is a workbook with one of its parts changed: some bytes of the part
// replaced. Which and where is taken from the numbers as far as they go.
func respun(t *testing.T, book []byte, part, at, drop uint16, text []byte) []byte {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(book), int64(len(book)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	out := zip.NewWriter(&b)
	for i, entry := range archive.File {
		r, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if i == int(part)%len(archive.File) {
			from := int(at) % (len(content) + 1)
			content = slices.Concat(content[:from], text, content[min(len(content), from+int(drop)):])
		}
		w, err := out.Create(entry.Name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(content)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func seedWorkbooks(f *testing.F) {
	for part := range uint16(16) {
		f.Add(part, uint16(200), uint16(3), []byte("<x>"))
	}
	f.Add(uint16(3), uint16(900), uint16(0), []byte(`<row r="99"><c r="A99" t="inlineStr"><is><t>s9</t></is></c><c r="B99" t="inlineStr"><is><t>approve</t></is></c></row>`))
	f.Add(uint16(3), uint16(0), uint16(65535), []byte{})
}

// FuzzReadPlanXLSX: a reviewers' workbook of any make never panics, and decides
// about steps of the plan only, each once, in words that there are.
func FuzzReadPlanXLSX(f *testing.F) {
	p := planFixture()
	var book bytes.Buffer
	if err := PlanXLSX(context.Background(), &book, p, planDigest); err != nil {
		f.Fatal(err)
	}
	seedWorkbooks(f)
	path := filepath.Join(f.TempDir(), "plan.xlsx")
	f.Fuzz(func(t *testing.T, part, at, drop uint16, text []byte) {
		if err := os.WriteFile(path, respun(t, book.Bytes(), part, at, drop, text), 0o600); err != nil {
			t.Fatal(err)
		}
		decisions, err := ReadPlanXLSX(path, p, planDigest)
		refusedAsBad(t, err)
		seen := map[string]bool{}
		for _, d := range decisions {
			known := slices.ContainsFunc(p.Steps, func(s engine.Step) bool { return s.ID == d.Step })
			if !known || seen[d.Step] || !slices.Contains(decisionForm(nil, "").Choices, d.Decision) {
				t.Fatalf("decision %+v", d)
			}
			seen[d.Step] = true
		}
	})
}

// FuzzReadReplyXLSX: the same of the workbook in which an owner answers.
func FuzzReadReplyXLSX(f *testing.F) {
	p := planFixture()
	var book bytes.Buffer
	if err := ReplyXLSX(context.Background(), &book, p, planDigest, p.Steps); err != nil {
		f.Fatal(err)
	}
	seedWorkbooks(f)
	path := filepath.Join(f.TempDir(), "reply.xlsx")
	f.Fuzz(func(t *testing.T, part, at, drop uint16, text []byte) {
		if err := os.WriteFile(path, respun(t, book.Bytes(), part, at, drop, text), 0o600); err != nil {
			t.Fatal(err)
		}
		replies, err := ReadReplyXLSX(path, p.Steps, planDigest, asOf)
		refusedAsBad(t, err)
		for _, r := range replies {
			known := slices.ContainsFunc(p.Steps, func(s engine.Step) bool { return s.ID == r.Step.ID })
			if !known || !slices.Contains(engine.ReplyWords(), r.Reply) {
				t.Fatalf("reply %+v", r)
			}
		}
	})
}

func refusedAsBad(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if e, ok := engine.AsError(err); !ok || e.Reason != "bad_workbook" && e.Reason != "other_plan" {
		t.Fatalf("%T: %v", err, err)
	}
}
