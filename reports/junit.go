package reports

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// JUnit is the audit as tests: a suite for each workspace, a case for each
// policy.
func (catalogue) JUnit() Format {
	return Format{
		Name:  "junit",
		File:  "audit.junit.xml",
		Doc:   "JUnit XML for CI systems: a suite per workspace, a test per policy",
		Write: writeJUnit,
	}
}

// junitExamples is how many findings a case shows: it says how many there are,
// other formats list them.
const (
	junitExamples = 10
	junitLine     = 300 // characters
)

// The schemas of Ant and of Jenkins both accept these elements: all attributes of a
// suite, its children in Ant's order, none that only one knows.
type (
	junitSuite struct {
		XMLName    xml.Name        `xml:"testsuite"`
		ID         int             `xml:"id,attr"`
		Name       xmlText         `xml:"name,attr"`
		Package    string          `xml:"package,attr"`
		Hostname   xmlText         `xml:"hostname,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       int             `xml:"time,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase
		Out        string `xml:"system-out"`
		Err        string `xml:"system-err"`
	}
	junitProperty struct {
		Name  string  `xml:"name,attr"`
		Value xmlText `xml:"value,attr"`
	}
	junitCase struct {
		XMLName xml.Name `xml:"testcase"`
		Name    xmlText  `xml:"name,attr"`
		Class   xmlText  `xml:"classname,attr"`
		Time    int      `xml:"time,attr"`
		Outcome *junitOutcome
	}
	junitOutcome struct { // nil: passed
		XMLName xml.Name // failure, error or skipped
		Message xmlText  `xml:"message,attr"`
		Type    string   `xml:"type,attr,omitempty"`
		Lines   string   `xml:",innerxml"`
	}
)

// xmlText is text of anybody, which becomes harmless as it is written. SafeText leaves no
// character that XML does not know.
type xmlText string

func (x xmlText) MarshalText() ([]byte, error) { return []byte(engine.SafeText(string(x))), nil }

// xmlLines are lines of anybody as the content of an element.
func xmlLines(lines []string) string {
	var b bytes.Buffer
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		_ = xml.EscapeText(&b, []byte(engine.SafeText(line))) // a buffer takes every write
	}
	return b.String()
}

// caseKey names a case: the policy and the id of the workspace.
type caseKey struct{ policy, workspace string }

// judged is what a policy came to in a workspace.
type judged struct {
	counts   engine.Tally
	severity engine.Severity            // in force there
	lines    map[engine.Status][]string // the first findings
}

func (j *judged) add(f engine.Finding) {
	j.counts[f.Status]++
	if len(j.lines[f.Status]) == junitExamples {
		return
	}
	line := f.ResourceID
	if f.Owner != "" {
		line += " (" + f.Owner + ")"
	}
	line += ": " + f.Message
	if f.Status == engine.Waived {
		line += " [" + excuse(f) + "]"
	}
	j.lines[f.Status] = append(j.lines[f.Status], statusWord(f.Status)+": "+cutText(line, junitLine))
}

func writeJUnit(ctx context.Context, w io.Writer, r engine.Report) error {
	cases := map[caseKey]*judged{}
	err := table.Each(ctx, r.Findings, func(f engine.Finding) error {
		key := caseKey{f.Policy, f.WorkspaceID}
		if cases[key] == nil {
			cases[key] = &judged{counts: engine.Tally{}, severity: f.Severity, lines: map[engine.Status][]string{}}
		}
		cases[key].add(f)
		return nil
	})
	if err != nil {
		return err
	}
	all := struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []junitSuite
	}{}
	for i, workspace := range r.Workspaces {
		all.Suites = append(all.Suites, suiteOf(i, r, workspace, cases))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	out := xml.NewEncoder(w)
	out.Indent("", "  ")
	if err := out.Encode(all); err != nil {
		return err
	}
	_, err = io.WriteString(w, "\n")
	return err
}

func suiteOf(index int, r engine.Report, w engine.WorkspaceReport, cases map[caseKey]*judged) junitSuite {
	s := w.Snapshot
	host := "localhost"
	if u, err := url.Parse(s.Workspace.Host); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	suite := junitSuite{
		ID: index, Name: xmlText(workspaceLabel(s.Workspace)), Package: "patrol", Hostname: xmlText(host), Timestamp: r.AsOf.UTC().Format("2006-01-02T15:04:05"),
		Properties: []junitProperty{
			{"as_of", xmlText(table.TimeText(r.AsOf))}, {"workspace_id", xmlText(s.Workspace.ID)}, {"snapshot", xmlText(strconv.FormatInt(s.ID, 10))},
			{"digest", xmlText(s.Digest)}, {"tokens", xmlText(strconv.Itoa(s.Tokens))}, {"patrol", xmlText(r.Version)},
		},
	}
	if r.WhatIf != "" {
		suite.Properties = append(suite.Properties, junitProperty{"what_if", xmlText(WhatIf(r))})
	}
	for _, p := range r.Policies {
		outcome := outcomeOf(r, p.Policy, w.Policies[p.Policy.ID], cases[caseKey{p.Policy.ID, s.Workspace.ID}])
		suite.Cases = append(suite.Cases, junitCase{Name: xmlText(p.Policy.ID + " " + prose(p.Policy.Title)), Class: suite.Name, Outcome: outcome})
	}
	for _, gap := range s.Gaps() { // what was not read is an error
		outcome := &junitOutcome{XMLName: xml.Name{Local: "error"}, Type: string(gap.Coverage.Status), Message: xmlText(gapText(s.Workspace.Name, gap))}
		suite.Cases = append(suite.Cases, junitCase{Name: xmlText("coverage of " + gap.Names()), Class: suite.Name, Outcome: outcome})
	}
	suite.Tests = len(suite.Cases)
	for _, c := range suite.Cases {
		switch {
		case c.Outcome == nil:
		case c.Outcome.XMLName.Local == "failure":
			suite.Failures++
		case c.Outcome.XMLName.Local == "error":
			suite.Errors++
		default:
			suite.Skipped++
		}
	}
	return suite
}

// outcomeOf decides how a case ends; nil is a pass. What could not be judged is an error;
// a case that only holds excused findings, or such as do not fail the run, is skipped:
// nobody enforces it. So is one that had nothing to judge.
func outcomeOf(r engine.Report, p engine.Policy, all engine.Tally, j *judged) *junitOutcome {
	if j == nil {
		if all.Evaluated() > all[engine.NotApplicable] {
			return nil
		}
		return &junitOutcome{XMLName: xml.Name{Local: "skipped"}, Message: xmlText(cmp.Or(p.OffWhere(), "nothing to judge"))}
	}
	how, kind, message := "skipped", "", countsText(j.counts)
	var lines []string
	for _, status := range findingsFirst() {
		lines = append(lines, j.lines[status]...)
		if more := j.counts[status] - len(j.lines[status]); more > 0 {
			lines = append(lines, fmt.Sprintf("… and %s more %s", engine.Comma(more), statusWord(status)))
		}
	}
	switch {
	case j.counts[engine.Fail] > 0 && r.FailOn.Fails(j.severity):
		how, kind = "failure", string(j.severity)
		if todo := prose(p.Remediation); todo != "" {
			lines = append(lines, "to do: "+todo)
		}
	case j.counts[engine.Errored] > 0:
		how, kind = "error", string(engine.Errored)
	case j.counts[engine.Unknown] > 0:
		how, kind = "error", string(engine.Unknown)
	case j.counts[engine.Fail] > 0:
		message += fmt.Sprintf(" (%s: does not fail the run, which fails on %s)", j.severity, r.FailOn)
	}
	return &junitOutcome{XMLName: xml.Name{Local: how}, Type: kind, Message: xmlText(message), Lines: xmlLines(lines)}
}

// countsText says how many findings there are of each status.
func countsText(counts engine.Tally) string {
	var parts []string
	for _, status := range findingsFirst() {
		if n := counts[status]; n > 0 && status.Finding() {
			parts = append(parts, engine.Comma(n)+" "+statusWord(status))
		}
	}
	return strings.Join(parts, ", ")
}

func statusWord(s engine.Status) string {
	if s == engine.Fail {
		return "failed"
	}
	return string(s)
}

// workspaceLabel is never empty.
func workspaceLabel(w engine.Workspace) string { return cmp.Or(w.Name, w.ID, "workspace") }
