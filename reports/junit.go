package reports

import (
	"bufio"
	"context"
	"encoding/xml"
	"fmt"
	"io"
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
