package reports

import (
	"bufio"
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

// caseKey names a case: the policy and the id of the workspace.
type caseKey struct{ policy, workspace string }

// judged is what a policy came to in a workspace.
type judged struct {
	counts   engine.Tally
	severity engine.Severity // in force there
	lines    map[engine.Status][]string
}

// writeJUnit writes what the schemas of Ant and of Jenkins both accept: all
// attributes of a suite, its children in Ant's order, none that only one knows.
func writeJUnit(ctx context.Context, w io.Writer, r engine.Report) error {
	cases, err := judgedCases(ctx, r)
	if err != nil {
		return err
	}
	x := &xmlWriter{bufio.NewWriter(w)}
	x.text(xml.Header + "<testsuites>\n")
	for i, workspace := range r.Workspaces {
		x.suite(i, r, workspace, cases)
	}
	x.text("</testsuites>\n")
	return x.Flush()
}

func judgedCases(ctx context.Context, r engine.Report) (map[caseKey]*judged, error) {
	cases := map[caseKey]*judged{}
	err := table.Each(ctx, r.Findings, func(f engine.Finding) error {
		key := caseKey{f.Policy, f.WorkspaceID}
		if cases[key] == nil {
			cases[key] = &judged{counts: engine.Tally{}, severity: f.Severity, lines: map[engine.Status][]string{}}
		}
		cases[key].add(f)
		return nil
	})
	return cases, err
}

func (j *judged) add(f engine.Finding) {
	j.counts[f.Status]++
	if len(j.lines[f.Status]) < junitExamples {
		j.lines[f.Status] = append(j.lines[f.Status], cutText(junitText(f), junitLine))
	}
}

// junitText is a finding on one line.
func junitText(f engine.Finding) string {
	text := f.ResourceID
	if f.Owner != "" {
		text += " (" + f.Owner + ")"
	}
	text += ": " + f.Message
	if f.Status == engine.Waived {
		text += " [" + waiverText(f.Waiver) + "]"
	}
	return text
}

// junitCase is a test case and how it ended; an empty outcome is a pass.
type junitCase struct {
	name, outcome, kind, message string
	lines                        []string
}

// caseOf decides how a case ends. What could not be judged is an error; a case
// that only holds excused findings, or such as do not fail the run, is skipped:
// nobody enforces it. So is one that had nothing to judge.
func caseOf(r engine.Report, p engine.Policy, all engine.Tally, j *judged) junitCase {
	c := junitCase{name: p.ID + " " + prose(p.Title)}
	switch {
	case j == nil && all.Evaluated() == all[engine.NotApplicable]:
		c.outcome, c.message = "skipped", orText(p.OffWhere(), "nothing to judge")
	case j == nil:
	case j.counts[engine.Fail] > 0 && r.FailOn.Fails(j.severity):
		c.outcome, c.kind = "failure", string(j.severity)
	case j.counts[engine.Errored] > 0:
		c.outcome, c.kind = "error", string(engine.Errored)
	case j.counts[engine.Unknown] > 0:
		c.outcome, c.kind = "error", string(engine.Unknown)
	default:
		c.outcome = "skipped"
	}
	if j != nil {
		c.message = countsText(j.counts)
		if c.outcome == "skipped" && j.counts[engine.Fail] > 0 {
			c.message += fmt.Sprintf(" (%s: does not fail the run, which fails on %s)", j.severity, r.FailOn)
		}
		c.lines = j.all()
		if todo := prose(p.Remediation); c.outcome == "failure" && todo != "" {
			c.lines = append(c.lines, "to do: "+todo)
		}
	}
	return c
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

// all lists the examples, and how many more there are.
func (j *judged) all() []string {
	var lines []string
	for _, status := range findingsFirst() {
		for _, line := range j.lines[status] {
			lines = append(lines, statusWord(status)+": "+line)
		}
		if more := j.counts[status] - len(j.lines[status]); more > 0 {
			lines = append(lines, fmt.Sprintf("… and %s more %s", engine.Comma(more), statusWord(status)))
		}
	}
	return lines
}

// unreadCases are errors for the sections of a workspace that were not read.
func unreadCases(s engine.Snapshot) []junitCase {
	var cases []junitCase
	for _, gap := range s.Gaps() {
		cases = append(cases, junitCase{
			name: "coverage of " + gap.Names(), outcome: "error", kind: string(gap.Coverage.Status),
			message: gapText(s.Workspace.Name, gap),
		})
	}
	return cases
}

// xmlWriter writes elements; all values pass through one escape.
type xmlWriter struct{ *bufio.Writer }

// text writes markup of our own.
func (x *xmlWriter) text(markup string) { _, _ = x.WriteString(markup) } // Flush reports the error

// foreign writes text that is anybody's. SafeText leaves no character that XML
// does not know.
func (x *xmlWriter) foreign(text string) { _ = xml.EscapeText(x, []byte(engine.SafeText(text))) }

// open starts an element with attributes, given as name and value by turns.
func (x *xmlWriter) open(indent, name string, attributes ...string) {
	x.text(indent + "<" + name)
	for i := 0; i+1 < len(attributes); i += 2 {
		x.text(" " + attributes[i] + `="`)
		x.foreign(attributes[i+1])
		x.text(`"`)
	}
}

func (x *xmlWriter) suite(index int, r engine.Report, w engine.WorkspaceReport, cases map[caseKey]*judged) {
	s := w.Snapshot
	var list []junitCase
	for _, p := range r.Policies {
		list = append(list, caseOf(r, p.Policy, w.Policies[p.Policy.ID], cases[caseKey{p.Policy.ID, s.Workspace.ID}]))
	}
	list = append(list, unreadCases(s)...)
	ended := map[string]int{}
	for _, c := range list {
		ended[c.outcome]++
	}
	name := workspaceLabel(s.Workspace)
	x.open("  ", "testsuite", "id", strconv.Itoa(index), "name", name, "package", "patrol", "hostname", hostName(s.Workspace.Host),
		"timestamp", r.AsOf.UTC().Format("2006-01-02T15:04:05"), "tests", strconv.Itoa(len(list)), "failures", strconv.Itoa(ended["failure"]),
		"errors", strconv.Itoa(ended["error"]), "skipped", strconv.Itoa(ended["skipped"]), "time", "0")
	x.text(">\n")
	properties := []string{"as_of", table.TimeText(r.AsOf), "workspace_id", s.Workspace.ID, "snapshot", strconv.FormatInt(s.ID, 10), "digest", s.Digest,
		"tokens", strconv.Itoa(s.Tokens), "patrol", r.Version}
	if r.WhatIf != "" {
		properties = append(properties, "what_if", WhatIf(r))
	}
	x.properties(properties...)
	for _, c := range list {
		x.testcase(name, c)
	}
	x.text("    <system-out></system-out>\n    <system-err></system-err>\n  </testsuite>\n")
}

// workspaceLabel is never empty.
func workspaceLabel(w engine.Workspace) string { return orText(w.Name, orText(w.ID, "workspace")) }

func hostName(host string) string {
	if u, err := url.Parse(host); err == nil && u.Hostname() != "" {
		return u.Hostname()
	}
	return "localhost"
}

func (x *xmlWriter) properties(pairs ...string) {
	x.text("    <properties>\n")
	for i := 0; i+1 < len(pairs); i += 2 {
		x.open("      ", "property", "name", pairs[i], "value", pairs[i+1])
		x.text("/>\n")
	}
	x.text("    </properties>\n")
}

func (x *xmlWriter) testcase(class string, c junitCase) {
	x.open("    ", "testcase", "name", c.name, "classname", class, "time", "0")
	if c.outcome == "" {
		x.text("/>\n")
		return
	}
	attributes := []string{"message", c.message}
	if c.kind != "" {
		attributes = append(attributes, "type", c.kind)
	}
	x.text(">\n")
	x.open("      ", c.outcome, attributes...)
	x.text(">")
	for i, line := range c.lines {
		if i > 0 {
			x.text("\n")
		}
		x.foreign(line)
	}
	x.text(fmt.Sprintf("</%s>\n    </testcase>\n", c.outcome))
}
