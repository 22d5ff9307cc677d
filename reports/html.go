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

//go:embed html
var htmlFiles embed.FS

// writeHTML writes the frame with all that is small, then findings and tokens as
// blocks of JSON. The script comes before them, so that a reader sees the summary while
// they arrive. Style and script are written as they are, beside the template, since
// their digests stand in the page's content security policy.
func writeHTML(ctx context.Context, w io.Writer, r engine.Report) error {
	r = r.Redacted() // whoever calls may have done so; a page is passed around too easily to rely on it
	frame, err := template.New("page").Funcs(pageFunctions()).ParseFS(htmlFiles, "html/*.tmpl")
	if err != nil {
		return fmt.Errorf("parse page template: %w", err)
	}
	style, err := joinFiles("html/*.css")
	if err != nil {
		return err
	}
	script, err := joinFiles("html/*.js")
	if err != nil {
		return err
	}
	script = "'use strict';\n(() => {\n" + script + "})();\n"
	page := newPage(r)
	// It allows exactly our style and script, and nothing else: no request, no form, no
	// base, no string turned into markup. The empty icon keeps browsers from asking a
	// server for one.
	page.ContentPolicy = strings.Join([]string{
		"default-src 'none'",
		"style-src '" + digest(style) + "'",
		"script-src '" + digest(script) + "'",
		"img-src data:",
		"base-uri 'none'",
		"form-action 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
	out := bufio.NewWriterSize(w, 64<<10)
	for _, part := range []struct{ template, after string }{
		{"head", "<style>" + style + "</style>\n"},
		{"body", "<script>" + script + "</script>\n"},
	} {
		var text strings.Builder
		if err := frame.ExecuteTemplate(&text, part.template, page); err != nil {
			return err
		}
		if _, err := out.WriteString(foreignLines(text.String()) + part.after); err != nil {
			return err
		}
	}
	if err := writeBlocks(ctx, out, "findings", inertColumns(r.AsOf), r.Findings); err != nil {
		return err
	}
	if err := writeBlocks(ctx, out, "tokens", tokenColumns(), r.Tokens); err != nil {
		return err
	}
	if _, err := out.WriteString("</body>\n</html>\n"); err != nil {
		return err
	}
	return out.Flush()
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

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
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

// writeBlocks writes the names of the columns and how to show them, then rows as blocks
// of JSON that the page's script reads, column by column. No browser runs a script
// element of this type, and what it holds cannot end it, since every < is escaped.
func writeBlocks[T any](ctx context.Context, w io.Writer, name string, columns []table.Column[T], rows iter.Seq2[T, error]) error {
	element := func(role string, text []byte) error {
		_, err := fmt.Fprintf(w, "<script type=\"application/json\" data-%s=\"%s\">%s</script>\n", role, name, text)
		return err
	}
	kinds := make([][2]string, len(columns))
	for i, c := range columns {
		kinds[i] = [2]string{c.Name, "text"}
		switch c.Kind {
		case table.KindDate:
			kinds[i][1] = "date"
		case table.KindNumber:
			kinds[i][1] = "number"
		}
	}
	text, err := json.Marshal(kinds)
	if err != nil {
		return fmt.Errorf("encode columns: %w", err)
	}
	if err := element("columns", text); err != nil {
		return err
	}
	block := make([]packed, len(columns))
	flush := func() error {
		count := len(block[0].rows)
		if count == 0 {
			return nil
		}
		var text bytes.Buffer
		fmt.Fprintf(&text, "{\n\"rows\":%d", count)
		for i, c := range columns {
			fmt.Fprintf(&text, ",\n%q:", c.Name)
			block[i].write(&text)
			block[i] = packed{}
		}
		text.WriteString("\n}")
		return element("rows", text.Bytes())
	}
	err = table.Each(ctx, rows, func(row T) error {
		for i, c := range columns {
			value, err := scriptValue(c.Value(row))
			if err != nil {
				return fmt.Errorf("encode %s: %w", c.Name, err)
			}
			block[i].add(value)
		}
		if len(block[0].rows) < blockRows {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
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
		places := table.Map(p.rows, strconv.Itoa)
		b.WriteString(`{"of":[` + strings.Join(p.values, ",") + `],"at":[` + strings.Join(places, ",") + `]}`)
	default:
		values := table.Map(p.rows, func(place int) string { return p.values[place] })
		b.WriteString("[" + strings.Join(values, ",") + "]")
	}
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
