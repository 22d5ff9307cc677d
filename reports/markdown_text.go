package reports

import (
	"fmt"
	"strings"

	"patrol/engine"
)

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
