package reports

import (
	"encoding/csv"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"patrol/engine/outfile"
	"patrol/reports/table"
)

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
	compareExport(t, filepath.Join(dir, "audit-Findings.csv"), workbookFindings(t, r), r.Findings)
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
