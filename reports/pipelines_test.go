package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/reports/table"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

func annotationLines(t *testing.T, format Format, r engine.Report) []string {
	t.Helper()
	var b bytes.Buffer
	if err := format.Write(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// TestAnnotationsObeyNobody: each line is one command of ours, whatever the
// text in it, and the last tells what is not shown.
func TestAnnotationsObeyNobody(t *testing.T) {
	t.Parallel()
	r := report()
	attacks := []string{"\n::set-env name=PATH::/tmp", "%0A::add-mask::x", "##vso[task.setvariable variable=PATH]x", "]x", ";type=error", "a,b:c", "\r\n##[command]x"}
	var findings []engine.Finding
	for i, attack := range attacks {
		f := finding(fmt.Sprintf("X-%d", i), attack, engine.High, engine.Fail, prod, tokenID(i), attack, attack)
		f.Workspace = attack
		findings = append(findings, f)
		r.Policies = append(r.Policies, engine.PolicyReport{Policy: engine.Policy{ID: f.Policy, Title: attack, File: attack}})
	}
	r.Findings = table.Known(findings)
	for _, format := range []Format{catalogue{}.GitHub(), catalogue{}.AzureDevOps()} {
		all := annotationLines(t, format, r)
		for _, line := range all[:len(all)-1] {
			github := strings.HasPrefix(line, "::error title=") || strings.HasPrefix(line, "::warning title=")
			azure := strings.HasPrefix(line, "##vso[task.logissue type=error") || strings.HasPrefix(line, "##vso[task.logissue type=warning")
			if !github && !azure {
				t.Errorf("%s: %q", format.Name, line)
			}
		}
		if len(all) != len(attacks)+5 {
			t.Errorf("%s: %d lines", format.Name, len(all))
		}
	}
}

func TestGitHubLine(t *testing.T) {
	t.Parallel()
	got := githubLine(annotation{"error", "100%, a:b", &place{"p/a b.rego", 7}, "one\ntwo 5%"})
	if want := "::error title=100%25%2C a%3Ab,file=p/a b.rego,line=7::one%0Atwo 5%25"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAzureLine(t *testing.T) {
	t.Parallel()
	got := azureLine(annotation{"notice", "t", &place{"p;x]", 7}, "one\ntwo 5%"})
	if want := "##vso[task.logissue type=warning;sourcepath=p%3Bx%5D;linenumber=7]t%0Aone%0Atwo 5%AZP25"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestAnnotationsAreCapped at what a runner shows.
func TestAnnotationsAreCapped(t *testing.T) {
	t.Parallel()
	for n, left := range map[int]string{0: "0 errors, 0 warnings, 0 notices; 0 not", 1: "1 error, 0 warnings, 0 notices; 0 not", 10: "10 errors, 0 warnings, 0 notices; 0 not", 11: "10 errors, 0 warnings, 0 notices; 1 not"} {
		r := engine.Report{FailOn: engine.FailOn(engine.Low)}
		var findings []engine.Finding
		for i := range n {
			findings = append(findings, finding(fmt.Sprintf("X-%02d", i), "t", engine.High, engine.Fail, prod, tokenID(i), "o", "m"))
		}
		r.Findings = table.Known(findings)
		all := annotationLines(t, catalogue{}.GitHub(), r)
		if len(all) != min(n, 10)+1 || !strings.Contains(all[len(all)-1], left) {
			t.Errorf("%d policies: %q", n, all[len(all)-1])
		}
	}
}

// structure walks a document as GitHub reads it. It refuses links and HTML that
// are not ours, and counts the cells of each row.
func structure(t *testing.T, source []byte) (rows []int) {
	t.Helper()
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	err := ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link, *ast.AutoLink, *ast.Image, *ast.Emphasis, *extast.Strikethrough:
			if n.Kind() != ast.KindEmphasis || n.(*ast.Emphasis).Level != 2 {
				t.Errorf("a %s", n.Kind())
			}
		case *ast.RawHTML:
			if tag := string(n.Segments.Value(source)); tag != "<code>" && tag != "</code>" && tag != "<summary>" && tag != "</summary>" {
				t.Errorf("HTML: %q", tag)
			}
		case *ast.HTMLBlock:
			for _, line := range strings.Split(string(n.Lines().Value(source)), "\n") {
				if strings.Contains(line, "<") && !strings.HasPrefix(line, "<details>") && line != "</details>" {
					t.Errorf("HTML: %q", line)
				}
			}
		case *extast.TableRow, *extast.TableHeader:
			rows = append(rows, n.ChildCount())
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestMarkdownStructure(t *testing.T) {
	t.Parallel()
	r := report()
	r.Trend.New = fixtureFindings()
	var b bytes.Buffer
	if err := writeMarkdown(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	rows := structure(t, b.Bytes())
	want := strings.Count(b.String(), "\n| ") - strings.Count(b.String(), "\n| --")
	if len(rows) != want || len(rows) < len(hostile) {
		t.Errorf("%d rows are read, %d were written", len(rows), want)
	}
}

// TestMarkdownTakesNothingFromText: links, images, mentions, markup and the ends
// of cells are what they say, and nothing else.
func TestMarkdownTakesNothingFromText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"[a](https://example.com)", "![a](x)", "<img src=x>", "<script>", "**b**", "_i_", "`c`", "~~d~~", "a|b", "@somebody", "#12", "!3", "$x$", ":tada:", "&lt;", `\|`} {
		if got := mdText(text); strings.ContainsAny(strings.NewReplacer("&#", "").Replace(got), "[]<>*_`~|@#!$:\\") {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	if got := mdText("www.example.com"); strings.Contains(got, "www.") {
		t.Errorf("a link: %q", got)
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, text := range append(hostile, "www.example.com", "https://example.com", "@somebody #12 !3", "a\\", "``", "\\|", "$x$", ":tada:", "[a](b)", "**b**", "<!--") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		source := "| a | b | c |\n| --- | --- | --- |\n| " + mdCode(text) + " | " + mdText(text) + " | end |\n"
		if rows := structure(t, []byte(source)); len(rows) != 2 || rows[1] != 3 {
			t.Errorf("%q is read as rows of %v cells", source, rows)
		}
		if !strings.Contains(rendered(t, source), "<td>end</td>") {
			t.Errorf("%q moves the last cell", source)
		}
	})
}

func rendered(t *testing.T, source string) string {
	t.Helper()
	var b bytes.Buffer
	if err := goldmark.New(goldmark.WithExtensions(extension.GFM)).Convert([]byte(source), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestMarkdownFits cuts at whole lines and says so.
func TestMarkdownFits(t *testing.T) {
	t.Parallel()
	var whole bytes.Buffer
	if err := writeMarkdown(t.Context(), &whole, report()); err != nil {
		t.Fatal(err)
	}
	for limit, cut := range map[int]bool{whole.Len(): false, whole.Len() - 1: true, 500: true} {
		var b bytes.Buffer
		if err := writeMarkdownWithin(t.Context(), &b, report(), limit); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "**Cut:**") != cut || b.Len() > limit+200 {
			t.Errorf("limit %d: %d bytes, ends in %q", limit, b.Len(), b.String()[b.Len()-80:])
		}
	}
}

// TestMarkdownIsBounded: a report of any size gives a summary of the same.
func TestMarkdownIsBounded(t *testing.T) {
	t.Parallel()
	r := many(5_000)
	for range 1_000 {
		r.Policies = append(r.Policies, engine.PolicyReport{Policy: engine.Policy{ID: "X", Title: strings.Repeat("long ", 50)}, Tally: engine.Tally{engine.Unknown: 1}})
	}
	var b bytes.Buffer
	if err := writeMarkdown(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 200_000 || !strings.Contains(b.String(), "… and 802 more.") {
		t.Errorf("%d bytes", b.Len())
	}
}

// suites is the shape that the schemas of Ant and of Jenkins share. The schemas
// themselves are no part of this project.
type suites struct {
	XMLName xml.Name   `xml:"testsuites"`
	Attrs   []xml.Attr `xml:",any,attr"`
	Suites  []struct {
		Attrs    []xml.Attr `xml:",any,attr"`
		Children []child    `xml:",any"`
	} `xml:"testsuite"`
}

type child struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []child    `xml:",any"`
}

func attributes(list []xml.Attr) map[string]string {
	m := map[string]string{}
	for _, a := range list {
		m[a.Name.Local] = a.Value
	}
	return m
}

func readJUnit(t *testing.T, r engine.Report) suites {
	t.Helper()
	var b bytes.Buffer
	if err := writeJUnit(t.Context(), &b, r); err != nil {
		t.Fatal(err)
	}
	var all suites
	if err := xml.Unmarshal(b.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestJUnitShape holds the rules of both schemas: attributes that Ant requires
// and Jenkins knows, Ant's order of children, one outcome a case.
func TestJUnitShape(t *testing.T) {
	t.Parallel()
	all := readJUnit(t, report())
	if len(all.Attrs) > 0 || len(all.Suites) != 2 {
		t.Fatalf("testsuites has %v, and %d suites", all.Attrs, len(all.Suites))
	}
	for i, suite := range all.Suites {
		attrs := attributes(suite.Attrs)
		for _, name := range []string{"id", "name", "package", "hostname", "timestamp", "tests", "failures", "errors", "skipped", "time"} {
			if attrs[name] == "" {
				t.Errorf("suite %d has no %s", i, name)
			}
		}
		if len(suite.Attrs) != 10 || attrs["id"] != strconv.Itoa(i) || len(attrs["timestamp"]) != len("2006-01-02T15:04:05") {
			t.Errorf("attributes %v", attrs)
		}
		testChildren(t, suite.Children, attrs)
	}
}

func testChildren(t *testing.T, children []child, attrs map[string]string) {
	t.Helper()
	order, ended := []string{}, map[string]int{}
	for _, c := range children {
		if n := len(order); n == 0 || order[n-1] != c.XMLName.Local {
			order = append(order, c.XMLName.Local)
		}
		if c.XMLName.Local != "testcase" {
			continue
		}
		ended["tests"]++
		if len(c.Children) > 1 || len(c.Attrs) != 3 {
			t.Errorf("case %v has %d outcomes", c.Attrs, len(c.Children))
		}
		for _, outcome := range c.Children {
			ended[outcome.XMLName.Local]++
			if kind := attributes(outcome.Attrs)["type"]; (kind == "") != (outcome.XMLName.Local == "skipped") {
				t.Errorf("%s of type %q", outcome.XMLName.Local, kind)
			}
		}
	}
	if got := strings.Join(order, " "); got != "properties testcase system-out system-err" {
		t.Errorf("children are %s", got)
	}
	for name, attr := range map[string]string{"tests": "tests", "failure": "failures", "error": "errors", "skipped": "skipped"} {
		if attrs[attr] != strconv.Itoa(ended[name]) {
			t.Errorf("%s is %s, counted %d", attr, attrs[attr], ended[name])
		}
	}
}

func TestOutcomeOf(t *testing.T) {
	t.Parallel()
	policy, all := engine.Policy{ID: "X-1", Title: "t"}, engine.Tally{engine.Pass: 1}
	r := engine.Report{FailOn: engine.FailOn(engine.Medium)}
	with := func(level engine.Severity, statuses ...engine.Status) *judged {
		j := &judged{counts: engine.Tally{}, severity: level, lines: map[engine.Status][]string{}}
		for _, s := range statuses {
			j.add(engine.Finding{Status: s})
		}
		return j
	}
	for _, test := range []struct {
		name          string
		judged        *judged
		outcome, kind string
	}{
		{"passes", nil, "", ""},
		{"fails", with(engine.High, engine.Fail), "failure", "high"},
		{"fails below the threshold", with(engine.Low, engine.Fail), "skipped", ""},
		{"fails and is unknown", with(engine.High, engine.Unknown, engine.Fail), "failure", "high"},
		{"fails below the threshold and is unknown", with(engine.Low, engine.Unknown, engine.Fail), "error", "unknown"},
		{"waived", with(engine.High, engine.Waived, engine.Baselined), "skipped", ""},
		{"error", with(engine.High, engine.Unknown, engine.Errored), "error", "error"},
	} {
		outcome, kind := "", ""
		if got := outcomeOf(r, policy, all, test.judged); got != nil {
			outcome, kind = got.XMLName.Local, got.Type
		}
		if outcome != test.outcome || kind != test.kind {
			t.Errorf("%s: %s of type %q", test.name, outcome, kind)
		}
	}
	if got := outcomeOf(r, policy, engine.Tally{engine.NotApplicable: 3}, nil); got.XMLName.Local != "skipped" {
		t.Errorf("nothing to judge: %+v", got)
	}
}

func TestJUnitCounts(t *testing.T) {
	t.Parallel()
	for n, more := range map[int]string{0: "", 1: "", 10: "", 11: "… and 1 more failed", 20: "… and 10 more failed"} {
		var text string
		for _, c := range readJUnit(t, many(n)).Suites[0].Children {
			for _, outcome := range c.Children {
				if outcome.XMLName.Local == "failure" {
					text = outcome.Text
				}
			}
		}
		if strings.Count(text, "failed: ") != min(n, 10) || !strings.Contains(text, more) || more == "" && strings.Contains(text, "…  and") {
			t.Errorf("%d findings: %q", n, text)
		}
	}
}

// TestXMLIsValid asks another parser, and holds the file to what the schemas of
// Ant and Jenkins both accept; a file that they do not accept is refused.
func TestXMLIsValid(t *testing.T) {
	t.Parallel()
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is not installed: only Go's parser has read the file")
	}
	var b bytes.Buffer
	if err := writeJUnit(t.Context(), &b, report()); err != nil {
		t.Fatal(err)
	}
	validate := func(text string) error {
		check := exec.CommandContext(t.Context(), lint, "--noout", "--relaxng", "testdata/junit.rng", "-")
		check.Stdin = strings.NewReader(text)
		if output, err := check.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		return nil
	}
	if err := validate(b.String()); err != nil {
		t.Error(err)
	}
	for was, is := range map[string]string{"system-out>": "stdout>", ` hostname="`: ` host="`, ` id="0"`: ` id="first"`, "</failure>": "</failure><failure/>"} {
		broken := strings.ReplaceAll(b.String(), was, is)
		if broken == b.String() || validate(broken) == nil {
			t.Errorf("with %s for %s it is valid, or was not changed", is, was)
		}
	}
}

// TestXMLShowsWhatItCannotHold: each character is in the file as it is, or shown;
// none is lost, and none makes the file unreadable.
func TestXMLShowsWhatItCannotHold(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= 0x10ffff; r = next(r) {
		text := "[" + string(r) + "]"
		encoded, err := xml.Marshal(junitOutcome{XMLName: xml.Name{Local: "a"}, Message: xmlText(text), Lines: xmlLines([]string{text})})
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Message string `xml:"message,attr"`
			Lines   string `xml:",chardata"`
		}
		if err := xml.Unmarshal(encoded, &got); err != nil {
			t.Fatalf("%U: %v", r, err)
		}
		if want := engine.SafeText(text); got.Message != want || got.Lines != want || strings.ContainsRune(want, 0xfffd) && r != 0xfffd {
			t.Errorf("%U became %q", r, got)
		}
	}
}

// next goes through all of the characters that have two bytes at most and what
// is special beyond them, and through one of a hundred of the others.
func next(r rune) rune {
	switch {
	case r < 0x800, r >= 0xfff0 && r < 0x10010, r >= 0x2000 && r < 0x2100:
		return r + 1
	case r >= 0xd700 && r < 0xe000: // halves of characters are none
		return 0xe000
	}
	return r + 97
}
