package table

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

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
	case nil, Unknown, Never:
		return ""
	case string:
		return csvText(v)
	case []string:
		return csvText(strings.Join(v, ", "))
	case Lines:
		return csvText(strings.Join(v, "; "))
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case Instant:
		return v.Text()
	}
	return csvText(fmt.Sprint(cell))
}

func csvText(text string) string {
	return strings.ReplaceAll(engine.DefuseCell(text), `"`, `""`)
}

// CSV writes a header and one row for each of rows.
func CSV[T any](ctx context.Context, w io.Writer, columns []Column[T], rows iter.Seq2[T, error]) error {
	out := NewCSVWriter(w)
	cells := make([]any, len(columns))
	for i, c := range columns {
		cells[i] = c.Name
	}
	if err := out.Write(cells...); err != nil {
		return err
	}
	err := Each(ctx, rows, func(row T) error {
		for i, c := range columns {
			cells[i] = c.Value(row)
		}
		return out.Write(cells...)
	})
	if err != nil {
		return err
	}
	return out.Flush()
}
