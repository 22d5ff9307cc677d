package reports

import (
	"bytes"
	"encoding/csv"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/reports/table"

	"github.com/google/go-cmp/cmp"
)

var numeric = regexp.MustCompile(`^-?[0-9]+$`)

// executable reports whether a spreadsheet would take a cell for a formula. The
// end of a row, which a reader with the wrong delimiter may take for text, is
// the writer's: the fuzz target sees that no text holds one.
func executable(cell string) bool {
	seen := []rune(strings.TrimLeftFunc(cell, unseen))
	return len(seen) > 0 && strings.ContainsRune("=+-@＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋−", seen[0]) && !numeric.MatchString(cell)
}

// unseen tells what a reader may skip, without asking the writer: all that is no
// letter, number, sign or symbol, and what looks empty though it is called one.
func unseen(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) || strings.ContainsRune("\u115f\u1160\u3164\uffa0\u2800", r)
}

// cellsOf reads CSV as a reader with this delimiter would, strictly or not.
func cellsOf(t *testing.T, text string, delimiter rune) []string {
	t.Helper()
	reader := csv.NewReader(strings.NewReader(text))
	reader.Comma, reader.FieldsPerRecord, reader.LazyQuotes = delimiter, -1, delimiter != ','
	records, err := reader.ReadAll()
	if err != nil {
		t.Fatalf("delimiter %q: %v in %q", delimiter, err, text)
	}
	var cells []string
	for _, record := range records {
		cells = append(cells, record...)
	}
	return cells
}

// naiveCells splits as readers do that give up on a quoted cell once something
// follows its closing quote, and strips quotes.
func naiveCells(text string, delimiter string) []string {
	var cells []string
	for line := range strings.SplitSeq(text, "\r\n") {
		for cell := range strings.SplitSeq(line, delimiter) {
			cells = append(cells, strings.Trim(cell, `" `))
		}
	}
	return cells
}

func checkInert(t *testing.T, text string) {
	t.Helper()
	for _, delimiter := range []rune{',', ';', '\t', '|'} {
		for _, cell := range cellsOf(t, text, delimiter) {
			if executable(cell) {
				t.Errorf("delimiter %q: %q would run", delimiter, cell)
			}
		}
	}
	for _, delimiter := range []string{";", "\t", "|"} {
		for _, cell := range naiveCells(text, delimiter) {
			if executable(cell) {
				t.Errorf("split at %q: %q would run", delimiter, cell)
			}
		}
	}
}

func TestCSVIsInert(t *testing.T) {
	t.Parallel()
	for _, write := range []func(*bytes.Buffer) error{
		func(b *bytes.Buffer) error { return writeCSV(t.Context(), b, report()) },
		func(b *bytes.Buffer) error { return Tokens(t.Context(), b, "csv", report().Tokens, table.Options{}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		checkInert(t, b.String())
	}
}

func FuzzCSVCell(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		out := table.NewCSVWriter(&b)
		if err := out.Write("first", text, text); err != nil {
			t.Fatal(err)
		}
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
		checkInert(t, b.String())
		got := cellsOf(t, b.String(), ',')
		if len(got) != 3 || got[1] != engine.DefuseCell(text) {
			t.Errorf("read back %q", got)
		}
		if safe := strings.TrimSuffix(b.String(), "\r\n"); enginetest.Acting(safe) != "" {
			t.Errorf("%q has characters that act", safe)
		}
	})
}

func TestCSVCells(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cell any
		want string
	}{
		{nil, ""}, {table.Unknown{}, ""}, {table.Never{}, ""}, {true, "true"}, {-5, "-5"}, {int64(math.MinInt64), "-9223372036854775808"},
		{"-5", "'-5"}, {"=1", "'=1"}, {" =1", "' =1"}, {"＝1", "'＝1"}, {"\t1", `'\u{9}1`}, {"\ufeff@x", `'\u{feff}@x`},
		{"\uf03f=1", "'\uf03f=1"}, {"\u0903=1", "'\u0903=1"}, {"\u0378=1", "'\u0378=1"}, {"§=1", "§=1"},
		{"a;=1", "a;'=1"}, {`a; "=1`, `a;' ""=1`}, {"a;b;;-1", "a;b;;'-1"}, {"5e12", "5e12"}, {`say "hi"`, `say ""hi""`},
		{engine.High, "high"}, {[]string{"=a", "b"}, "'=a, b"}, {table.Instant(1_000), "1970-01-01T00:00:01Z"}, {table.Instant(1), "1970-01-01T00:00:00.001Z"},
	} {
		var b bytes.Buffer
		out := table.NewCSVWriter(&b)
		if err := errors.Join(out.Write(test.cell), out.Flush()); err != nil || b.String() != `"`+test.want+"\"\r\n" {
			t.Errorf("%#v: got %q (%v), want %q", test.cell, &b, err, test.want)
		}
	}
}

func TestCSVFormat(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	out := table.NewCSVWriter(&b)
	out.Write("a", 1, nil)
	out.Write("b,c", true, `"`)
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("\"a\",\"1\",\"\"\r\n\"b,c\",\"true\",\"\"\"\"\r\n", b.String()); diff != "" {
		t.Error(diff)
	}
}
