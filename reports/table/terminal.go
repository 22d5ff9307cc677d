package table

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"patrol/engine"

	"github.com/mattn/go-runewidth"
)

// sample is how many rows decide the widths of the columns: the rest streams.
const sample = 200

const gap = 2 // between columns

// Terminal writes the columns that have a rank for a reader at a terminal, in
// the width that there is, or whole for a file.
func Terminal[T any](ctx context.Context, w io.Writer, columns []Column[T], rows iter.Seq2[T, error], o Options) error {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c Column[T]) bool { return c.rank == 0 })
	slices.SortStableFunc(columns, func(a, b Column[T]) int { return a.end - b.end })
	head := make([]string, len(columns))
	fits := make([]Fit, len(columns))
	for i, c := range columns {
		head[i], fits[i] = c.header(), Fit{c.rank, c.least}
	}
	s := NewScreen(w, o)
	var waiting [][]string
	var lay *layout
	begin := func() {
		if lay != nil || len(waiting) == 0 {
			return
		}
		lay = s.layout("", fits, append([][]string{head}, waiting...))
		s.Styled(Bold, lay.row(head))
		for _, row := range waiting {
			s.Line(lay.row(row))
		}
	}
	count := 0
	err := Each(ctx, rows, func(row T) error {
		count++
		if o.Limit > 0 && count > o.Limit {
			return nil
		}
		cells := make([]string, len(columns))
		for i, c := range columns {
			if c.text != nil {
				cells[i] = c.text(row)
				continue
			}
			cells[i] = Print(c.Value(row))
		}
		if lay != nil {
			s.Line(lay.row(cells))
			return nil
		}
		if waiting = append(waiting, cells); len(waiting) == sample {
			begin()
		}
		return nil
	})
	if err != nil {
		return err
	}
	begin()
	if o.Limit > 0 {
		s.More("", count-o.Limit, "")
	}
	if o.Noun != "" {
		s.Line(engine.Plural(count, o.Noun) + ".")
	}
	return s.Flush()
}

// Print is a value as a terminal shows it.
func Print(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case Unknown:
		return "unknown"
	case Never:
		return "never"
	case Instant:
		return v.Text()
	case []string:
		return strings.Join(v, ", ")
	case Lines:
		return strings.Join(v, ", ")
	case int:
		return engine.Comma(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	}
	return fmt.Sprint(value)
}

// Fit says how a column gives way where there is not room for all.
type Fit struct {
	Rank  int // the column with the highest is dropped first
	Least int // it may be shortened to so many characters; 0: not at all
}

// Rows writes rows of cells in columns, each line after indent and in a style.
func (s *Screen) Rows(indent string, fits []Fit, rows [][]string, style func(row int) Style) {
	lay := s.layout(indent, fits, rows)
	for i, row := range rows {
		if style == nil {
			s.Line(indent + lay.row(row))
		} else {
			s.Styled(style(i), indent+lay.row(row))
		}
	}
}

// Told writes rows whose last cell is prose, which goes on below itself where
// the screen ends.
func (s *Screen) Told(rows [][]string, widths ...int) {
	fits := make([]Fit, len(widths))
	heads := make([][]string, len(rows))
	for i, row := range rows {
		heads[i] = append(slices.Clone(row[:len(row)-1]), "")
	}
	lay := s.layout("", append(fits, Fit{}), heads)
	lay.widths[len(widths)] = 0
	for i := range widths {
		lay.widths[i] = min(lay.widths[i], widths[i])
	}
	for i, row := range rows {
		head := lay.row(heads[i])
		s.Hang(head, strings.Repeat(" ", Cells(head)), row[len(row)-1])
	}
}

// layout is how wide columns are; -1 is one that is not shown.
type layout struct {
	widths []int
	whole  bool // a cell that is wider than those measured moves the rest of its line and is not cut
}

// layout measures rows and makes them fit. Columns without text are left out.
// Where the rest is too wide, columns that may be shortened share what the
// others leave in proportion to their least widths, so that only the longest
// lose; where that does not do, the least telling column goes.
func (s *Screen) layout(indent string, fits []Fit, rows [][]string) *layout {
	l := &layout{widths: make([]int, len(fits)), whole: s.Width == boundless}
	for _, row := range rows {
		for i, cell := range row {
			l.widths[i] = max(l.widths[i], Cells(fit(cell, s.Width)))
		}
	}
	var shown []int // columns
	for i, width := range l.widths {
		if width > 0 {
			shown = append(shown, i)
		} else {
			l.widths[i] = -1
		}
	}
	room := s.Width - Cells(indent)
	for {
		total, least, last := -gap, -gap, -1 // widths of the row as it is, and as short as it can be
		longest := -1                        // beyond its least width
		for _, i := range shown {
			width := l.widths[i]
			total += gap + width
			least += gap + width
			if last < 0 || fits[i].Rank >= fits[last].Rank {
				last = i
			}
			if fits[i].Least == 0 || width <= fits[i].Least {
				continue
			}
			least -= width - fits[i].Least
			if longest < 0 || width*fits[longest].Least > l.widths[longest]*fits[i].Least {
				longest = i
			}
		}
		switch {
		case total <= room:
			return l
		case least > room && len(shown) > 1:
			l.widths[last] = -1
			shown = slices.DeleteFunc(shown, func(i int) bool { return i == last })
		case longest >= 0:
			l.widths[longest]--
		default:
			return l
		}
	}
}

// row is one line of cells, not yet cut to the screen: the last cell gets what
// the others leave.
func (l *layout) row(row []string) string {
	var b strings.Builder
	last := len(row) - 1
	for last > 0 && l.widths[last] < 0 {
		last--
	}
	for i, cell := range row[:last+1] {
		width := l.widths[i]
		switch {
		case width < 0:
		case i == last:
			b.WriteString(cell)
		default:
			if l.whole {
				width = max(width, Cells(fit(cell, boundless)))
			}
			b.WriteString(pad(cell, width) + strings.Repeat(" ", gap))
		}
	}
	return b.String()
}

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
	if start := strings.TrimLeft(text, " "); strings.HasPrefix(start, "::") { // GitHub's runner would take it for a command
		text = text[:len(text)-len(start)] + `\u{3a}` + start[1:]
	}
	text = strings.TrimRight(fit(text, s.Width), " ")
	if s.color && style != "" {
		text = "\x1b[" + string(style) + "m" + text + "\x1b[0m"
	}
	fmt.Fprintln(s.out, text)
}

// Wrap writes foreign text on as many lines as it needs, each after indent.
func (s *Screen) Wrap(indent, text string) { s.WrapStyled("", indent, text) }

// WrapStyled is Wrap in a style, when there are colours.
func (s *Screen) WrapStyled(style Style, indent, text string) {
	width := s.Width
	if width == boundless {
		width = proseWidth
	}
	s.fold(style, indent, indent, text, width)
}

// Hang writes foreign text after head, and what does not fit on the line below
// after indent. Where lines have no end it is one line.
func (s *Screen) Hang(head, indent, text string) { s.fold("", head, indent, text, s.Width) }

func (s *Screen) fold(style Style, head, indent, text string, width int) {
	line := ""
	for _, word := range strings.Fields(engine.SafeText(text)) {
		if line != "" && Cells(head+line+" "+word) > width {
			s.Styled(style, head+line)
			head, line = indent, ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	if line != "" || head != indent {
		s.Styled(style, head+line)
	}
}

// More says how many more there are than the lines above show, if any.
func (s *Screen) More(indent string, more int, hint string) {
	if more > 0 {
		s.Line(indent + "… and " + engine.Comma(more) + " more" + hint)
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

// metric measures text without asking the environment, so that the same report
// looks the same everywhere.
func metric() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

// Cells is the width of text on a terminal.
func Cells(text string) int { return metric().StringWidth(text) }

// fit makes foreign text harmless and cuts it to a width. What cannot be seen anyway is
// dropped before work is spent on it: marks have no width, so that text of any length may
// fit.
func fit(text string, width int) string {
	if limit := width * 8; len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit] + "…"
	}
	return metric().Truncate(engine.SafeText(text), width, "…")
}

// pad fits text and fills it up to a width.
func pad(text string, width int) string { return metric().FillRight(fit(text, width), width) }
