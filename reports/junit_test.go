package reports

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"patrol/engine"
)

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

func TestCaseOf(t *testing.T) {
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
		if c := caseOf(r, policy, all, test.judged); c.outcome != test.outcome || c.kind != test.kind {
			t.Errorf("%s: %+v", test.name, c)
		}
	}
	if c := caseOf(r, policy, engine.Tally{engine.NotApplicable: 3}, nil); c.outcome != "skipped" {
		t.Errorf("nothing to judge: %+v", c)
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
		var b bytes.Buffer
		x := &xmlWriter{bufio.NewWriter(&b)}
		x.text("<a>")
		x.foreign("[" + string(r) + "]")
		x.text("</a>")
		if err := x.Flush(); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%U: %v", r, err)
		}
		if want := engine.SafeText("[" + string(r) + "]"); got != want || strings.ContainsRune(got, 0xfffd) && r != 0xfffd {
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
