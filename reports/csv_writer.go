package reports

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"patrol/engine"
)

// CSVWriter writes every CSV of patrol: RFC 4180 with CRLF, every cell quoted,
// in UTF-8 without a byte order mark. A mark would show accents in Excel at a
// double click, but most parsers take it for a part of the first header; who
// works in Excel has the workbook.
//
// A spreadsheet runs a cell that starts with one of = + - @ as a formula, and
// comments are anybody's text. Such a cell gets an apostrophe in front, also
// where it would only start a cell if the file were opened with another
// delimiter. Numbers that patrol computed are left as they are.
type CSVWriter struct {
	out *bufio.Writer
	row []byte
}

// NewCSVWriter makes a writer; its caller calls Flush at the end.
func NewCSVWriter(w io.Writer) *CSVWriter { return &CSVWriter{out: bufio.NewWriterSize(w, 64<<10)} }

// Write writes one row. Strings, and all types that it does not know, are
// foreign text; nil is an empty cell.
func (c *CSVWriter) Write(cells ...any) error {
	c.row = c.row[:0]
	for i, cell := range cells {
		if i > 0 {
			c.row = append(c.row, ',')
		}
		c.row = append(c.row, '"')
		c.row = append(c.row, csvCell(cell)...)
		c.row = append(c.row, '"')
	}
	_, err := c.out.Write(append(c.row, "\r\n"...))
	return err
}

// Flush writes what is buffered.
func (c *CSVWriter) Flush() error { return c.out.Flush() }

func csvCell(cell any) string {
	switch v := cell.(type) {
	case nil, unknown, never:
		return ""
	case string:
		return csvText(v)
	case []string:
		return csvText(strings.Join(v, ", "))
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case instant:
		return v.text()
	}
	return csvText(fmt.Sprint(cell))
}

func csvText(text string) string {
	return strings.ReplaceAll(defuseInside(defuse(text)), `"`, `""`)
}

// defuse makes foreign text harmless for spreadsheets: what would act becomes
// visible, and what would start a formula gets an apostrophe in front.
func defuse(text string) string {
	safe := engine.SafeText(text)
	if startsFormula(text) || startsFormula(safe) {
		return "'" + safe
	}
	return safe
}

// defuseInside does the same where a reader with another delimiter would start
// a cell.
func defuseInside(text string) string {
	if !strings.ContainsAny(text, otherDelimiters) {
		return text
	}
	var b strings.Builder
	for {
		i := strings.IndexAny(text, otherDelimiters)
		if i < 0 {
			return b.String() + text
		}
		b.WriteString(text[:i+1])
		text = text[i+1:]
		if startsFormula(strings.TrimLeft(text, "\" ")) {
			b.WriteByte('\'')
		}
	}
}

// otherDelimiters are those that foreign text may still hold: SafeText has made
// tabs visible, and the comma is ours.
const otherDelimiters = ";|"

// triggers start a formula, in plain, small, full-width and raised forms.
const triggers = "=+-@\t\r\n＝＋－＠﹦﹢﹣﹫⁼⁺⁻₌₊₋−"

// startsFormula looks at the first rune that is seen.
func startsFormula(text string) bool {
	for _, r := range text {
		if strings.ContainsRune(triggers, r) {
			return true
		}
		if !ignorable(r) {
			return false
		}
	}
	return false
}

// ignorable holds for runes that a reader might skip in front of a cell's text:
// all that is no letter, number, sign or symbol, such as spaces, controls, marks
// without a base, and characters that nobody has assigned or that are private;
// and fillers, which are called letters.
func ignorable(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) || strings.ContainsRune("\u115f\u1160\u3164\uffa0\u2800", r)
}
