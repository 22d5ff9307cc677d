package collectors

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
)

const (
	hintAuditLog        = "Export the log with the query of docs/audit-log.md and name the file with --audit-log."
	reasonNoRows        = "no_rows"
	reasonNoWorkspaceID = "no_workspace_id"
)

// AuditLog takes the section of that name from a file: the platform keeps its
// audit log in a table, which only a query can read.
func (set) AuditLog() Collector {
	return Collector{
		Section:   engine.SectionAuditLog,
		Doc:       "what an exported audit log tells of each token: user agents and addresses",
		Rights:    "none: the log is a file",
		OnRequest: hintAuditLog,
		Flag:      "--audit-log",
		Order:     90,
		Read: func(_ context.Context, c *Client) engine.Section {
			return c.o.AuditLog.section(c.identity().ID)
		},
	}
}

// AuditLog is a file with one row per token: what the query of
// docs/audit-log.md makes of the platform's table. It is read through once to
// check it, and again for each workspace, so that it may be large.
type AuditLog struct {
	path       string
	workspaces map[string]*logStats
}

// logStats is what a workspace's rows come to.
type logStats struct {
	Rows  int   `json:"rows"`
	First int64 `json:"first_ms"`
	Last  int64 `json:"last_ms"`
}

// logRow is a row with the workspace that it is about.
type logRow struct {
	workspace string
	engine.Activity
}

// OpenAuditLog checks every row of a file. The error is of ClassUsage and
// names the line.
func OpenAuditLog(ctx context.Context, path string) (*AuditLog, error) {
	l := &AuditLog{path: path, workspaces: map[string]*logStats{}}
	lines := map[[16]byte]int{} // of the tokens, so that none stands twice
	for row, at := range l.rows(ctx) {
		if at.err != nil {
			return nil, at.err
		}
		sum := sha256.Sum256([]byte(row.workspace + "\x00" + row.TokenID))
		key := [16]byte(sum[:16])
		if before, twice := lines[key]; twice {
			at.err = fmt.Errorf("the token stands in line %d, too", before)
			return nil, wrongLog(l.path, at, hintAuditLog)
		}
		lines[key] = at.line
		l.count(row)
	}
	return l, nil
}

func (l *AuditLog) count(row logRow) {
	stats := l.workspaces[row.workspace]
	if stats == nil {
		stats = &logStats{First: row.First, Last: row.Last}
		l.workspaces[row.workspace] = stats
	}
	stats.Rows++
	stats.First, stats.Last = min(stats.First, row.First), max(stats.Last, row.Last)
}

// section is what the log tells of a workspace. That it tells nothing may mean
// that the export left the workspace out, so that nothing is known.
func (l *AuditLog) section(workspace string) engine.Section {
	stats := l.workspaces[workspace]
	switch {
	case workspace == "":
		return engine.Section{Coverage: noWorkspaceID()}
	case stats == nil:
		return engine.Section{Coverage: engine.Coverage{Status: engine.Failed, Reason: reasonNoRows,
			Detail: "the audit log has no row of workspace " + engine.SafeText(workspace), Hint: hintAuditLog}}
	}
	return engine.Section{
		Coverage: engine.Coverage{Status: engine.Complete, Count: stats.Rows},
		Document: document(stats), Activity: l.of(workspace),
	}
}

func noWorkspaceID() engine.Coverage {
	return engine.Coverage{Status: engine.Failed, Reason: reasonNoWorkspaceID,
		Detail: "the workspace's id is not known, so that its rows cannot be told", Hint: "Run it again when the workspace can be reached."}
}

func (l *AuditLog) of(workspace string) iter.Seq2[engine.Activity, error] {
	return func(yield func(engine.Activity, error) bool) {
		for row, at := range l.rows(context.Background()) {
			if at.err == nil && row.workspace != workspace {
				continue
			}
			if !yield(row.Activity, at.err) || at.err != nil {
				return
			}
		}
	}
}

// place is where a row stands, or why there are no more rows.
type place struct {
	line int
	err  error
}

// rows reads the file from its beginning.
func (l *AuditLog) rows(ctx context.Context) iter.Seq2[logRow, place] {
	return func(yield func(logRow, place) bool) {
		for record, at := range logRecords(ctx, l.path) {
			var row logRow
			if at.err == nil {
				row, at.err = readLogRow(record)
			}
			if at.err != nil {
				yield(logRow{}, place{at.line, wrongLog(l.path, at, hintAuditLog)})
				return
			}
			if !yield(row, at) {
				return
			}
		}
	}
}

// logRecords reads an export of an audit log: CSV with a header, or a JSON object
// a line. What it yields with an error is the last.
func logRecords(ctx context.Context, path string) iter.Seq2[map[string]string, place] {
	return func(yield func(map[string]string, place) bool) {
		file, err := os.Open(path)
		if err != nil {
			yield(nil, place{err: err})
			return
		}
		defer file.Close()
		reader, isCSV, err := sniff(ctx, path, file)
		if err != nil {
			yield(nil, place{err: err})
			return
		}
		records := jsonRecords(reader)
		if isCSV {
			records = csvRecords(reader)
		}
		for record, at := range records {
			if !yield(record, at) || at.err != nil {
				return
			}
		}
	}
}

// wrongLog is the error about a place in an export.
func wrongLog(path string, at place, hint string) error {
	target := path
	if at.line > 0 {
		target += ":" + strconv.Itoa(at.line)
	}
	return &engine.Error{Class: engine.ClassUsage, Reason: "audit_log", Op: "read audit log", Target: target, Hint: hint, Err: at.err}
}

// logColumns are the columns that the file must have.
func logColumns() []string {
	return []string{"workspace_id", "token_id", "events", "first_event", "last_event", "max_ips_per_day", "user_agents"}
}

// longestLine bounds a line of JSON.
const longestLine = 1 << 20

// jsonRecords reads JSON lines; empty ones do not count.
func jsonRecords(from io.Reader) iter.Seq2[map[string]string, place] {
	return func(yield func(map[string]string, place) bool) {
		lines := bufio.NewScanner(from)
		lines.Buffer(nil, longestLine)
		number := 1
		for ; lines.Scan(); number++ {
			line := bytes.TrimSpace(lines.Bytes())
			if len(line) == 0 {
				continue
			}
			record, err := jsonRecord(line)
			if !yield(record, place{number, err}) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, place{number, err})
		}
	}
}

func jsonRecord(line []byte) (map[string]string, error) {
	if !json.Valid(line) {
		return nil, errors.New("want a JSON object a line")
	}
	o, ok := parseObject(line)
	if !ok || len(o.twice) > 0 {
		return nil, errors.New("want a JSON object a line, with each key once")
	}
	record := make(map[string]string, len(o.members))
	for key, raw := range o.members {
		switch {
		case absent(raw):
			record[key] = ""
		case raw[0] == '"':
			record[key] = unquote(raw)
		default:
			record[key] = string(raw)
		}
	}
	return record, nil
}

// csvRecords reads CSV with a header. Further columns are left alone.
func csvRecords(from io.Reader) iter.Seq2[map[string]string, place] {
	return func(yield func(map[string]string, place) bool) {
		head, rest, err := firstLine(from)
		if err != nil {
			yield(nil, place{1, err})
			return
		}
		r := csv.NewReader(io.MultiReader(bytes.NewReader(head), rest))
		r.Comma, r.ReuseRecord = separator(head), true
		header, err := r.Read()
		header = slices.Clone(header)
		if twice := eachColumnOnce(header); err == nil && twice != nil {
			yield(nil, place{1, twice})
			return
		}
		for {
			var cells []string
			if err == nil {
				cells, err = r.Read()
			}
			if errors.Is(err, io.EOF) {
				return
			}
			record, line := make(map[string]string, len(header)), 0
			if err == nil { // a row of another length comes with its error
				for i, cell := range cells {
					record[strings.TrimSpace(header[i])] = cell
				}
				line, _ = r.FieldPos(0)
			}
			if !yield(record, place{line, err}) || err != nil {
				return
			}
		}
	}
}

// eachColumnOnce: of two columns of one name nobody knows which one counts.
func eachColumnOnce(header []string) error {
	for i, name := range header {
		name = strings.TrimSpace(name)
		for _, before := range header[:i] {
			if name != "" && strings.TrimSpace(before) == name {
				return fmt.Errorf("column %q stands in the header twice", name)
			}
		}
	}
	return nil
}

func readLogRow(record map[string]string) (row logRow, err error) {
	for _, column := range logColumns() {
		value, given := record[column]
		if !given || strings.TrimSpace(value) == "" && column != "user_agents" {
			return row, fmt.Errorf("%s is missing", column)
		}
	}
	row.workspace, row.TokenID = strings.TrimSpace(record["workspace_id"]), strings.TrimSpace(record["token_id"])
	var errs [5]error
	row.Events, errs[0] = logCount(record, "events")
	row.MaxIPsPerDay, errs[1] = logCount(record, "max_ips_per_day")
	row.First, errs[2] = logTime(record, "first_event")
	row.Last, errs[3] = logTime(record, "last_event")
	row.UserAgents, errs[4] = logAgents(record["user_agents"])
	if err := errors.Join(errs[:]...); err != nil {
		return row, err
	}
	if row.Last < row.First {
		return row, errors.New("last_event is before first_event")
	}
	return row, nil
}

func logCount(record map[string]string, column string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(record[column]), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: want a count, got %q", column, record[column])
	}
	return n, nil
}

func logTime(record map[string]string, column string) (int64, error) {
	text := strings.TrimSpace(record[column])
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("%s: want a time such as 2026-11-24T12:00:00Z, got %q", column, text)
}

// logAgents reads a list of texts, written as JSON.
func logAgents(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var agents []string
	if err := json.Unmarshal([]byte(text), &agents); err != nil {
		return nil, fmt.Errorf("user_agents: want a list such as [\"a\", \"b\"], got %q", cut([]byte(text)))
	}
	slices.Sort(agents)
	return slices.Compact(agents), nil
}
