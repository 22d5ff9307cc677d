package reports

import (
	"context"
	"fmt"
	"io"
	"slices"
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
	groups, _, _, err := collect(ctx, r, mdExamples)
	if err != nil {
		return err
	}
	m := &mdWriter{limit: limit}
	m.verdict(r)
	m.counts(r)
	m.trend(r.Trend)
	m.failures(groups, r.Policies)
	m.policies(r, "Not judged", func(p engine.PolicyReport) int { return p.Tally[engine.Unknown] + p.Tally[engine.Errored] })
	m.unread(r)
	m.configured(r.Policies)
	m.exceptions(r.Exceptions)
	m.frameworks(r.Frameworks())
	if m.left > 0 {
		m.text.WriteString("\n> **Cut:** " + engine.Plural(m.left, "line") + " did not fit here. The other reports have everything.\n")
	}
	_, err = io.WriteString(w, m.text.String())
	return err
}

func (m *mdWriter) verdict(r engine.Report) {
	mark := map[engine.Verdict]string{engine.Clean: "✅", engine.Violations: "❌", engine.Incomplete: "⚠️"}[r.Verdict()]
	m.line("## %s Databricks tokens: %s\n", mark, r.Verdict())
	if text := WhatIf(r); text != "" {
		m.line("> **%s**\n", mdText(text))
	}
	m.line("%s in %s, judged as of %s; %s.\n", engine.Plural(r.Summary.Tokens, "token"), engine.Plural(r.Summary.Workspaces, "workspace"), table.TimeText(r.AsOf), explain(r))
	if off := offText(r); off != "" {
		m.line("%s\n", mdText(off))
	}
}

func (m *mdWriter) counts(r engine.Report) {
	head := []string{"Results", "#All"}
	for _, level := range engine.Severities() {
		head = append(head, "#"+string(level))
	}
	m.table(head...)
	for _, status := range findingsFirst() {
		cells := []string{table.Heading(string(status)), engine.Comma(r.Summary.Statuses[status])}
		for _, level := range engine.Severities() {
			cells = append(cells, engine.Comma(r.Summary.Severities[level][status]))
		}
		m.row(cells...)
	}
	m.line("")
}

func (m *mdWriter) trend(t *engine.Trend) {
	if t == nil {
		return
	}
	m.line("### What changed\n")
	m.line("%s %s\n", trendText(t), timesToFix(t))
	m.findings(t.New)
	if more := t.Count(engine.ChangeNew) + t.Count(engine.ChangeWorse) - len(t.New); more > 0 {
		m.line("… and %s more.\n", engine.Comma(more))
	}
}

func (m *mdWriter) findings(list []engine.Finding) {
	if len(list) == 0 {
		return
	}
	m.table("Severity", "Policy", "Workspace", "Token", "Owner", "Message")
	for _, f := range list {
		m.row(string(f.Severity), mdCode(f.Policy), mdCode(f.Workspace), mdCode(shortID(f.ResourceID)), mdCode(cutText(f.Owner, 80)), mdCode(cutText(f.Message, 200)))
	}
	m.line("")
}

func (m *mdWriter) failures(groups []*group, policies []engine.PolicyReport) {
	var failed []*group
	for _, g := range groups {
		if g.counts[engine.Fail] > 0 {
			failed = append(failed, g)
		}
	}
	if len(failed) == 0 {
		return
	}
	m.line("### What failed\n")
	m.table("Severity", "Policy", "#Failed", "#Workspaces", "#Waived", "#Baselined")
	var examples []engine.Finding
	for _, g := range failed[:min(len(failed), mdRows)] {
		m.row(string(g.severity), mdCode(g.policy)+" "+mdText(g.title), engine.Comma(g.counts[engine.Fail]), engine.Comma(len(g.workspaces)),
			engine.Comma(g.counts[engine.Waived]), engine.Comma(g.counts[engine.Baselined]))
		examples = append(examples, g.examples...)
	}
	m.more(len(failed))
	m.line("<details><summary>The first of each policy</summary>\n")
	m.findings(examples)
	m.line("</details>\n")
	m.todo(failed, policies)
}

// todo says what to do about each policy that failed.
func (m *mdWriter) todo(failed []*group, policies []engine.PolicyReport) {
	var rows [][]string
	for _, p := range policies {
		todo := prose(p.Policy.Remediation)
		if todo != "" && slices.ContainsFunc(failed, func(g *group) bool { return g.policy == p.Policy.ID }) {
			rows = append(rows, []string{mdCode(p.Policy.ID), mdText(todo)})
		}
	}
	if len(rows) == 0 {
		return
	}
	m.line("<details><summary>What to do</summary>\n")
	m.table("Policy", "What to do")
	for _, row := range rows[:min(len(rows), mdRows)] {
		m.row(row...)
	}
	m.more(len(rows))
	m.line("</details>\n")
}

// more ends a table and says how many rows it leaves out.
func (m *mdWriter) more(rows int) {
	m.line("")
	if rows > mdRows {
		m.line("… and %s more.\n", engine.Comma(rows-mdRows))
	}
}

func (m *mdWriter) policies(r engine.Report, title string, count func(engine.PolicyReport) int) {
	rows := 0
	for _, p := range r.Policies {
		n := count(p)
		if n == 0 {
			continue
		}
		if rows == 0 {
			m.line("### %s\n", title)
			m.table("Policy", "#Results")
		}
		if rows++; rows <= mdRows {
			m.row(mdCode(p.Policy.ID)+" "+mdText(p.Policy.Title), engine.Comma(n))
		}
	}
	if rows > 0 {
		m.more(rows)
	}
}

func (m *mdWriter) unread(r engine.Report) {
	rows := 0
	for _, w := range r.Workspaces {
		for _, gap := range w.Snapshot.Gaps() {
			if rows == 0 {
				m.line("### Not read\n")
				m.table("Workspace", "Sections", "Status", "Why", "What to do")
			}
			if rows++; rows <= mdRows {
				c := gap.Coverage
				m.row(mdCode(w.Snapshot.Workspace.Name), gap.Names(), string(c.Status), mdText(cutText(orText(c.Detail, c.Reason), 300)), mdText(c.Hint))
			}
		}
	}
	if rows > 0 {
		m.more(rows)
	}
}

// configured tells what the configuration changes of policies.
func (m *mdWriter) configured(policies []engine.PolicyReport) {
	rows := 0
	for _, p := range policies {
		for _, change := range configured(p.Policy) {
			if rows++; rows == 1 {
				m.line("### Set by the configuration\n")
				m.table("Policy", "In force")
			}
			if rows <= mdRows {
				m.row(mdCode(p.Policy.ID), mdCode(change))
			}
		}
	}
	if rows > 0 {
		m.more(rows)
	}
}

// exceptions tells who excused what, and which waivers need a hand.
func (m *mdWriter) exceptions(x engine.Exceptions) {
	if len(x.Waivers) == 0 {
		return
	}
	m.line("### Waivers\n")
	m.table("Waiver", "State", "#Waived", "Until", "Approved by", "Reason")
	for _, w := range x.Waivers[:min(len(x.Waivers), mdRows)] {
		state := strings.ReplaceAll(string(w.State), "_", " ")
		if w.ExpiresSoon {
			state += ", ends soon"
		}
		m.row(mdCode(w.ID), state, engine.Comma(w.Waived), w.Expires.String(), mdCode(w.Approver), mdText(cutText(w.Reason, 200)))
	}
	m.more(len(x.Waivers))
}

func (m *mdWriter) frameworks(frameworks []engine.Framework) {
	if len(frameworks) == 0 {
		return
	}
	m.line("### Controls\n")
	m.line("<details><summary>Where the audit stands on each control</summary>\n")
	m.table("Framework", "Control", "Result", "Counts", "Policies")
	for _, f := range frameworks {
		for _, c := range f.Controls {
			m.row(mdText(engine.FrameworkTitle(f.Name)), mdText(c.ID), "**"+controlWord(c.Status)+"**", mdText(controlCounts(c)), mdText(strings.Join(c.Policies, ", ")))
		}
	}
	m.line("\n</details>")
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

// row writes a row of a table.
func (m *mdWriter) row(cells ...string) { m.line("| %s |", strings.Join(cells, " | ")) }

// table writes a header; columns whose name starts with # hold numbers.
func (m *mdWriter) table(names ...string) {
	rules := make([]string, len(names))
	for i, name := range names {
		rules[i] = "---"
		if strings.HasPrefix(name, "#") {
			names[i], rules[i] = name[1:], "--:"
		}
	}
	m.row(names...)
	m.row(rules...)
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
