package table

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"patrol/engine"

	"github.com/mattn/go-runewidth"
)

// Options say how a table looks on a terminal. The zero value is plain text of
// 80 columns.
type Options struct {
	Width int  // columns of the terminal; 0: 80
	Whole bool // cut nothing: what is written to a file or a pipe is for programs and searches, too
	Color bool // ANSI colours; without them the output has no control character but the line feed

	Limit int    // how many rows to show; 0: all
	Noun  string // of a row, for the count below the table; "": no count
}

const (
	defaultWidth = 80
	narrowest    = 40
	boundless    = 1 << 16 // more than any line of a list has
	proseWidth   = 120     // of what is wrapped there
)

// Columns is how wide the screen is.
func (o Options) Columns() int {
	if o.Whole {
		return boundless
	}
	if o.Width <= 0 {
		return defaultWidth
	}
	return max(o.Width, narrowest)
}

// Screen writes lines of at most a width. Its text is foreign until it has
// passed fit.
type Screen struct {
	out   *bufio.Writer
	Width int
	color bool
}

// NewScreen makes a screen; its caller calls Flush at the end.
func NewScreen(w io.Writer, o Options) *Screen {
	return &Screen{out: bufio.NewWriter(w), Width: o.Columns(), color: o.Color}
}

// Line writes foreign text on one line, cut to the width.
func (s *Screen) Line(text string) { s.Styled("", text) }

func (s *Screen) Blank() { fmt.Fprintln(s.out) }

// Styled writes a line in a style, when there are colours.
func (s *Screen) Styled(style Style, text string) {
	fmt.Fprintln(s.out, s.paint(style, strings.TrimRight(fit(notCommand(text), s.Width), " ")))
}

// notCommand breaks the beginning of what GitHub's runner takes for a command.
func notCommand(text string) string {
	start := strings.TrimLeft(text, " ")
	if !strings.HasPrefix(start, "::") {
		return text
	}
	return text[:len(text)-len(start)] + `\u{3a}` + start[1:]
}

// Wrap writes foreign text on as many lines as it needs, each after indent.
func (s *Screen) Wrap(indent, text string) {
	width := s.Width
	if width == boundless {
		width = proseWidth
	}
	s.fold(indent, indent, text, width)
}

// Hang writes foreign text after head, and what does not fit on the line below
// after indent. Where lines have no end it is one line.
func (s *Screen) Hang(head, indent, text string) { s.fold(head, indent, text, s.Width) }

func (s *Screen) fold(head, indent, text string, width int) {
	line := ""
	for _, word := range strings.Fields(engine.SafeText(text)) {
		if line != "" && Cells(head+line+" "+word) > width {
			s.Line(head + line)
			head, line = indent, ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	if line != "" || head != indent {
		s.Line(head + line)
	}
}

// Raw writes harmless text on a line of its own, uncut: a path cut short is no use.
func (s *Screen) Raw(text string) { fmt.Fprintln(s.out, engine.SafeText(text)) }

// Flush writes what is buffered.
func (s *Screen) Flush() error { return s.out.Flush() }

// Style is the number of a terminal's style.
type Style string

const (
	Bold   Style = "1"
	Red    Style = "1;31"
	Yellow Style = "33"
	Green  Style = "32"
	Cyan   Style = "36"
)

func (s *Screen) paint(style Style, text string) string {
	if !s.color || style == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// metric measures text without asking the environment, so that the same report
// looks the same everywhere.
func metric() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

// Cells is the width of text on a terminal.
func Cells(text string) int { return metric().StringWidth(text) }

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
