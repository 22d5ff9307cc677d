package collectors

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	encoding "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"patrol/engine"
)

// columnOf is a field that a file may have, and the headings under which it may
// stand there: lower-case letters and digits only. Headings in one text are as
// good as each other; of texts the first is the best.
type columnOf struct {
	field    string
	headings []string
	needed   string // what a file must have this column or another one for; "" when it may do without
}

// find says which heading stands for which field. The best one counts; where two
// are as good, nobody knows which is meant.
func find(columns []columnOf, headings []string) (at map[string]int, err error) {
	at = map[string]int{}
	for _, column := range columns {
		var found []int
		for _, equals := range column.headings {
			for i, heading := range headings {
				if slices.Contains(strings.Fields(equals), letters(heading)) {
					found = append(found, i)
				}
			}
			if len(found) > 0 {
				break
			}
		}
		if len(found) > 1 {
			a, b := engine.SafeText(headings[found[0]]), engine.SafeText(headings[found[1]])
			if strings.TrimSpace(headings[found[0]]) == strings.TrimSpace(headings[found[1]]) {
				return nil, fmt.Errorf("column %q stands in the header twice", a)
			}
			return nil, fmt.Errorf("the columns %q and %q may both be %s: rename or remove one of them", a, b, column.field)
		}
		if len(found) == 1 {
			at[column.field] = found[0]
		}
	}
	return at, nil
}

// letters is what headings are compared by: "Token ID" is tokenid.
func letters(heading string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) { // of any script: "日 expires" is something else
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

// table is an imported file: CSV with a header or JSON, in UTF-8 or (with a byte
// order mark, as PowerShell writes it) in UTF-16.
type table struct {
	io.Closer
	from  *bufio.Reader // text in UTF-8, without a mark
	isCSV bool
}

const stdinPath = "-"

// openTable opens a file; - is standard input.
func openTable(ctx context.Context, path string, stdin io.Reader) (*table, error) {
	if path == stdinPath {
		if stdin == nil {
			return nil, errors.New("there is no standard input")
		}
		return newTable(ctx, io.NopCloser(stdin))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := newTable(ctx, file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return t, nil
}

// newTable tells CSV from JSON by the first character.
func newTable(ctx context.Context, file io.ReadCloser) (*table, error) {
	from := bufio.NewReaderSize(cancellable(ctx, file), copyBufBytes)
	head, err := from.Peek(copyBufBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xFF\xFE\x00\x00")), bytes.HasPrefix(head, []byte("\x00\x00\xFE\xFF")):
		return nil, errors.New("the file is UTF-32: save it as UTF-8")
	case bytes.HasPrefix(head, []byte("\xFF\xFE")), bytes.HasPrefix(head, []byte("\xFE\xFF")):
		from = bufio.NewReaderSize(transform.NewReader(from, encoding.UTF16(encoding.LittleEndian, encoding.ExpectBOM).NewDecoder()), copyBufBytes)
		if head, err = from.Peek(copyBufBytes); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		_, _ = from.Discard(3) // it was peeked at
		head = head[3:]
	case bytes.IndexByte(head[:min(len(head), 4)], 0) >= 0:
		return nil, errors.New("the file is neither UTF-8 nor UTF-16 with a byte order mark")
	}
	if endsLinesByReturn(head) {
		returns := from
		from = bufio.NewReaderSize(readerFunc(func(p []byte) (int, error) {
			n, err := returns.Read(p)
			copy(p, bytes.ReplaceAll(p[:n], []byte("\r"), []byte("\n")))
			return n, err
		}), copyBufBytes)
	}
	head = bytes.TrimLeft(head, jsonSpace)
	if len(head) == 0 {
		return nil, errors.New("the file is empty")
	}
	return &table{Closer: file, from: from, isCSV: head[0] != '{' && head[0] != '['}, nil
}

// endsLinesByReturn looks at the first end of a line that is in no quotes: old Macs,
// and Excel for them, write a carriage return alone.
func endsLinesByReturn(head []byte) bool {
	quoted := false
	for i, c := range head {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\r' && !quoted:
			return i+1 == len(head) || head[i+1] != '\n'
		case c == '\n' && !quoted:
			return false
		}
	}
	return false
}

// cancellable ends reading when the context ends.
func cancellable(ctx context.Context, from io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return from.Read(p)
	})
}

type readerFunc func(p []byte) (int, error)

func (read readerFunc) Read(p []byte) (int, error) { return read(p) }

// fileError is the error about a line of a file; 0: about the file.
func fileError(op, reason, path string, line int, hint string, err error) error {
	if line > 0 {
		path += ":" + strconv.Itoa(line)
	}
	return &engine.Error{Class: engine.ClassUsage, Reason: reason, Op: op, Target: path, Hint: hint, Err: err}
}

// record is a row of a file: the texts of the fields that it has. Null is empty.
type record struct {
	line   int
	fields map[string]string
	cells  []string // of CSV, as they stood
}

func (r record) text(field string) string { return strings.TrimSpace(r.fields[field]) }

// eachRecord hands over the rows of a file: of CSV, or of JSON with one object a
// line; empty lines do not count. line is where an error belongs; 0: to the file.
func eachRecord(ctx context.Context, path string, columns []columnOf, take func(record) error) (line int, err error) {
	t, err := openTable(ctx, path, nil)
	if err != nil {
		return 0, err
	}
	defer discard(t)
	if t.isCSV {
		return t.eachRow(columns, take)
	}
	const longestLine = 1 << 20
	lines := bufio.NewScanner(t.from)
	lines.Buffer(nil, longestLine)
	for line = 1; lines.Scan(); line++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		texts, err := jsonTexts(text)
		if err != nil {
			return line, err
		}
		row, err := recordOf(texts, columns)
		if err != nil {
			return line, err
		}
		row.line = line
		if err := take(row); err != nil {
			return line, err
		}
	}
	return line, lines.Err()
}

// eachRow hands over the rows of CSV. line is where an error belongs.
func (t *table) eachRow(columns []columnOf, take func(record) error) (line int, err error) {
	head, err := t.from.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		return 1, err
	}
	// What separates columns: Excel says it in a line of its own, which is skipped;
	// else it is what stands in the header most often, outside of quotes.
	r, skipped := csv.NewReader(t.from), 0
	first, _, _ := bytes.Cut(head, []byte("\n"))
	if sep, said := bytes.CutPrefix(bytes.ToLower(bytes.Trim(first, "\r\"")), []byte("sep=")); said && len(sep) == 1 {
		_, _ = t.from.Discard(min(len(first)+1, len(head))) // it was peeked at
		r.Comma, skipped = rune(sep[0]), 1
	} else {
		counts, quoted := map[rune]int{}, false
		for _, c := range string(first) {
			if c == '"' {
				quoted = !quoted
			} else if !quoted {
				counts[c]++
			}
		}
		for _, candidate := range ";\t|" {
			if counts[candidate] > counts[r.Comma] {
				r.Comma = candidate
			}
		}
	}
	lineOf := func(err error) int { // which the reader's text names as well
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return parse.Line + skipped
		}
		return 1 + skipped
	}
	header, err := r.Read()
	if err != nil {
		return lineOf(err), err
	}
	at, err := find(columns, header)
	if err != nil {
		return 1 + skipped, err
	}
	has := map[string]bool{"": true}
	for _, column := range columns {
		_, there := at[column.field]
		has[column.needed] = has[column.needed] || there
	}
	var missing []string
	for _, column := range columns {
		if !has[column.needed] && !slices.Contains(missing, column.needed) {
			missing = append(missing, column.needed)
		}
	}
	if len(missing) > 0 {
		return 1 + skipped, fmt.Errorf("no column for %s; the columns are: %s", strings.Join(missing, ", "), engine.SafeText(strings.Join(header, ", ")))
	}
	r.ReuseRecord = true // the header keeps its own
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if err != nil {
			return lineOf(err), err
		}
		line, _ := r.FieldPos(0)
		switch {
		case slices.Equal(cells, header):
			return line + skipped, errors.New("the header stands here again: give each list as a file of its own")
		case !slices.ContainsFunc(cells, func(cell string) bool { return strings.TrimSpace(cell) != "" }): // as spreadsheets leave below a list
			continue
		}
		row := record{line: line + skipped, fields: make(map[string]string, len(at)), cells: cells}
		for field, i := range at {
			row.fields[field] = cells[i]
		}
		if err := take(row); err != nil {
			return row.line, err
		}
	}
}

// recordOf finds the columns among the keys of an object. A null is empty.
func recordOf(texts map[string]*string, columns []columnOf) (row record, err error) {
	names := engine.SortedKeys(texts)
	at, err := find(columns, names)
	if err != nil {
		return row, err
	}
	row.fields = make(map[string]string, len(at))
	for field, i := range at {
		row.fields[field] = ""
		if text := texts[names[i]]; text != nil {
			row.fields[field] = *text
		}
	}
	return row, nil
}

// jsonTexts reads an object. A value that is no text is as it is written, null nil.
func jsonTexts(line []byte) (map[string]*string, error) {
	if !json.Valid(line) {
		return nil, errors.New("want a JSON object a line")
	}
	o, ok := parseObject(line)
	if !ok || len(o.twice) > 0 {
		return nil, errors.New("want a JSON object a line, with each key once")
	}
	texts := make(map[string]*string, len(o.members))
	for key, raw := range o.members {
		switch {
		case absent(raw):
			texts[key] = nil
		case raw[0] == '"':
			texts[key] = new(unquote(raw))
		default:
			texts[key] = new(string(raw))
		}
	}
	return texts, nil
}
