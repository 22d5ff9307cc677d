package collectors

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
)

// csvColumns says which headings of a token report mean which field of the
// API. The report's headings are not documented, so that several are known;
// letter case, spaces and punctuation do not matter.
var csvColumns = []struct {
	field    string
	headings []string
	needed   bool
}{
	{"token_id", []string{"tokenid", "id", "token"}, true},
	{"owner_id", []string{"ownerid", "owneruserid"}, false},
	{ownerNameKey, []string{"owner", "ownername", "owneremail", "ownerusername", "user", "username"}, false},
	{"creation_time", []string{"creationtime", "created", "createdat", "createdon", "creationdate", "createdtime"}, true},
	{"expiry_time", []string{"expirytime", "expires", "expiresat", "expiration", "expirationtime", "expirationdate", "expireson", "expiry"}, true},
	{"last_used_day", []string{"lastusedday", "lastused", "lastusedat", "lastuseddate", "lastuse"}, false},
	{"comment", []string{"comment", "description", "name"}, false},
	{"created_by_username", []string{"createdbyusername", "createdby", "creator", "creatorname"}, false},
	{"created_by_id", []string{"createdbyid", "creatorid"}, false},
	{workspaceIDKey, []string{"workspaceid"}, false},
	{workspaceNameKey, []string{"workspacename", "workspace"}, false},
}

var csvTimes = []string{"creation_time", "expiry_time", "last_used_day"}

// importCSV turns a report into rows as the API answers them, so that one
// decoder judges both.
func importCSV(path string, from io.Reader, body *spool, w window) (*tokenList, error) {
	fail := func(err error) error {
		return importError(path, reasonBadBody, "Give a token report with columns for token id, owner, created and expires, "+
			"or the output of `databricks token-management list -o json`.", err)
	}
	rows, err := openCSV(from)
	if err != nil {
		return nil, fail(err)
	}
	if err := rows.convert(body); err != nil {
		return nil, fail(err)
	}
	list, problem := readTokenList("token list", body, w, true)
	if problem != nil {
		return nil, fail(problem.withoutReason())
	}
	return list, nil
}

type csvRows struct {
	*csv.Reader
	header []string
	at     map[string]int // field → column
}

func openCSV(from io.Reader) (*csvRows, error) {
	head, rest, err := firstLine(from)
	if err != nil {
		return nil, err
	}
	r := &csvRows{Reader: csv.NewReader(io.MultiReader(bytes.NewReader(head), rest))}
	r.Comma = separator(head)
	r.header, err = r.Read()
	if err != nil {
		return nil, err
	}
	r.at, err = findColumns(r.header)
	return r, err
}

// firstLine peeks at the header, to see what separates its columns.
func firstLine(from io.Reader) (head []byte, rest io.Reader, err error) {
	head = make([]byte, 4096)
	n, err := io.ReadFull(from, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil, err
	}
	return head[:n], from, nil
}

func separator(head []byte) rune {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	best := ','
	for _, candidate := range ";\t" {
		if bytes.Count(line, []byte(string(candidate))) > bytes.Count(line, []byte(string(best))) {
			best = candidate
		}
	}
	return best
}

func findColumns(header []string) (map[string]int, error) {
	at := map[string]int{}
	var missing []string
	for _, column := range csvColumns {
		i := slices.IndexFunc(header, func(h string) bool { return slices.Contains(column.headings, letters(h)) })
		if i >= 0 {
			at[column.field] = i
		} else if column.needed {
			missing = append(missing, column.field)
		}
	}
	_, byID := at["owner_id"]
	_, byName := at[ownerNameKey]
	if !byID && !byName {
		missing = append(missing, "owner")
	}
	if len(missing) == 0 {
		return at, nil
	}
	return nil, fmt.Errorf("no column for %s; the columns are: %s",
		strings.Join(missing, ", "), engine.SafeText(strings.Join(header, ", ")))
}

func letters(heading string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(heading))
}

func (r *csvRows) convert(to io.Writer) error {
	sep := "["
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			_, err = io.WriteString(to, strings.TrimPrefix(sep, ",")+"]")
			return err
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(to, sep+r.row(cells)); err != nil {
			return err
		}
		sep = ","
	}
}

// row is a record as a JSON object, the record as it stood included.
func (r *csvRows) row(cells []string) string {
	var members []string
	for _, column := range csvColumns {
		i, known := r.at[column.field]
		if !known || column.field == workspaceIDKey || column.field == workspaceNameKey || strings.TrimSpace(cells[i]) == "" || column.field == "last_used_day" && neverWord(cells[i]) {
			continue
		}
		members = append(members, quote(column.field)+":"+csvValue(column.field, cells[i]))
	}
	id, name := r.workspace(cells)
	members = append(members, quote(workspaceIDKey)+":"+quote(id), quote(workspaceNameKey)+":"+quote(name))
	original := make([]string, len(cells))
	for i, cell := range cells {
		original[i] = quote(cell)
	}
	members = append(members, `"report":[`+strings.Join(original, ",")+`]`)
	return "{" + strings.Join(members, ",") + "}"
}

// workspace is what a record says of its workspace: the id, the name, or both.
// A column may hold the one under the heading of the other.
func (r *csvRows) workspace(cells []string) (id, name string) {
	id, name = r.cell(cells, workspaceIDKey), r.cell(cells, workspaceNameKey)
	switch {
	case id == "" && isID(name):
		return name, ""
	case !isID(id):
		return "", firstOf(name, id)
	}
	return id, name
}

func isID(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil
}

// csvValue is a cell as the API would answer it; what cannot be read stays
// text, and becomes a defect of its row.
func csvValue(field, cell string) string {
	if slices.Contains(csvTimes, field) {
		if ms, ok := csvTime(strings.TrimSpace(cell)); ok {
			return strconv.FormatInt(ms, 10)
		}
	}
	return quote(cell)
}

func neverWord(text string) bool {
	switch letters(text) {
	case "never", "noexpiration", "none", "doesnotexpire", "neverexpires", "neverused":
		return true
	}
	return false
}

func csvTime(text string) (int64, bool) {
	if neverWord(text) {
		return engine.NeverExpires, true
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, true
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UnixMilli(), true
		}
	}
	return 0, false
}

// quote writes a JSON string and keeps bytes that are not UTF-8, as unquote does.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for rest := []byte(text); len(rest) > 0; {
		bad := invalidAt(rest)
		chunk, _ := json.Marshal(string(rest[:bad])) // text always encodes
		b.Write(chunk[1 : len(chunk)-1])
		rest = rest[bad:]
		if len(rest) > 0 {
			b.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	b.WriteByte('"')
	return b.String()
}
