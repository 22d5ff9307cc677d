package reports

import (
	"context"
	"io"
	"iter"

	"patrol/engine"
)

// TokensCSV writes tokens as CSV, with the columns of the workbook's Tokens
// sheet. A cell is empty where nothing applies; where a fact could not be
// derived it is empty too, and the last column names it.
func TokensCSV(ctx context.Context, w io.Writer, rows iter.Seq2[engine.TokenRow, error]) error {
	return writeRows(ctx, w, tokenColumns(), rows)
}

// TokensJSON writes tokens as a list of objects, one a line, with the keys that
// TokensCSV has as columns. Where nothing applies or a fact could not be
// derived the value is null; unknown_facts tells them apart.
func TokensJSON(ctx context.Context, w io.Writer, rows iter.Seq2[engine.TokenRow, error]) error {
	return writeObjects(ctx, w, tokenColumns(), rows)
}

// writeObjects writes rows as a list of objects, one a line, with the names of the
// columns as keys.
func writeObjects[T any](ctx context.Context, w io.Writer, columns []column[T], rows iter.Seq2[T, error]) error {
	out := newJSONWriter(w)
	out.open("[")
	err := each(ctx, rows, func(row T) error {
		out.next("  ")
		return writeObject(out, columns, row)
	})
	if err != nil {
		return err
	}
	out.close("", "]")
	return out.end()
}

func writeObject[T any](out *jsonWriter, columns []column[T], row T) error {
	for i, c := range columns {
		start := `,"`
		if i == 0 {
			start = `{"`
		}
		out.text.WriteString(start + c.name + `":`)
		if err := out.value(jsonCell(c.value(row))); err != nil {
			return err
		}
	}
	out.text.WriteByte('}')
	return nil
}

func jsonCell(value any) any {
	switch v := value.(type) {
	case unknown, never:
		return nil
	case instant:
		return v.text()
	case []string:
		if v == nil {
			return []string{}
		}
	}
	return value
}
