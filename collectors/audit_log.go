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
	"time"

	"patrol/engine"
)

const (
	hintAuditLogFile    = "Export the log with the query of docs/usage.md and name the file with --audit-log."
	hintAuditLog        = "Ask for it with --usage warehouse:ID, or export the log with the query of docs/usage.md and name the file with --audit-log."
	reasonNoRows        = "no_rows"
	reasonNoWorkspaceID = "no_workspace_id"
	reasonFutureEvents  = "events_to_come"
)

const rightsOfUsage = "CAN USE on the SQL warehouse, SELECT on system.access.audit; none for a file"

// AuditLog is how tokens are used. The platform keeps its audit log in a table,
// which a query reads: ours, by a SQL warehouse, or that of whoever exports a file.
func (set) AuditLog() Collector {
	return Collector{
		Section:   engine.SectionAuditLog,
		Doc:       "what the audit log says of each token: events, days, addresses, user agents, calls",
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
			return c.o.AuditLog.section(c.identity().ID, c.now())
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

	whole  bool  // the log tells its span
	latest int64 // ms: of the events of tokens
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
	err := l.each(ctx, func(row logRow) error {
		sum := sha256.Sum256([]byte(row.workspace + "\x00" + row.TokenID))
		key := [16]byte(sum[:16])
		if before, twice := lines[key]; twice {
			return fmt.Errorf("the token stands in line %d, too", before)
		}
		lines[key] = row.line
		l.count(row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// each reads the file from its beginning.
func (l *AuditLog) each(ctx context.Context, take func(logRow) error) error {
	line, err := eachRecord(ctx, l.path, usageTokens().Columns, func(r record) error {
		row, err := readLogRow(r)
		if err != nil {
			return err
		}
		return take(row)
	})
	if err != nil {
		return fileError("read audit log", "audit_log", l.path, line, hintAuditLogFile, err)
	}
	return nil
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
	stats.latest = max(stats.latest, row.Last)
	if !stats.whole {
		stats.First, stats.Last = min(stats.First, row.First), max(stats.Last, row.Last)
	}
}

// section is what the log says of a workspace. That it tells nothing may mean
// that the export left the workspace out, so that nothing is known.
func (l *AuditLog) section(workspace string, now time.Time) engine.Section {
	stats := l.workspaces[workspace]
	if stats == nil {
		return engine.Section{Coverage: notInExport("the audit log", workspace, hintAuditLogFile)}
	}
	if latest := max(stats.latest, stats.Last); latest > windowAt(now).now {
		return failed(implausible(reasonFutureEvents, "the audit log has events of %s, which is still to come", time.UnixMilli(latest).UTC().Format(time.RFC3339)))
	}
	return engine.Section{
		Coverage: engine.Coverage{Status: engine.Complete, Count: stats.Rows},
		Document: document(stats.LogSpan), Activity: l.of(workspace),
	}
}

// notInExport is the coverage where an export has no row of a workspace.
func notInExport(export, workspace, hint string) engine.Coverage {
	if workspace == "" {
		return engine.Coverage{Status: engine.Failed, Reason: reasonNoWorkspaceID,
			Detail: "the workspace's id is not known, so that its rows cannot be told", Hint: "Run it again when the workspace can be reached."}
	}
	return engine.Coverage{Status: engine.Failed, Reason: reasonNoRows, Detail: export + " has no row of workspace " + engine.SafeText(workspace), Hint: hint}
}

func (l *AuditLog) of(workspace string) iter.Seq2[engine.Activity, error] {
	return func(yield func(engine.Activity, error) bool) {
		enough := errors.New("enough")
		err := l.each(context.Background(), func(row logRow) error {
			if row.workspace == workspace && row.TokenID != wholeLog && !yield(row.Activity, nil) {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			yield(engine.Activity{}, err)
		}
	}
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

// logCells reads the columns of a row of a log, and gathers what is wrong with them.
type logCells struct {
	record

	err error
}

func (c *logCells) wrong(column, want string) {
	c.err = errors.Join(c.err, fmt.Errorf("%s: want %s, got %q", column, want, cut([]byte(c.fields[column]))))
}

func (c *logCells) count(column string) int64 {
	n, err := strconv.ParseInt(c.text(column), 10, 64)
	if err != nil || n < 0 {
		c.wrong(column, "a count")
	}
	return n
}

func (c *logCells) time(column string) int64 {
	ms, ok := importTime(c.text(column))
	if !ok || ms <= 0 {
		c.wrong(column, "a time such as 2026-11-24T12:00:00Z")
	}
	return ms
}

func (c *logCells) list(column string, into any, example string) {
	if json.Unmarshal([]byte(c.text(column)), into) != nil {
		c.wrong(column, "a list such as "+example)
	}
}

// impossible tells numbers of a row that cannot be true together.
func impossible(a engine.Activity) error {
	d, called := a.Detail, int64(0)
	for _, call := range d.Calls {
		called += call.Events
	}
	switch days := a.Last/engine.Day - a.First/engine.Day + 1; {
	case d.Refused > a.Events || d.Succeeded > a.Events-d.Refused:
		return fmt.Errorf("succeeded %d and refused %d are more than the events, %d", d.Succeeded, d.Refused, a.Events)
	case called > a.Events:
		return fmt.Errorf("calls has %d events, more than the token, %d", called, a.Events)
	case d.Days < 1 || d.Days > a.Events || d.Days > days:
		return fmt.Errorf("days_used is %d, with %d events on %d days", d.Days, a.Events, days)
	case a.MaxIPsPerDay > d.Addresses:
		return fmt.Errorf("max_ips_per_day is %d, of %d addresses", a.MaxIPsPerDay, d.Addresses)
	}
	return nil
}

func readLogRow(r record) (row logRow, err error) {
	for _, column := range logColumns {
		if _, given := r.fields[column.field]; !given || r.text(column.field) == "" && column.field != "user_agents" {
			return row, fmt.Errorf("%s is missing", column.field)
		}
	}
	given := 0
	for _, column := range detailColumns {
		if _, has := r.fields[column.field]; has {
			given++
		}
	}
	if given != 0 && given != len(detailColumns) {
		return row, errors.New("days_used, succeeded, refused, addresses, top_address, distinct_calls and calls: want all of these columns, or none")
	}
	c := &logCells{record: r}
	row = logRow{line: r.line, workspace: r.text("workspace_id"), Activity: engine.Activity{
		TokenID: r.text("token_id"), Events: c.count("events"), MaxIPsPerDay: c.count("max_ips_per_day"),
		First: c.time("first_event"), Last: c.time("last_event"),
	}}
	if r.text("user_agents") != "" {
		c.list("user_agents", &row.UserAgents, `["a", "b"]`)
		slices.Sort(row.UserAgents)
		row.UserAgents = slices.Compact(row.UserAgents)
	}
	if c.err == nil {
		switch {
		case row.Last < row.First:
			c.err = errors.New("last_event is before first_event")
		case row.Events == 0:
			c.err = errors.New("events: there are none between first_event and last_event")
		}
	}
	if given == 0 || c.err != nil {
		return row, c.err
	}
	d := &engine.ActivityDetail{
		TopAddress: bounded(r.text("top_address")), Days: c.count("days_used"),
		Succeeded: c.count("succeeded"), Refused: c.count("refused"), Addresses: c.count("addresses"),
	}
	distinct := c.count("distinct_calls")
	c.list("calls", &d.Calls, `[{"service": "jobs", "action": "runNow", "events": 3}]`)
	for i := range d.Calls {
		call := &d.Calls[i]
		if call.Service, call.Action = bounded(call.Service), bounded(call.Action); call.Service == "" || call.Action == "" || call.Events < 1 || call.Refused < 0 || call.Refused > call.Events {
			c.err = errors.Join(c.err, fmt.Errorf("calls: %q makes no sense", cut([]byte(r.text("calls")))))
			break
		}
	}
	slices.SortFunc(d.Calls, func(a, b engine.Call) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Action, b.Action))
	})
	if d.MoreCalls = distinct - int64(len(d.Calls)); d.MoreCalls < 0 && c.err == nil {
		c.err = errors.New("distinct_calls: there are fewer than calls has")
	}
	row.Detail = d
	if c.err == nil && row.TokenID != wholeLog {
		c.err = impossible(row.Activity)
	}
	return row, c.err
}
