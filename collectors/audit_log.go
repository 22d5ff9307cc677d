package collectors

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
)

const (
	hintAuditLogFile    = "Export the log with the query of docs/usage.md and name the file with --audit-log."
	hintAuditLog        = "Ask for it with --usage warehouse:ID, or export the log with the query of docs/usage.md and name the file with --audit-log."
	reasonNoRows        = "no_rows"
	reasonNoWorkspaceID = "no_workspace_id"
)

const rightsOfUsage = "CAN USE on the SQL warehouse, SELECT on system.access.audit; none for a file"

// AuditLog is how tokens are used. The platform keeps its audit log in a table,
// which a query reads: ours, by a SQL warehouse, or that of whoever exports a file.
func (set) AuditLog() Collector {
	return Collector{
		Section:   engine.SectionAuditLog,
		Doc:       "what the audit log tells of each token: events, days, addresses, user agents, calls",
		Calls:     []string{"POST " + statementsPath, "GET " + statementsPath},
		Rights:    rightsOfUsage,
		Scopes:    []string{"sql:restricted-query"},
		OnRequest: hintAuditLog,
		Flag:      "--audit-log",
		Order:     90,
		Read: func(ctx context.Context, c *Client) engine.Section {
			if c.o.AuditLog == nil {
				return c.readUsage(ctx)
			}
			return c.o.AuditLog.section(c.identity().ID)
		},
	}
}

// AuditLog is a file with one row per token: what the query of
// docs/usage.md makes of the platform's table. It is read through once to
// check it, and again for each workspace, so that it may be large.
type AuditLog struct {
	path       string
	workspaces map[string]*logStats
}

// logStats is what a workspace's rows come to.
type logStats struct {
	engine.LogSpan

	whole bool // the log tells its span
}

// logRow is a row with the workspace that it is about.
type logRow struct {
	line      int
	workspace string
	engine.Activity
}

// OpenAuditLog checks every row of a file. The error is of ClassUsage and
// names the line.
func OpenAuditLog(ctx context.Context, path string) (*AuditLog, error) {
	l := &AuditLog{path: path, workspaces: map[string]*logStats{}}
	lines := map[[16]byte]int{} // of the tokens, so that none stands twice
	for row, err := range l.rows(ctx) {
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(row.workspace + "\x00" + row.TokenID))
		key := [16]byte(sum[:16])
		if before, twice := lines[key]; twice {
			return nil, wrongLog(l.path, row.line, hintAuditLogFile, fmt.Errorf("the token stands in line %d, too", before))
		}
		lines[key] = row.line
		l.count(row)
	}
	return l, nil
}

// wholeLog stands in place of a token's id in the row about all events of a workspace.
const wholeLog = "*"

func (l *AuditLog) count(row logRow) {
	stats := l.workspaces[row.workspace]
	if stats == nil {
		stats = &logStats{LogSpan: engine.LogSpan{First: row.First, Last: row.Last}}
		l.workspaces[row.workspace] = stats
	}
	if row.TokenID == wholeLog {
		stats.First, stats.Last, stats.whole = row.First, row.Last, true
		return
	}
	stats.Rows++
	if !stats.whole {
		stats.First, stats.Last = min(stats.First, row.First), max(stats.Last, row.Last)
	}
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
			Detail: "the audit log has no row of workspace " + engine.SafeText(workspace), Hint: hintAuditLogFile}}
	}
	return engine.Section{
		Coverage: engine.Coverage{Status: engine.Complete, Count: stats.Rows},
		Document: document(stats.LogSpan), Activity: l.of(workspace),
	}
}

func noWorkspaceID() engine.Coverage {
	return engine.Coverage{Status: engine.Failed, Reason: reasonNoWorkspaceID,
		Detail: "the workspace's id is not known, so that its rows cannot be told", Hint: "Run it again when the workspace can be reached."}
}

func (l *AuditLog) of(workspace string) iter.Seq2[engine.Activity, error] {
	return func(yield func(engine.Activity, error) bool) {
		for row, err := range l.rows(context.Background()) {
			if err == nil && (row.workspace != workspace || row.TokenID == wholeLog) {
				continue
			}
			if !yield(row.Activity, err) || err != nil {
				return
			}
		}
	}
}

// rows reads the file from its beginning.
func (l *AuditLog) rows(ctx context.Context) iter.Seq2[logRow, error] {
	return func(yield func(logRow, error) bool) {
		for record, err := range logRecords(ctx, l.path, usageTokens().Columns) {
			var row logRow
			if err == nil {
				row, err = readLogRow(record)
			}
			if err != nil {
				yield(logRow{}, wrongLog(l.path, record.line, hintAuditLogFile, err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// logRecords reads an export of an audit log: CSV with a header, or a JSON object
// a line. What it yields with an error is the last.
func logRecords(ctx context.Context, path string, columns []columnOf) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		file, err := openTable(ctx, path, nil)
		if err != nil {
			yield(record{}, err)
			return
		}
		defer discard(file)
		for row, err := range file.records(columns) {
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// wrongLog is the error about a line of an export; 0: about the file.
func wrongLog(path string, line int, hint string, err error) error {
	if line > 0 {
		path += ":" + strconv.Itoa(line)
	}
	return &engine.Error{Class: engine.ClassUsage, Reason: "audit_log", Op: "read audit log", Target: path, Hint: hint, Err: err}
}

// logColumns are the columns that the file must have, detailColumns those that
// older exports lack.
var (
	logColumns    = namedColumns("workspace_id", "token_id", "events", "first_event", "last_event", "max_ips_per_day", "user_agents")
	detailColumns = namedColumns("days_used", "succeeded", "refused", "addresses", "top_address", "distinct_calls", "calls")
)

// namedColumns are columns that have one heading each. Their rows say what is missing.
func namedColumns(names ...string) []columnOf {
	var columns []columnOf
	for _, name := range names {
		columns = append(columns, columnOf{field: name, headings: []string{letters(name)}})
	}
	return columns
}

func readLogRow(record record) (row logRow, err error) {
	for _, column := range logColumns {
		if _, given := record.fields[column.field]; !given || record.text(column.field) == "" && column.field != "user_agents" {
			return row, fmt.Errorf("%s is missing", column.field)
		}
	}
	row.line, row.workspace, row.TokenID = record.line, record.text("workspace_id"), record.text("token_id")
	var errs [6]error
	row.Events, errs[0] = logCount(record, "events")
	row.MaxIPsPerDay, errs[1] = logCount(record, "max_ips_per_day")
	row.First, errs[2] = logTime(record, "first_event")
	row.Last, errs[3] = logTime(record, "last_event")
	row.UserAgents, errs[4] = logAgents(record.fields["user_agents"])
	row.Detail, errs[5] = logDetail(record)
	if err := errors.Join(errs[:]...); err != nil {
		return row, err
	}
	if row.Last < row.First {
		return row, errors.New("last_event is before first_event")
	}
	return row, nil
}

func logCount(record record, column string) (int64, error) {
	n, err := strconv.ParseInt(record.text(column), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: want a count, got %q", column, record.fields[column])
	}
	return n, nil
}

func logTime(record record, column string) (int64, error) {
	text := record.text(column)
	if ms, ok := importTime(text); ok && ms > 0 {
		return ms, nil
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

// logDetail reads the columns that older exports lack; nil when this one does.
func logDetail(record record) (*engine.ActivityDetail, error) {
	given := 0
	for _, column := range detailColumns {
		if _, has := record.fields[column.field]; has {
			given++
		}
	}
	switch given {
	case 0:
		return nil, nil
	case len(detailColumns):
	default:
		return nil, errors.New("days_used, succeeded, refused, addresses, top_address, distinct_calls and calls: want all of these columns, or none")
	}
	d := &engine.ActivityDetail{TopAddress: bounded(record.text("top_address"))}
	var errs [6]error
	d.Days, errs[0] = logCount(record, "days_used")
	d.Succeeded, errs[1] = logCount(record, "succeeded")
	d.Refused, errs[2] = logCount(record, "refused")
	d.Addresses, errs[3] = logCount(record, "addresses")
	distinct, err := logCount(record, "distinct_calls")
	errs[4] = err
	if json.Unmarshal([]byte(record.text("calls")), &d.Calls) != nil {
		errs[5] = fmt.Errorf("calls: want a list such as [{\"service\": \"jobs\", \"action\": \"runNow\", \"events\": 3}], got %q", cut([]byte(record.text("calls"))))
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	for i := range d.Calls {
		c := &d.Calls[i]
		if c.Service, c.Action = bounded(c.Service), bounded(c.Action); c.Service == "" || c.Action == "" || c.Events < 1 || c.Refused < 0 || c.Refused > c.Events {
			return nil, fmt.Errorf("calls: %q makes no sense", cut([]byte(record.text("calls"))))
		}
	}
	slices.SortFunc(d.Calls, func(a, b engine.Call) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Action, b.Action))
	})
	if d.MoreCalls = distinct - int64(len(d.Calls)); d.MoreCalls < 0 {
		return nil, errors.New("distinct_calls: there are fewer than calls has")
	}
	return d, nil
}
