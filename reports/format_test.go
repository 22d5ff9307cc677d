package reports

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/outfile"
	"patrol/reports/table"

	"github.com/google/go-cmp/cmp"
)

// golden compares what was written with the file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	enginetest.Golden(t, filepath.Join("testdata", name), got)
}

// legibleForms turn files that are no text into text for their golden file.
var legibleForms = map[string]func(*testing.T, []byte) []byte{"audit.xlsx": dumpWorkbook, "audit.html": legiblePage}

// TestFormats holds every format, present and future, to the same promises.
func TestFormats(t *testing.T) {
	files := map[string]bool{}
	for _, format := range Formats() {
		t.Run(format.Name, func(t *testing.T) {
			if format.Name == "" || format.Doc == "" || format.File != filepath.Base(format.File) || files[format.File] {
				t.Fatalf("incomplete, or a file of another format: %+v", format)
			}
			files[format.File] = true
			got := render(t, format)
			if again := render(t, format); !bytes.Equal(got, again) {
				t.Error("two writes of the same report differ")
			}
			name := format.File
			if form, ok := legibleForms[name]; ok {
				got, name = form(t, got), name+".txt"
			}
			golden(t, name, got)
			testStops(t, format)
		})
	}
}

func render(t *testing.T, format Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := format.Write(t.Context(), &b, report()); err != nil {
		t.Fatal(err)
	}
	if b.Len() == 0 {
		t.Fatal("wrote nothing")
	}
	return b.Bytes()
}

// testStops checks that a format passes errors on and leaves no file behind.
func testStops(t *testing.T, format Format) {
	broken := errors.New("page is torn")
	ended, end := context.WithCancel(t.Context())
	end()
	later, endLater := context.WithCancel(t.Context())
	defer endLater()
	failing, cancelling := report(), report()
	failing.Findings = breaking(failing.Findings, 5, broken)
	cancelling.Findings = func(yield func(engine.Finding, error) bool) {
		for f, err := range report().Findings {
			endLater()
			if !yield(f, err) {
				return
			}
		}
	}
	for _, test := range []struct {
		name string
		ctx  context.Context
		r    engine.Report
		want error
	}{
		{"source fails", t.Context(), failing, broken},
		{"context ended", ended, report(), context.Canceled},
		{"context ends midway", later, cancelling, context.Canceled},
	} {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		paths, err := WriteAll(test.ctx, dir, []Format{format}, test.r, outfile.Files{})
		if !errors.Is(err, test.want) || len(paths) != 0 {
			t.Errorf("%s: got %v, %v; want %v and no path", test.name, paths, err, test.want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left %v behind", test.name, left)
		}
		if err := format.Write(t.Context(), brokenPipe{}, report()); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v from a writer that fails, want its error", err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestLookup(t *testing.T) {
	t.Parallel()
	if format, err := Lookup(" CSV "); err != nil || format.Name != "csv" {
		t.Errorf("got %q, %v", format.Name, err)
	}
	_, err := Lookup("pdf")
	told, ok := engine.AsError(err)
	if !ok || told.Class != engine.ClassUsage {
		t.Fatalf("got %v, want a usage error", err)
	}
	for _, format := range Formats() {
		if !strings.Contains(err.Error(), format.Name) {
			t.Errorf("%q does not name %s", err, format.Name)
		}
	}
}

func TestWriteAll(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "out")
	paths, err := WriteAll(t.Context(), dir, Formats(), report(), outfile.Files{})
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v", info.Mode())
	}
	for i, format := range Formats() {
		if want := filepath.Join(dir, format.File); paths[i] != want {
			t.Errorf("path %q, want %q", paths[i], want)
		}
		if info, err := os.Stat(paths[i]); err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("%s: %v, %v", paths[i], info, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != len(paths) {
		t.Errorf("found %v besides the reports", left)
	}
}

func TestWriteAllRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{file, filepath.Join(file, "below")} {
		_, err := WriteAll(t.Context(), target, Formats(), report(), outfile.Files{})
		if told, ok := engine.AsError(err); !ok || told.Class != engine.ClassStorage || told.Hint == "" {
			t.Errorf("%s: got %v, want a storage error with a hint", target, err)
		}
	}
}

// fixtureExceptions has one waiver of each state, and a baseline.
func fixtureExceptions() engine.Exceptions {
	today := engine.DateOf(asOf)
	rule := func(id string, left engine.Date) engine.WaiverRule {
		return engine.WaiverRule{
			ID: id, Policies: []string{"PAT-001", "PAT-030"}, Workspace: "prod*", Owner: "=svc-*", Reason: "-until the migration of \u202eX",
			Ticket: "SEC-1", Approver: "@bob@example.com", Created: today - 30, Expires: today + left,
		}
	}
	refusals := []engine.WaiverRefusal{{Policy: "WV-001", Message: "granted for 400 days, limit 180", Findings: 2}}
	token := rule("W-4", -3)
	token.Owner, token.Token, token.Workspace, token.Ticket = "", tokenID(1)[:8]+"*", "", ""
	pending := rule("W-7", 60)
	pending.Created = today + 1
	use := func(w engine.WaiverRule, state engine.WaiverState) engine.WaiverUse {
		return engine.WaiverUse{WaiverRule: w, State: state, DaysLeft: today.Until(w.Expires)}
	}
	uses := []engine.WaiverUse{
		use(rule("W-1", 91), engine.WaiverInForce), use(rule("W-2", 14), engine.WaiverInForce), use(rule("W-3", 20), engine.WaiverUnmatched),
		use(token, engine.WaiverExpired), use(rule("W-5", 370), engine.WaiverRefused), use(rule("W-6", 30), engine.WaiverNotJudged), use(pending, engine.WaiverPending),
	}
	uses[0].Waived, uses[1].Waived, uses[1].ExpiresSoon, uses[3].Lapsed, uses[4].Refusals = 1, 2, true, 1, refusals
	return engine.Exceptions{Waivers: uses, Baseline: &engine.BaselineUse{
		AsOf: "2026-06-01T00:00:00Z", Version: "1.2.3", Entries: 4, Baselined: 1, NotJudged: 1,
		Gone: []engine.BaselineEntry{
			{Fingerprint: strings.Repeat("0a", 16), Policy: "PAT-001", Severity: engine.High, Workspace: "prod", WorkspaceID: prod.ID, Resource: engine.ResourceToken, ResourceID: tokenID(50)},
			{Fingerprint: strings.Repeat("0b", 16), Policy: "WS-001", Severity: engine.Medium, Workspace: "prod", WorkspaceID: prod.ID, Resource: engine.ResourceWorkspace, ResourceID: prod.ID},
		},
	}}
}

func TestTableShowsAllExceptions(t *testing.T) {
	t.Parallel()
	r := report()
	for _, c := range []struct {
		options TableOptions
		want    []string
		not     []string
	}{
		{TableOptions{Findings: 1}, []string{"gone: PAT-001", "… and 1 more (-v lists them)", "W-1 1 finding, until 2026-09-30, approved by"}, []string{"gone: WS-001"}},
		{TableOptions{Findings: 1, All: true}, []string{"gone: PAT-001", "gone: WS-001"}, []string{"-v lists"}},
		{TableOptions{Findings: -1}, []string{"3 findings waived: 2 waivers"}, []string{"gone: PAT-001", "W-1 1"}},
	} {
		var b bytes.Buffer
		if err := Table(t.Context(), &b, r, c.options); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%+v: no %q in\n%s", c.options, want, b.String())
			}
		}
		for _, not := range c.not {
			if strings.Contains(b.String(), not) {
				t.Errorf("%+v: %q", c.options, not)
			}
		}
	}
}

// TestCoverageWordsInEveryFormat: that tokens are off, and what contradicts an
// answer that cannot be true, is said wherever people read.
func TestCoverageWordsInEveryFormat(t *testing.T) {
	t.Parallel()
	r := report()
	coverage := r.Workspaces[1].Snapshot.Coverage
	coverage[engine.SectionTokens] = engine.Coverage{Status: engine.Off, Detail: "enableTokensConfig is false"}
	coverage[engine.SectionPrincipals] = engine.Coverage{Status: engine.Implausible, Reason: "caller_missing", Detail: "the list of users lacks the caller"}
	for _, name := range []string{"json", "html", "markdown", "junit", "sarif", "xlsx"} {
		format, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := format.Write(t.Context(), &b, r); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if name == "xlsx" {
			text = string(dumpWorkbook(t, b.Bytes()))
		}
		wanted := []string{"implausible", "the list of users lacks the caller"}
		switch name {
		case "html", "markdown", "xlsx":
			wanted = append(wanted, "Tokens are off in sandbox")
		case "json":
			wanted = append(wanted, `"status":"off"`)
		}
		for _, want := range wanted {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", name, want)
			}
		}
	}
	var b bytes.Buffer
	if err := Table(t.Context(), &b, r, TableOptions{Options: table.Options{Width: 200}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Tokens are off in sandbox", "principals: implausible (caller_missing)", "the list of users lacks the caller"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the terminal does not say %q", want)
		}
	}
}

// TestWhatIfInEveryFormat: a report of what would be says so wherever people
// read, by name; one of what is never does.
func TestWhatIfInEveryFormat(t *testing.T) {
	t.Parallel()
	terminal := Format{Name: "terminal", Write: func(ctx context.Context, w io.Writer, r engine.Report) error {
		return Table(ctx, w, r, TableOptions{Options: table.Options{Width: 200}})
	}}
	for _, format := range append(Formats(), terminal) {
		t.Run(format.Name, func(t *testing.T) {
			for _, name := range []string{"", "stricter pack", "stricter pack\x1b]0;<b>\n"} {
				r := report()
				r.WhatIf = name
				var b bytes.Buffer
				if err := format.Write(t.Context(), &b, r); err != nil {
					t.Fatal(err)
				}
				text := b.String()
				if format.Name == "xlsx" {
					text = string(dumpWorkbook(t, b.Bytes()))
				}
				told := strings.Contains(strings.NewReplacer("_", " ", "&#58;", ":").Replace(strings.ToLower(text)), "what if")
				if want := name != ""; told != want || strings.Contains(text, "stricter pack") != want {
					t.Errorf("what if %q: said: %v, want %v", name, told, want)
				}
				if format.Name == "xlsx" && name != "" && strings.Count(text, "WHAT IF: ") != 2 {
					t.Error("cover and summary do not both say it")
				}
				if strings.Contains(text, "\x1b") || strings.Contains(text, "]0;<b>") && (format.Name == "html" || format.Name == "junit" || format.Name == "markdown") {
					t.Errorf("the name %q acts", name)
				}
			}
		})
	}
}

// TestWhatIfIsNotWhatIs: readers that know findings by ids and categories do
// not take what would be for what is, and it is sound by their schemas.
func TestWhatIfIsNotWhatIs(t *testing.T) {
	t.Parallel()
	is, would := report(), report()
	would.WhatIf = "stricter [pack]"
	if a, b := writtenOSCAL(t, is), writtenOSCAL(t, would); a.UUID == b.UUID {
		t.Error("OSCAL gives both one id")
	}
	limits := codeScanning()
	limits.results = 3
	for i, run := range writtenSARIF(t, would, limits).Runs[:2] {
		if want := []string{"patrol-what-if/", "patrol-what-if-2/"}[i]; *run.AutomationDetails.ID != want {
			t.Errorf("SARIF has category %q, want %q", *run.AutomationDetails.ID, want)
		}
	}
	writtenOCSF(t, would)
	if strings.Contains(strings.Join(nextSteps(would), " "), "patrol plan") {
		t.Error("what would be is offered for a plan")
	}
}

// hostileReport has every text of testdata/hostile in every field of a report
// that is somebody else's.
func hostileReport(t *testing.T) engine.Report {
	t.Helper()
	texts, err := enginetest.HostileTexts("..")
	if err != nil || len(texts) < 50 {
		t.Fatalf("%d texts: %v", len(texts), err)
	}
	r := report()
	var findings []engine.Finding
	var tokens []engine.TokenRow
	settings := engine.Settings{}
	for i, h := range texts {
		text := h.Text
		f := finding("PAT-001", "Token never expires", engine.High, engine.Fail, prod, text, text, text)
		f.Evidence = map[string]any{text: text, "list": []any{text}}
		findings = append(findings, f)
		row := tokenRow(prod, engine.Token{ID: text, Comment: text, Created: ms(-100 * 24), Expires: new(int64(engine.NeverExpires)), OwnerID: "7",
			CreatorID: text, CreatorName: text, Scopes: []string{text}, Defects: []engine.Defect{{Field: text, Reason: text, Value: text}}})
		row.Owner.Name = text
		tokens = append(tokens, row)
		settings[tokenID(i)] = engine.Setting{Value: &text}
	}
	r.Workspaces[0].Settings = settings
	r.Findings, r.Tokens = table.Known(findings), table.Known(tokens)
	return r
}

// TestHostileTextInABrowser: the page asks nothing, loads nothing, and complains of nothing.
func TestHostileTextInABrowser(t *testing.T) {
	t.Parallel()
	enginetest.NotInRace(t)
	b := openPage(t, chromium(t), hostileReport(t))
	for _, tab := range []string{"findings", "tokens", "workspaces"} {
		b.at("#" + tab)
	}
	b.wait(`document.querySelectorAll("[pwned], pwned-element, img[src=x], [onerror], [onmouseover], a[href*=pwned], script[src]").length === 0`)
}

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
