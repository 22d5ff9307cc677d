package reports

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"

	"patrol/reports/table"
)

// blockRows is how many rows share a block: enough for equal values to fold,
// few enough to be held in memory.
const blockRows = 4096

// writeBlocks writes rows as blocks of JSON that the page's script reads, column
// by column. No browser runs a script element of this type, and what it holds
// cannot end it, since every < is escaped.
func writeBlocks[T any](ctx context.Context, w io.Writer, name string, columns []table.Column[T], rows iter.Seq2[T, error]) error {
	b := &block[T]{out: w, name: name, columns: columns, packed: make([]packed, len(columns))}
	if err := b.describe(); err != nil {
		return err
	}
	if err := table.Each(ctx, rows, b.add); err != nil {
		return err
	}
	return b.flush()
}

type block[T any] struct {
	out     io.Writer
	name    string
	columns []table.Column[T]
	packed  []packed
	rows    int
}

// describe writes the names of the columns and how to show them.
func (b *block[T]) describe() error {
	kinds := make([][2]string, len(b.columns))
	for i, c := range b.columns {
		kinds[i] = [2]string{c.Name, scriptKind(c.Kind)}
	}
	text, err := json.Marshal(kinds)
	if err != nil {
		return fmt.Errorf("encode columns: %w", err)
	}
	return b.element("columns", text)
}

// scriptKind is the kind as the page's script knows it.
func scriptKind(k table.Kind) string {
	switch k {
	case table.KindDate:
		return "date"
	case table.KindNumber:
		return "number"
	}
	return "text"
}

func (b *block[T]) add(row T) error {
	for i, c := range b.columns {
		value, err := scriptValue(c.Value(row))
		if err != nil {
			return fmt.Errorf("encode %s: %w", c.Name, err)
		}
		b.packed[i].add(value)
	}
	b.rows++
	if b.rows < blockRows {
		return nil
	}
	return b.flush()
}

func (b *block[T]) flush() error {
	if b.rows == 0 {
		return nil
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "{\n\"rows\":%d", b.rows)
	for i, c := range b.columns {
		fmt.Fprintf(&text, ",\n%q:", c.Name)
		b.packed[i].write(&text)
		b.packed[i] = packed{}
	}
	text.WriteString("\n}")
	b.rows = 0
	return b.element("rows", text.Bytes())
}

func (b *block[T]) element(role string, text []byte) error {
	_, err := fmt.Fprintf(b.out, "<script type=\"application/json\" data-%s=\"%s\">%s</script>\n", role, b.name, text)
	return err
}

// packed is one column of a block: its distinct values, and which of them each
// row has.
type packed struct {
	values []string
	places map[string]int
	rows   []int
}

func (p *packed) add(value string) {
	place, seen := p.places[value]
	if !seen {
		if p.places == nil {
			p.places = map[string]int{}
		}
		place = len(p.values)
		p.places[value] = place
		p.values = append(p.values, value)
	}
	p.rows = append(p.rows, place)
}

// write chooses the shortest of three forms: one value for all rows, a list of
// values with the place of each row's, or the values themselves.
func (p *packed) write(b *bytes.Buffer) {
	switch {
	case len(p.values) == 1:
		b.WriteString(`{"all":` + p.values[0] + "}")
	case len(p.values)*2 < len(p.rows):
		b.WriteString(`{"of":`)
		writeList(b, p.values, func(value string) string { return value })
		b.WriteString(`,"at":`)
		writeList(b, p.rows, strconv.Itoa)
		b.WriteByte('}')
	default:
		writeList(b, p.rows, func(place int) string { return p.values[place] })
	}
}

func writeList[T any](b *bytes.Buffer, items []T, text func(T) string) {
	for i, item := range items {
		if i == 0 {
			b.WriteByte('[')
		} else {
			b.WriteByte(',')
		}
		b.WriteString(text(item))
	}
	b.WriteByte(']')
}

// scriptValue encodes the value of a cell: null where nothing applies, an object
// for what is unknown or never comes, a number for instants.
func scriptValue(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "null", nil
	case table.Unknown:
		return `{"is":"unknown"}`, nil
	case table.Never:
		return `{"is":"never"}`, nil
	case table.Instant:
		return strconv.FormatInt(int64(v), 10), nil
	case int, int64, bool:
		return fmt.Sprint(v), nil
	case string:
		return scriptText(v)
	case []string:
		return scriptText(table.Map(v, foreign))
	}
	return scriptText(fmt.Sprint(value))
}

// scriptText encodes text; encoding/json escapes < > and & for use in a page.
func scriptText(value any) (string, error) {
	if text, ok := value.(string); ok {
		value = foreign(text)
	}
	text, err := json.Marshal(value)
	return string(text), err
}
