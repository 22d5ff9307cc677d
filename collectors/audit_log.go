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
	hintAuditLogFile    = "Export the log with the first query of `patrol help usage-queries` and name the file with --audit-log."
	hintAuditLog        = "Ask for it with --usage warehouse:ID, or export the log with the first query of `patrol help usage-queries` and name the file with --audit-log."
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

const hintAuditChangesFile = "Export the log with the second query of `patrol help usage-queries` and name the file with --audit-changes."

const hintAuditChanges = "Ask for it with --usage warehouse:ID, or export the log with the second query of `patrol help usage-queries` and name the file with --audit-changes."

// AuditChanges is who changed the workspace, as AuditLog reads it.
func (set) AuditChanges() Collector {
	return Collector{
		Section:   engine.SectionAuditChanges,
		Doc:       "who changed settings, grants and IP access lists, and who made and revoked tokens, by the audit log",
		Calls:     []string{"POST " + statementsPath, "GET " + statementsPath},
		Rights:    rightsOfUsage,
		Scopes:    []string{"sql:restricted-query"},
		OnRequest: hintAuditChanges,
		Flag:      "--audit-changes",
		Order:     92,
		Read: func(ctx context.Context, c *Client) engine.Section {
			if c.o.AuditChanges == nil {
				return c.readUsageChanges(ctx)
			}
			return c.o.AuditChanges.section(c.identity().ID)
		},
	}
}

// mostChanges bounds the changes that are kept of one workspace, and the events of its tokens: the newest.
const mostChanges = 10_000

// readUsageChanges reads the changes from the platform's table.
func (c *Client) readUsageChanges(ctx context.Context) engine.Section {
	reader, parameters, problem := c.usageReader(ctx)
	if problem != nil {
		return failed(problem)
	}
	changes := &AuditChanges{workspaces: map[string]*changesPart{}}
	if _, problem := reader.query(ctx, usageChanges(), parameters, changes.add); problem != nil {
		return failed(problem)
	}
	for _, part := range changes.workspaces {
		part.finish()
	}
	section := changes.section(c.identity().ID)
	if section.Coverage.Reason == reasonNoRows {
		section.Coverage = c.noEvents()
	}
	return section
}

// AuditChanges is an export with one row per event: what the second query of
// docs/usage.md makes of the platform's table.
type AuditChanges struct {
	workspaces map[string]*changesPart
}

// changesPart is what an export has of a workspace.
type changesPart struct {
	engine.ChangeLog

	oldest  int64
	dropped int
	lines   map[string]int // of the events kept, by id
}

// OpenAuditChanges reads a file. The error is of ClassUsage and names the line.
func OpenAuditChanges(ctx context.Context, path string) (*AuditChanges, error) {
	c := &AuditChanges{workspaces: map[string]*changesPart{}}
	if line, err := eachRecord(ctx, path, changeColumns, c.add); err != nil {
		return nil, fileError("read audit log", "audit_log", path, line, hintAuditChangesFile, err)
	}
	for _, part := range c.workspaces {
		part.finish()
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
		p = &changesPart{lines: map[string]int{}, oldest: at, ChangeLog: engine.ChangeLog{First: at, Last: at, Events: []engine.ChangeEvent{}}}
		c.workspaces[workspace] = p
	}
	p.oldest, p.Last = min(p.oldest, at), max(p.Last, at)
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
		Target: bounded(firstOf(params["targetUserName"], params["targetUserId"])), Permission: bounded(params["aclPermissionSet"]),
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
	p.Events = append(p.Events, e)
	return nil
}

// finish brings the events into their order and bounds them. The span of changes
// then begins with the oldest that is left.
func (p *changesPart) finish() {
	p.lines = nil
	slices.SortFunc(p.Events, func(a, b engine.ChangeEvent) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.ID, b.ID))
	})
	kept, tokens, changes := []engine.ChangeEvent{}, 0, 0
	for _, e := range slices.Backward(p.Events) {
		switch {
		case engine.TokenAction(e.Action) != "":
			if tokens++; tokens > mostChanges {
				continue
			}
		default:
			if changes++; changes > mostChanges {
				p.dropped++
				continue
			}
			if changes == mostChanges {
				p.First = e.At
			}
		}
		kept = append(kept, e)
	}
	if p.dropped == 0 {
		p.First = p.oldest
	}
	slices.Reverse(kept)
	p.Events = kept
}

// section is what the log says of a workspace. That it has no row may mean that
// the export left the workspace out.
func (c *AuditChanges) section(workspace string) engine.Section {
	part := c.workspaces[workspace]
	if part == nil {
		return engine.Section{Coverage: notInExport("the export", workspace, hintAuditChangesFile)}
	}
	coverage := engine.Coverage{Status: engine.Complete, Count: len(part.Events)}
	if part.dropped > 0 {
		coverage.Detail = "older changes that the export has and that are not kept: " + strconv.Itoa(part.dropped)
	}
	return engine.Section{Coverage: coverage, Document: document(part.ChangeLog)}
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
