package reports

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"net/url"
	"strconv"

	"patrol/engine"
	"patrol/reports/table"
)

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
