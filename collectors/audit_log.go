package collectors

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
)

const (
	hintAuditLogFile    = "Export the log with the first query of `patrol help usage-queries` and name the file with --audit-log."
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
		OnRequest: "Ask for it with --usage warehouse:ID, or export the log with the first query of `patrol help usage-queries` and name the file with --audit-log.",
		Flag:      "--audit-log",
		Order:     90,
		Read:      readUsage,
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
	line, err := eachRecord(ctx, l.path, usageTokens.Columns, func(r record) error {
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
func (l *AuditLog) section(w engine.Workspace, _ engine.Section, now time.Time) engine.Section {
	workspace := w.ID
	stats := l.workspaces[workspace]
	if stats == nil {
		return failed(notInExport("the audit log", workspace, hintAuditLogFile))
	}
	if latest := max(stats.latest, stats.Last); latest > windowAt(now).now {
		return failed(implausible(reasonFutureEvents, "the audit log has events of %s, which is still to come", time.UnixMilli(latest).UTC().Format(time.RFC3339)))
	}
	enough := errors.New("enough")
	rows := func(yield func(engine.Activity, error) bool) {
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
	return engine.Section{Coverage: engine.Coverage{Status: engine.Complete, Count: stats.Rows}, Document: document(stats.LogSpan), Activity: rows}
}

// notInExport is the problem where an export has no row of a workspace.
func notInExport(export, workspace, hint string) *Problem {
	if workspace == "" {
		return problemOf(reasonNoWorkspaceID, "Run it again when the workspace can be reached.", "the workspace's id is not known, so that its rows cannot be told")
	}
	return problemOf(reasonNoRows, hint, "%s has no row of workspace %s", export, engine.SafeText(workspace))
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

// mostEvents bounds counts, so that sums of them are what they say.
const mostEvents = 1 << 53

func (c *logCells) count(column string) int64 {
	n, err := strconv.ParseInt(c.text(column), 10, 64)
	if err != nil || n < 0 || n > mostEvents {
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

// readLogRow reads a row, and refuses one whose numbers cannot be true together.
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
	switch {
	case c.err != nil:
	case row.Last < row.First:
		c.err = errors.New("last_event is before first_event")
	case row.Events == 0:
		c.err = errors.New("events: there are none between first_event and last_event")
	}
	if given == 0 || c.err != nil {
		return row, c.err
	}
	d := &engine.ActivityDetail{
		TopAddress: bounded(r.text("top_address")), Days: c.count("days_used"),
		Succeeded: c.count("succeeded"), Refused: c.count("refused"), Addresses: c.count("addresses"),
	}
	row.Detail = d
	distinct, called := c.count("distinct_calls"), int64(0)
	c.list("calls", &d.Calls, `[{"service": "jobs", "action": "runNow", "events": 3}]`)
	for i := range d.Calls {
		call := &d.Calls[i]
		call.Service, call.Action = bounded(call.Service), bounded(call.Action)
		if called <= row.Events {
			called += call.Events
		}
		if call.Service == "" || call.Action == "" || call.Events < 1 || call.Events > mostEvents || call.Refused < 0 || call.Refused > call.Events {
			c.err = errors.Join(c.err, fmt.Errorf("calls: %q makes no sense", cut([]byte(r.text("calls")))))
			break
		}
	}
	slices.SortFunc(d.Calls, func(a, b engine.Call) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Action, b.Action))
	})
	d.MoreCalls = distinct - int64(len(d.Calls))
	switch days := row.Last/engine.Day - row.First/engine.Day + 1; {
	case c.err != nil:
	case d.MoreCalls < 0:
		c.err = errors.New("distinct_calls: there are fewer than calls has")
	case row.TokenID == wholeLog:
	case d.Refused > row.Events || d.Succeeded > row.Events-d.Refused:
		c.err = fmt.Errorf("succeeded %d and refused %d are more than the events, %d", d.Succeeded, d.Refused, row.Events)
	case called > row.Events:
		c.err = fmt.Errorf("calls has %d events, more than the token, %d", called, row.Events)
	case d.Days < 1 || d.Days > row.Events || d.Days > days:
		c.err = fmt.Errorf("days_used is %d, with %d events on %d days", d.Days, row.Events, days)
	case row.MaxIPsPerDay > d.Addresses:
		c.err = fmt.Errorf("max_ips_per_day is %d, of %d addresses", row.MaxIPsPerDay, d.Addresses)
	}
	return row, c.err
}

const hintAuditChangesFile = "Export the log with the second query of `patrol help usage-queries` and name the file with --audit-changes."

// AuditChanges is who changed the workspace, as AuditLog reads it.
func (set) AuditChanges() Collector {
	return Collector{
		Section:   engine.SectionAuditChanges,
		Doc:       "who changed settings, grants and IP access lists, and who made and revoked tokens, by the audit log",
		Calls:     []string{"POST " + statementsPath, "GET " + statementsPath},
		Rights:    rightsOfUsage,
		Scopes:    []string{"sql:restricted-query"},
		OnRequest: "Ask for it with --usage warehouse:ID, or export the log with the second query of `patrol help usage-queries` and name the file with --audit-changes.",
		Flag:      "--audit-changes",
		Order:     92,
		Read: func(ctx context.Context, c *Client) engine.Section {
			reader, parameters, problem := c.usageReader(ctx)
			if problem != nil {
				return failed(problem)
			}
			changes := &AuditChanges{workspaces: map[string]*changesPart{}}
			if problem := reader.query(ctx, usageChanges, parameters, changes.add); problem != nil {
				return failed(problem)
			}
			return c.orNoEvents(changes.section(c.identity(), engine.Section{}, c.now()))
		},
	}
}

// mostChanges bounds the changes that are kept of one workspace, and the events of its tokens: the newest.
const mostChanges = 10_000

// AuditChanges is an export with one row per event: what the second query of
// docs/usage.md makes of the platform's table.
type AuditChanges struct {
	workspaces map[string]*changesPart
}

// changesPart is what an export has of a workspace.
type changesPart struct {
	first, last int64 // ms: of all rows
	events      []engine.ChangeEvent
	lines       map[string]int // of the events, by id
}

// OpenAuditChanges reads a file. The error is of ClassUsage and names the line.
func OpenAuditChanges(ctx context.Context, path string) (*AuditChanges, error) {
	c := &AuditChanges{workspaces: map[string]*changesPart{}}
	if line, err := eachRecord(ctx, path, changeColumns, c.add); err != nil {
		return nil, fileError("read audit log", "audit_log", path, line, hintAuditChangesFile, err)
	}
	return c, nil
}

var changeColumns = namedColumns("workspace_id", "event_time", "event_id", "action_name", "actor", "status_code", "request_params")

// add takes a row. One that changed nothing tells only that the log covers its time.
func (c *AuditChanges) add(record record) error {
	for _, column := range changeColumns {
		if _, given := record.fields[column.field]; !given {
			return fmt.Errorf("%s is missing", column.field)
		}
	}
	workspace, action := record.text("workspace_id"), record.text("action_name")
	if workspace == "" || action == "" {
		return errors.New("a row needs workspace_id and action_name")
	}
	cells := &logCells{record: record}
	at := cells.time("event_time")
	if cells.err != nil {
		return cells.err
	}
	p := c.workspaces[workspace]
	if p == nil {
		p = &changesPart{lines: map[string]int{}, first: at, last: at}
		c.workspaces[workspace] = p
	}
	p.first, p.last = min(p.first, at), max(p.last, at)
	if _, changes := engine.ChangedSection(action); !changes && engine.TokenAction(action) == "" {
		return nil
	}
	status := cells.count("status_code")
	params := map[string]string{} // values that are no texts are as written
	if text := record.text("request_params"); text != "" {
		members, err := jsonTexts([]byte(text))
		if err != nil {
			cells.wrong("request_params", `an object such as {"workspaceConfKeys": "enableTokensConfig"}`)
		}
		for key, value := range members {
			if value != nil {
				params[key] = *value
			}
		}
	}
	if cells.err != nil {
		return cells.err
	}
	if status < 200 || status > 299 {
		return nil // the platform refused it: it changed nothing
	}
	e := engine.ChangeEvent{
		At: at, Action: action, ID: record.text("event_id"), Actor: bounded(record.text("actor")),
		Target: bounded(cmp.Or(params["targetUserName"], params["targetUserId"])), Permission: bounded(params["aclPermissionSet"]),
		Token: bounded(params["tokenId"]), Keys: logList(params["workspaceConfKeys"]),
	}
	if e.ID == "" {
		return errors.New("event_id is missing")
	}
	if before, twice := p.lines[e.ID]; twice {
		return fmt.Errorf("the event stands in line %d, too", before)
	}
	p.lines[e.ID] = record.line
	// Keys and values are written as lists. Where their numbers differ nobody knows
	// which value is whose; the one value of one key may hold commas.
	values := params["workspaceConfValues"]
	switch list := logList(values); {
	case len(list) == len(e.Keys):
		e.Values = list
	case len(e.Keys) == 1 && strings.TrimSpace(values) != "":
		e.Values = []string{bounded(strings.TrimSpace(values))}
	}
	p.events = append(p.events, e)
	return nil
}

// section is what the log says of a workspace: its events in their order, the newest
// where there are too many. The span of changes then begins with the oldest that is
// left. That there is no row may mean that the export left the workspace out.
func (c *AuditChanges) section(w engine.Workspace, _ engine.Section, _ time.Time) engine.Section {
	part := c.workspaces[w.ID]
	if part == nil {
		return failed(notInExport("the export", w.ID, hintAuditChangesFile))
	}
	log := engine.ChangeLog{First: part.first, Last: part.last, Events: []engine.ChangeEvent{}}
	slices.SortFunc(part.events, func(a, b engine.ChangeEvent) int {
		return cmp.Or(cmp.Compare(b.At, a.At), strings.Compare(b.ID, a.ID))
	})
	tokens, changes, oldest := 0, 0, int64(0)
	for _, e := range part.events {
		if engine.TokenAction(e.Action) != "" {
			if tokens++; tokens <= mostChanges {
				log.Events = append(log.Events, e)
			}
			continue
		}
		if changes++; changes > mostChanges {
			log.First = oldest
			continue
		}
		oldest = e.At
		log.Events = append(log.Events, e)
	}
	slices.Reverse(log.Events)
	coverage := engine.Coverage{Status: engine.Complete, Count: len(log.Events)}
	if changes > mostChanges {
		coverage.Detail = "older changes that the export has and that are not kept: " + strconv.Itoa(changes-mostChanges)
	}
	return engine.Section{Coverage: coverage, Document: document(log)}
}

// logList reads a list: as JSON, in brackets, or with commas alone.
func logList(text string) (list []string) {
	if json.Unmarshal([]byte(text), &list) != nil {
		text = strings.TrimSpace(text)
		if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
			text = text[1 : len(text)-1]
		}
		if strings.TrimSpace(text) == "" {
			return nil
		}
		list = strings.Split(text, ",")
	}
	for i, text := range list {
		list[i] = bounded(strings.TrimSpace(text))
	}
	return list
}

// bounded cuts a text that is longer than any name or value that matters.
func bounded(text string) string {
	const most = 512
	if len(text) <= most {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
