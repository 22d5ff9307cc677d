package reports

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"patrol/engine"

	"github.com/mattn/go-runewidth"
)

// TableOptions says how a table looks on a terminal. The zero value is plain
// text of 80 columns.
type TableOptions struct {
	Width int  // columns of the terminal; 0: 80
	Whole bool // cut nothing: what is written to a file or a pipe is for programs and searches, too
	Color bool // ANSI colours; without them the output has no control character but the line feed
	// Limit is how many findings to show of each policy (0: 5; negative: none),
	// or how many tokens (0: all).
	Limit int
	All   bool // every exception, not only the first few
	// Framework, or framework:control, to show where the audit stands on it.
	Framework string
	Files     []string // reports that were written, to name at the end
}

const (
	defaultWidth    = 80
	narrowest       = 40
	boundless       = 1 << 16 // more than any line of a list has
	proseWidth      = 120     // of what is wrapped there
	defaultFindings = 5
)

func (o TableOptions) width() int {
	if o.Whole {
		return boundless
	}
	if o.Width <= 0 {
		return defaultWidth
	}
	return max(o.Width, narrowest)
}

func (o TableOptions) findings() int {
	if o.Limit == 0 {
		return defaultFindings
	}
	return max(o.Limit, 0)
}

func (o TableOptions) exceptions() int {
	if o.All {
		return math.MaxInt
	}
	return o.findings()
}

// screen writes lines of at most a width. Its text is foreign until it has
// passed fit.
type screen struct {
	out   *bufio.Writer
	width int
	color bool
}

func newScreen(w io.Writer, o TableOptions) *screen {
	return &screen{out: bufio.NewWriter(w), width: o.width(), color: o.Color}
}

// line writes foreign text on one line, cut to the width.
func (s *screen) line(text string) { s.styled("", text) }

func (s *screen) blank() { fmt.Fprintln(s.out) }

// styled writes a line in a style, when there are colours.
func (s *screen) styled(style ansi, text string) {
	fmt.Fprintln(s.out, s.paint(style, strings.TrimRight(fit(notCommand(text), s.width), " ")))
}

// notCommand breaks the beginning of what GitHub's runner takes for a command.
func notCommand(text string) string {
	start := strings.TrimLeft(text, " ")
	if !strings.HasPrefix(start, "::") {
		return text
	}
	return text[:len(text)-len(start)] + `\u{3a}` + start[1:]
}

// wrap writes foreign text on as many lines as it needs, each after indent.
func (s *screen) wrap(indent, text string) {
	width := s.width
	if width == boundless {
		width = proseWidth
	}
	s.fold(indent, indent, text, width)
}

// hang writes foreign text after head, and what does not fit on the line below
// after indent. Where lines have no end it is one line.
func (s *screen) hang(head, indent, text string) { s.fold(head, indent, text, s.width) }

func (s *screen) fold(head, indent, text string, width int) {
	line := ""
	for _, word := range strings.Fields(engine.SafeText(text)) {
		if line != "" && cells(head+line+" "+word) > width {
			s.line(head + line)
			head, line = indent, ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	if line != "" || head != indent {
		s.line(head + line)
	}
}

func (s *screen) flush() error { return s.out.Flush() }

// ansi is the number of a terminal's style.
type ansi string

const (
	bold   ansi = "1"
	red    ansi = "1;31"
	yellow ansi = "33"
	green  ansi = "32"
	cyan   ansi = "36"
)

func (s *screen) paint(style ansi, text string) string {
	if !s.color || style == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

func severityStyle(level engine.Severity) ansi {
	switch level {
	case engine.Critical, engine.High:
		return red
	case engine.Medium:
		return yellow
	}
	return cyan
}

// metric measures text without asking the environment, so that the same report
// looks the same everywhere.
func metric() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

// cells is the width of text on a terminal.
func cells(text string) int { return metric().StringWidth(text) }

// fit makes foreign text harmless and cuts it to a width.
func fit(text string, width int) string {
	return metric().Truncate(engine.SafeText(shorten(text, width)), width, "…")
}

// shorten drops what cannot be seen anyway, before work is spent on it: marks
// have no width, so that text of any length may fit.
func shorten(text string, width int) string {
	limit := width * 8
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}

// pad fits text and fills it up to a width.
func pad(text string, width int) string { return metric().FillRight(fit(text, width), width) }

// shortID shows the beginning of a long id, which tells tokens apart.
func shortID(id string) string {
	const shown = 8
	if len(id) <= shown+4 {
		return id
	}
	return id[:shown] + "…"
}
