package reports

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/reports/table"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	o := TableOptions{Files: []string{"out/findings.csv", "out/audit.xlsx"}}
	if err := Table(t.Context(), &b, report(), o); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", b.Bytes())
}

func TestTableOfFrameworks(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := report()
	r.Findings, r.Workspaces, r.Trend, r.Exceptions = table.Known[engine.Finding](nil), nil, nil, engine.Exceptions{}
	if err := Table(t.Context(), &b, r, TableOptions{Framework: "nist-800-53r5"}); err != nil {
		t.Fatal(err)
	}
	golden(t, "table_frameworks.txt", b.Bytes())
}

func TestTableClean(t *testing.T) {
	t.Parallel()
	r := report()
	r.Findings, r.Workspaces = table.Known[engine.Finding](nil), r.Workspaces[:0]
	r.Summary = engine.Summary{Tokens: 1234567, Workspaces: 1, Statuses: engine.Tally{engine.Pass: 9}}
	var b bytes.Buffer
	if err := Table(t.Context(), &b, r, TableOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "table_clean.txt", b.Bytes())
}

func TestTableColor(t *testing.T) {
	t.Parallel()
	var plainText, coloured bytes.Buffer
	if err := errors.Join(
		Table(t.Context(), &plainText, report(), TableOptions{}),
		Table(t.Context(), &coloured, report(), TableOptions{Options: table.Options{Color: true}}),
	); err != nil {
		t.Fatal(err)
	}
	stripped := coloured.String()
	for _, style := range []table.Style{table.Bold, table.Red, table.Yellow, table.Green, table.Cyan} {
		stripped = strings.ReplaceAll(stripped, "\x1b["+string(style)+"m", "")
	}
	if stripped = strings.ReplaceAll(stripped, "\x1b[0m", ""); stripped != plainText.String() || stripped == coloured.String() {
		t.Error("colour changes more than colour")
	}
}

// tables are all that goes to a terminal.
var tables = map[string]func(context.Context, io.Writer, engine.Report, TableOptions) error{
	"audit": Table,
	"tokens": func(ctx context.Context, w io.Writer, r engine.Report, o TableOptions) error {
		return Tokens(ctx, w, "table", r.Tokens, o.Options)
	},
	"findings": func(ctx context.Context, w io.Writer, r engine.Report, o TableOptions) error {
		return table.Write(ctx, w, "table", findingColumns(r.AsOf), r.Findings, o.Options)
	},
}

func TestTablesFit(t *testing.T) {
	t.Parallel()
	for name, write := range tables {
		for _, width := range []int{0, 1, 40, 60, 80, 132, 400} {
			var b bytes.Buffer
			o := TableOptions{Options: table.Options{Width: width}, Findings: 100}
			if err := write(t.Context(), &b, report(), o); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				line = strings.TrimSuffix(line, "\n")
				if got := table.Cells(line); got > o.Columns() {
					t.Errorf("%s, width %d: %d cells: %s", name, width, got, line)
				}
				if enginetest.Acting(line) != "" || line != strings.TrimRight(line, " ") {
					t.Errorf("%s, width %d: acts on a terminal, or ends in spaces: %q", name, width, line)
				}
			}
		}
	}
}

func TestTablesStop(t *testing.T) {
	t.Parallel()
	broken := errors.New("page is torn")
	ended, end := context.WithCancel(t.Context())
	end()
	for name, write := range tables {
		failing := report()
		failing.Findings, failing.Tokens = breaking(failing.Findings, 3, broken), breaking(failing.Tokens, 3, broken)
		var b bytes.Buffer
		if err := write(t.Context(), &b, failing, TableOptions{}); !errors.Is(err, broken) || b.Len() > 0 {
			t.Errorf("%s: got %v after %d bytes", name, err, b.Len())
		}
		if err := write(ended, &b, report(), TableOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want a cancelled context", name, err)
		}
		if err := write(t.Context(), brokenPipe{}, report(), TableOptions{}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: got %v, want a closed pipe", name, err)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		format string
		width  int
	}{"tokens.csv": {"csv", 0}, "tokens.json": {"json", 0}, "tokens.txt": {"table", 120}, "tokens_80.txt": {"table", 80}, "tokens_140.txt": {"table", 140}} {
		var b bytes.Buffer
		if err := Tokens(t.Context(), &b, test.format, report().Tokens, table.Options{Width: test.width}); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

func TestTokensTableLimit(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Tokens(t.Context(), &b, "table", many(1000).Tokens, table.Options{Limit: 3}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.HasSuffix(got, "… and 997 more\n1,000 tokens.\n") || strings.Count(got, "\n") != 6 {
		t.Error(got)
	}
	b.Reset()
	if err := Tokens(t.Context(), &b, "table", many(1000).Tokens, table.Options{}); err != nil || strings.Count(b.String(), "\n") != 1002 {
		t.Errorf("%d lines, %v", strings.Count(b.String(), "\n"), err)
	}
}

// TestTokensTableWhole: for a pipe or a file nothing is cut, not even what is
// longer than the rows that decide the widths.
func TestTokensTableWhole(t *testing.T) {
	t.Parallel()
	row := tokenRow(prod, engine.Token{ID: tokenID(1), Comment: strings.Repeat("why ", 60) + "end", Created: ms(-48), Expires: ms(48), OwnerID: "1", CreatorID: "1"})
	long := row
	row.Owner.Name = "short@example.com"
	long.Owner.Name = strings.Repeat("a.very.long.name.", 6) + "end@example.com"
	rows := []engine.TokenRow{}
	for range 200 {
		rows = append(rows, row)
	}
	rows = append(rows, long, row)
	var cut, whole bytes.Buffer
	if err := errors.Join(Tokens(t.Context(), &cut, "table", table.Known(rows), table.Options{Width: 120}), Tokens(t.Context(), &whole, "table", table.Known(rows), table.Options{Width: 120, Whole: true})); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(cut.String(), "end@example.com") || strings.Contains(cut.String(), "why end") {
		t.Error("a terminal of 120 columns shows all")
	}
	if strings.Count(whole.String(), long.Owner.Name) != 1 || strings.Count(whole.String(), "why end\n") != len(rows) {
		t.Error("a file does not hold all")
	}
}

// TestTablesCommandNobody: no line is a command to a pipeline's agent.
func TestTablesCommandNobody(t *testing.T) {
	t.Parallel()
	r := report()
	r.Workspaces[1].Snapshot.Coverage[engine.SectionSettings] = engine.Coverage{Status: engine.Failed, Detail: strings.Repeat("::error::x ", 40)}
	for name, write := range tables {
		var b bytes.Buffer
		if err := write(t.Context(), &b, r, TableOptions{Findings: 100}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(strings.ToLower(line), "##vso[") || strings.Contains(line, "##[") {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
}

// TestHistoryGoesOnBelow: on a screen what does not fit goes on below itself, in
// a file a line is a line.
func TestHistoryGoesOnBelow(t *testing.T) {
	t.Parallel()
	told := []History{{Workspace: "prod", WorkspaceID: "7", TokenID: tokenID(1), Events: []engine.TokenEvent{
		{At: 0, What: "first seen", Detail: "created 1969-12-01"},
		{At: 1000, What: "fail", Detail: "PAT-004 unused for 98 days, limit 90 (still at 1970-01-04T00:00:00Z, 4 evaluations)"},
	}}}
	var screen, file bytes.Buffer
	if err := HistoryTable(&screen, told, table.Options{Width: 80}); err != nil {
		t.Fatal(err)
	}
	if err := HistoryTable(&file, told, table.Options{Width: 80, Whole: true}); err != nil {
		t.Fatal(err)
	}
	want := "  1970-01-01T00:00:01Z  fail        PAT-004 unused for 98 days, limit 90 (still\n" +
		"                                    at 1970-01-04T00:00:00Z, 4 evaluations)\n"
	if got := screen.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := file.String(); !strings.HasSuffix(got, "  fail        "+told[0].Events[1].Detail+"\n") {
		t.Errorf("got\n%s", got)
	}
}

// TestLastUseIsThatOfTheLog: the last use of a token agrees with its idle days, which rest
// on the audit log where that saw a later one than the list.
func TestLastUseIsThatOfTheLog(t *testing.T) {
	t.Parallel()
	row := tokenRow(prod, engine.Token{ID: tokenID(1), Created: ms(-100 * 24), Expires: new(int64(engine.NeverExpires)), OwnerID: "7", CreatorID: "7"})
	row.Peers = &engine.Peers{Activity: &engine.Activity{Events: 1, First: *ms(-48), Last: *ms(-48)}}
	row.Derive(asOf.UnixMilli())
	var b bytes.Buffer
	if err := Tokens(t.Context(), &b, "json", table.Known([]engine.TokenRow{row}), table.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"last_used_at":"2026-06-29T12:00:00Z"`, `"used":true`, `"idle_days":2`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in %s", want, b.String())
		}
	}
}
