package reports

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
	"patrol/reports/table"
)

// HTML is the audit as one page for people: it loads nothing and sends nothing.
func (catalogue) HTML() Format {
	return Format{
		Name:  "html",
		File:  "audit.html",
		Doc:   "the audit as one self-contained page: charts, filters, policies",
		Write: writeHTML,
	}
}

// writeHTML writes the frame with all that is small, then findings and tokens as
// blocks of JSON for its script.
func writeHTML(ctx context.Context, w io.Writer, r engine.Report) error {
	r = r.Redacted() // whoever calls may have done so; a page is passed around too easily to rely on it
	parts, err := newAssets()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if err := parts.writeFrame(out, newPage(r)); err != nil {
		return err
	}
	if err := writeBlocks(ctx, out, "findings", inertColumns(r.AsOf), r.Findings); err != nil {
		return err
	}
	if err := writeBlocks(ctx, out, "tokens", tokenColumns(), r.Tokens); err != nil {
		return err
	}
	if _, err := out.WriteString(tail); err != nil {
		return err
	}
	return out.Flush()
}

//go:embed html
var htmlFiles embed.FS

// tail ends the page.
const tail = "</body>\n</html>\n"

// assets are the parts of the page that are ours: the frame, the style and the
// script. Style and script are written as they are, beside the template, since
// their digests stand in the page's content security policy.
type assets struct {
	frame  *template.Template
	style  string
	script string
}

func newAssets() (assets, error) {
	frame, err := template.New("page").Funcs(pageFunctions()).ParseFS(htmlFiles, "html/*.tmpl")
	if err != nil {
		return assets{}, fmt.Errorf("parse page template: %w", err)
	}
	style, err := joinFiles("html/*.css")
	if err != nil {
		return assets{}, err
	}
	script, err := joinFiles("html/*.js")
	if err != nil {
		return assets{}, err
	}
	return assets{frame, style, "'use strict';\n(() => {\n" + script + "})();\n"}, nil
}

// joinFiles concatenates files in the order of their names.
func joinFiles(pattern string) (string, error) {
	names, err := fs.Glob(htmlFiles, pattern)
	if err != nil {
		return "", fmt.Errorf("list page files: %w", err)
	}
	var b strings.Builder
	for _, name := range names {
		text, err := htmlFiles.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read page file: %w", err)
		}
		b.Write(text)
	}
	return b.String(), nil
}

// contentPolicy allows exactly our style and script, and nothing else: no
// request, no form, no base, no string turned into markup. The empty icon keeps
// browsers from asking a server for one.
func (a assets) contentPolicy() string {
	return strings.Join([]string{
		"default-src 'none'",
		"style-src '" + digest(a.style) + "'",
		"script-src '" + digest(a.script) + "'",
		"img-src data:",
		"base-uri 'none'",
		"form-action 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// writeFrame writes everything but the data: the script comes before them, so that
// a reader sees the summary while they arrive.
func (a assets) writeFrame(w io.Writer, p htmlPage) error {
	p.ContentPolicy = a.contentPolicy()
	for _, part := range []struct{ template, after string }{
		{"head", "<style>" + a.style + "</style>\n"},
		{"body", "<script>" + a.script + "</script>\n"},
	} {
		var text strings.Builder
		if err := a.frame.ExecuteTemplate(&text, part.template, p); err != nil {
			return err
		}
		if _, err := io.WriteString(w, foreignLines(text.String())+part.after); err != nil {
			return err
		}
	}
	return nil
}

// foreignLines makes visible what would act in lines that hold text of anybody.
// Those of our own hold nothing of that kind.
func foreignLines(text string) string { return engine.SafeLines(text) }

// foreign is text of anybody as the blocks of data hold it: what would act is visible.
func foreign(text string) string { return engine.SafeText(text) }

// inertColumns are the columns of findings with harmless evidence. Of all other
// text the encoder of a cell takes care; evidence it sees encoded only. What would
// act is escaped there: without a backslash there is nothing to make visible.
func inertColumns(asOf time.Time) []table.Column[engine.Finding] {
	columns := findingColumns(asOf)
	i := slices.IndexFunc(columns, func(c table.Column[engine.Finding]) bool { return c.Name == "evidence" })
	columns[i].Value = func(f engine.Finding) any {
		text := evidenceText(f.Evidence)
		if encoded, ok := text.(string); ok && strings.Contains(encoded, `\`) {
			evidence, _ := inertValue(f.Evidence).(map[string]any)
			return evidenceText(evidence)
		}
		return text
	}
	return columns
}

// inertValue makes the text in a JSON value harmless.
func inertValue(value any) any {
	switch v := value.(type) {
	case string:
		return foreign(v)
	case []string:
		return table.Map(v, foreign)
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = inertValue(item)
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key, item := range v {
			object[foreign(key)] = inertValue(item)
		}
		return object
	}
	return value
}

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
		return table.Quoted(foreign(v))
	case []string:
		text, err := json.Marshal(table.Map(v, foreign)) // escapes < > and &
		return string(text), err
	}
	return table.Quoted(foreign(fmt.Sprint(value)))
}
