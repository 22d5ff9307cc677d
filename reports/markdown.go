package reports

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"patrol/engine"
	"patrol/reports/table"
)

// Markdown is the job summary of a pipeline.
func (catalogue) Markdown() Format {
	return Format{
		Name:  "markdown",
		File:  "summary.md",
		Doc:   "Markdown for the job summary of GitHub, GitLab or Azure DevOps",
		Write: writeMarkdown,
	}
}

// What a summary shows. GitHub takes 1 MiB of all steps of a job together.
const (
	mdLimit    = 900_000 // bytes
	mdExamples = 3       // findings of each policy
	mdRows     = 200     // of a table
)

func writeMarkdown(ctx context.Context, w io.Writer, r engine.Report) error {
	return writeMarkdownWithin(ctx, w, r, mdLimit)
}

func writeMarkdownWithin(ctx context.Context, w io.Writer, r engine.Report, limit int) error {
	all, err := collect(ctx, r, mdExamples)
	if err != nil {
		return err
	}
	m := &mdWriter{limit: limit}
	mark := map[engine.Verdict]string{engine.Clean: "✅", engine.Violations: "❌", engine.Incomplete: "⚠️"}[r.Verdict()]
	m.line("## %s Databricks tokens: %s\n", mark, r.Verdict())
	if text := WhatIf(r); text != "" {
		m.line("> **%s**\n", mdText(text))
	}
	m.line("%s in %s, judged as of %s; %s.\n", engine.Plural(r.Summary.Tokens, "token"), engine.Plural(r.Summary.Workspaces, "workspace"), table.TimeText(r.AsOf), explain(r))
	if off := offText(r); off != "" {
		m.line("%s\n", mdText(off))
	}
	head := []string{"Results", "#All"}
	for _, level := range engine.Severities() {
		head = append(head, "#"+string(level))
	}
	var counts [][]string
	for _, status := range findingsFirst() {
		row := []string{table.Heading(string(status)), engine.Comma(r.Summary.Statuses[status])}
		for _, level := range engine.Severities() {
			row = append(row, engine.Comma(r.Summary.Severities[level][status]))
		}
		counts = append(counts, row)
	}
	m.table("", head, counts)
	if t := r.Trend; t != nil {
		m.line("### What changed\n")
		m.line("%s %s\n", trendText(t), timesToFix(t))
		m.table("", mdFindings, table.Map(t.New, mdFinding))
		if more := t.Count(engine.ChangeNew) + t.Count(engine.ChangeWorse) - len(t.New); more > 0 {
			m.line("… and %s more.\n", engine.Comma(more))
		}
	}
	var failed, examples, todo, unjudged [][]string
	broken := map[string]bool{} // policies that failed
	for _, g := range all.groups {
		if g.counts[engine.Fail] == 0 {
			continue
		}
		broken[g.policy] = true
		failed = append(failed, []string{string(g.severity), mdCode(g.policy) + " " + mdText(g.title), engine.Comma(g.counts[engine.Fail]), engine.Comma(len(g.workspaces)),
			engine.Comma(g.counts[engine.Waived]), engine.Comma(g.counts[engine.Baselined])})
		examples = append(examples, table.Map(g.examples, mdFinding)...)
	}
	for _, p := range r.Policies {
		if remediation := prose(p.Policy.Remediation); remediation != "" && broken[p.Policy.ID] {
			todo = append(todo, []string{mdCode(p.Policy.ID), mdText(remediation)})
		}
		if n := undecided(p.Tally); n > 0 {
			unjudged = append(unjudged, []string{mdCode(p.Policy.ID) + " " + mdText(p.Policy.Title), engine.Comma(n)})
		}
	}
	m.table("### What failed", []string{"Severity", "Policy", "#Failed", "#Workspaces", "#Waived", "#Baselined"}, failed)
	m.details("The first of each policy", mdFindings, examples)
	m.details("What to do", []string{"Policy", "What to do"}, todo)
	m.table("### Not judged", []string{"Policy", "#Results"}, unjudged)
	var gaps [][]string
	for _, w := range r.Workspaces {
		for _, gap := range w.Snapshot.Gaps() {
			c := gap.Coverage
			gaps = append(gaps, []string{mdCode(w.Snapshot.Workspace.Name), gap.Names(), string(c.Status), mdText(cutText(cmp.Or(c.Detail, c.Reason), 300)), mdText(c.Hint)})
		}
	}
	m.table("### Not read", []string{"Workspace", "Sections", "Status", "Why", "What to do"}, gaps)
	var changes, waivers [][]string
	for _, p := range r.Policies {
		for _, change := range configured(p.Policy) {
			changes = append(changes, []string{mdCode(p.Policy.ID), mdCode(change)})
		}
	}
	m.table("### Set by the configuration", []string{"Policy", "In force"}, changes)
	for _, w := range r.Exceptions.Waivers {
		state := strings.ReplaceAll(string(w.State), "_", " ")
		if w.ExpiresSoon {
			state += ", ends soon"
		}
		waivers = append(waivers, []string{mdCode(w.ID), state, engine.Comma(w.Waived), w.Expires.String(), mdCode(w.Approver), mdText(cutText(w.Reason, 200))})
	}
	m.table("### Waivers", []string{"Waiver", "State", "#Waived", "Until", "Approved by", "Reason"}, waivers)
	var controls [][]string
	for _, f := range r.Frameworks() {
		for _, c := range f.Controls {
			controls = append(controls, []string{mdText(engine.FrameworkTitle(f.Name)), mdText(c.ID), "**" + controlWord(c.Status) + "**", mdText(controlCounts(c)), mdText(strings.Join(c.Policies, ", "))})
		}
	}
	if controls != nil {
		m.line("### Controls\n")
	}
	m.details("Where the audit stands on each control", []string{"Framework", "Control", "Result", "Counts", "Policies"}, controls)
	if m.left > 0 {
		m.text.WriteString("\n> **Cut:** " + engine.Plural(m.left, "line") + " did not fit here. The other reports have everything.\n")
	}
	_, err = io.WriteString(w, m.text.String())
	return err
}

var mdFindings = []string{"Severity", "Policy", "Workspace", "Token", "Owner", "Message"}

func mdFinding(f engine.Finding) []string {
	return []string{string(f.Severity), mdCode(f.Policy), mdCode(f.Workspace), mdCode(shortID(f.ResourceID)), mdCode(cutText(f.Owner, 80)), mdCode(cutText(f.Message, 200))}
}

// mdWriter writes Markdown and stops before a limit. What stands in it is ours
// but for what mdText and mdCode have passed.
type mdWriter struct {
	text  strings.Builder
	limit int
	left  int // lines left out
}

// line writes a line, unless it no longer fits.
func (m *mdWriter) line(format string, args ...any) {
	line := fmt.Sprintf(format, args...) + "\n"
	if m.left > 0 || m.text.Len()+len(line) > m.limit {
		m.left++
		return
	}
	m.text.WriteString(line)
}

// table writes the first rows below a title, and how many more there are; nothing where
// there are none. Columns whose name starts with # hold numbers.
func (m *mdWriter) table(title string, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	if title != "" {
		m.line("%s\n", title)
	}
	rules := make([]string, len(head))
	for i, name := range head {
		rules[i] = "---"
		if strings.HasPrefix(name, "#") {
			rules[i] = "--:"
		}
	}
	m.line("| %s |", strings.ReplaceAll(strings.Join(head, " | "), "#", ""))
	m.line("| %s |", strings.Join(rules, " | "))
	for _, row := range rows[:min(len(rows), mdRows)] {
		m.line("| %s |", strings.Join(row, " | "))
	}
	m.line("")
	if len(rows) > mdRows {
		m.line("… and %s more.\n", engine.Comma(len(rows)-mdRows))
	}
}

// details is a table that a reader opens.
func (m *mdWriter) details(summary string, head []string, rows [][]string) {
	if len(rows) > 0 {
		m.line("<details><summary>%s</summary>\n", summary)
		m.table("", head, rows)
		m.line("</details>\n")
	}
}

// mdSpecial are the characters that may mean something in one of the dialects:
// structure, links, HTML, mentions, issue numbers, math, emoji.
const mdSpecial = "\\`*_[]<>#!|~&@:$"

// mdText shows foreign text as prose: every character that could mean something
// is an entity, which no dialect takes for structure.
func mdText(text string) string {
	safe := engine.SafeText(text)
	special := mdSpecial
	if strings.Contains(strings.ToLower(safe), "www") {
		special += "." // some make a link of www.example.com
	}
	var b strings.Builder
	for _, r := range safe {
		if strings.ContainsRune(special, r) {
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// mdCode shows foreign text as code, in which no dialect looks for links or
// names. Text that could end the code or the cell of a table is shown by
// entities in an element instead.
func mdCode(text string) string {
	safe := engine.SafeText(text)
	switch {
	case strings.TrimSpace(safe) == "":
		return ""
	case strings.ContainsAny(safe, "`|") || strings.HasSuffix(safe, `\`) || safe != strings.TrimSpace(safe):
		return "<code>" + mdText(safe) + "</code>"
	}
	return "`" + safe + "`"
}
