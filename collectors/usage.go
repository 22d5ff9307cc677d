package collectors

import (
	"bufio"
	"context"
	_ "embed" // of the queries
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
)

const reasonContradicts = "contradicts_list"

const (
	mostPage  = 20_000 // tokens that one query answers
	leastPage = 100
	hintNoRow = "Query the table in a workspace of the same region: usage: {warehouse: ID, profile: NAME}. The table has the events of its own region, and the first ones come hours after the schema was enabled."
)

// usageReader is the client that runs the queries, and their parameters.
func (c *Client) usageReader(ctx context.Context) (*Client, []parameter, *Problem) {
	id := c.identity().ID
	if id == "" {
		return nil, nil, notInExport("", "", "")
	}
	c.event(Event{Kind: EventNote, Reason: "usage", Detail: "reads the audit log by a query of SQL warehouse " + c.o.Usage.Warehouse})
	parameters := []parameter{{"days", strconv.Itoa(c.o.Usage.Days), "INT"}, {"workspace_id", id, "STRING"}}
	if c.o.Usage.Profile == "" {
		return c, parameters, nil
	}
	reader, problem := signIn(ctx, Target{Profile: c.o.Usage.Profile, ConfigFile: c.o.Usage.ConfigFile}, c.o, c.http.Transport.(readOnly).next)
	if problem != nil {
		problem.Detail = "usage.profile " + c.o.Usage.Profile + ": " + problem.Detail
		problem.fatal = false // of this workspace, all else can be read
		return nil, nil, problem
	}
	reader.section = c.section
	return reader, parameters, nil
}

// orNoEvents says of a section without rows what there was to find them in.
func (c *Client) orNoEvents(s engine.Section) engine.Section {
	if s.Coverage.Reason == reasonNoRows {
		return failed(problemOf(reasonNoRows, hintNoRow, "system.access.audit has no event of workspace %s in the last %d days",
			engine.SafeText(c.identity().ID), c.o.Usage.Days))
	}
	return s
}

// readUsage reads how tokens are used, page by page: a result is bounded in
// bytes. Rows are kept as they are to be stored.
func readUsage(ctx context.Context, c *Client) engine.Section {
	reader, parameters, problem := c.usageReader(ctx)
	if problem != nil {
		return failed(problem)
	}
	workspace := c.identity().ID
	kept := newSpool(c.o.SpoolDir, tokensLimit)
	c.session.keep(kept)
	out := bufio.NewWriter(kept)
	encoder := gob.NewEncoder(out)
	log := AuditLog{workspaces: map[string]*logStats{}}
	for after, page := "", mostPage; ; {
		last, tokens := after, 0
		began := kept.size + int64(out.Buffered())
		ofPage := append(parameters, parameter{"after", after, "STRING"}, parameter{"page", strconv.Itoa(page), "INT"})
		problem := reader.query(ctx, usageTokens, ofPage, func(r record) error {
			row, err := readLogRow(r)
			switch {
			case err != nil:
				return err
			case row.workspace != workspace:
				return fmt.Errorf("row %d is of workspace %s, which was not asked for", r.line, engine.SafeText(row.workspace))
			case row.TokenID != wholeLog && row.TokenID <= last:
				return fmt.Errorf("row %d: token %s is out of order", r.line, engine.SafeText(row.TokenID))
			}
			log.count(row)
			if row.TokenID == wholeLog {
				return nil
			}
			last = row.TokenID
			tokens++
			return encoder.Encode(row.Activity)
		})
		if problem != nil && problem.Reason == reasonTooLarge && page > leastPage && kept.size+int64(out.Buffered()) == began {
			page /= 4
			continue
		}
		if problem != nil {
			return failed(problem)
		}
		if after = last; tokens < page {
			break
		}
	}
	if err := out.Flush(); err != nil {
		return failed(problemOf(reasonSpool, hintSpool, "keep the audit log: %s", err))
	}
	section := c.orNoEvents(log.section(c.identity(), engine.Section{}, c.now()))
	if !section.Coverage.Usable() {
		return section
	}
	section.Activity = keptActivity(kept)
	if text := contradiction(log.workspaces[workspace].LogSpan, c.session.rows, section.Activity); text != "" {
		return failed(implausible(reasonContradicts, "%s", text))
	}
	return section
}

func keptActivity(kept *spool) iter.Seq2[engine.Activity, error] {
	return func(yield func(engine.Activity, error) bool) {
		decoder := gob.NewDecoder(kept.Reader())
		for {
			var a engine.Activity
			err := decoder.Decode(&a)
			if errors.Is(err, io.EOF) || !yield(a, err) || err != nil {
				return
			}
		}
	}
}

// contradiction holds the log against the list of tokens, both by token id: where
// they tell differently of many tokens, one of the two is about something else.
func contradiction(span engine.LogSpan, list []rowRef, log iter.Seq2[engine.Activity, error]) string {
	next, stop := iter.Pull2(log)
	defer stop()
	a, err, more := next()
	known := engine.Known{LogRead: true, LogFirst: span.First, LogLast: span.Last}
	used, lacks, later := 0, 0, 0
	for _, row := range list {
		id := strings.TrimRight(string(row.prefix[:]), "\x00")
		begins := func() string { return a.TokenID[:min(len(a.TokenID), len(row.prefix))] }
		for more && err == nil && begins() < id {
			a, err, more = next()
		}
		if err != nil {
			return "" // whoever reads it next reports it
		}
		var found *engine.Activity
		if more && begins() == id {
			found = &a
		}
		t := engine.Token{}
		if row.used > neverUsed {
			t.LastUsed = &row.used
		}
		if found != nil || t.LastUsed != nil && *t.LastUsed >= span.First+engine.Day {
			used++
		}
		switch {
		case known.Contradicts(&t, found):
			lacks++
		case found != nil && found.Detail != nil && found.Detail.Succeeded > 0 && row.used != useUnknown && found.Last >= row.used+3*engine.Day:
			later++
		}
	}
	if n := lacks + later; n < 3 || 10*n < used {
		return ""
	}
	return fmt.Sprintf("of %d tokens that were used, the log lacks the last use of %d, and has use of %d that the list of tokens does not know", used, lacks, later)
}

// Usage says how the audit log is read from the platform's own table.
type Usage struct {
	Warehouse string        // id of the SQL warehouse that runs the queries
	Days      int           // how far back
	Wait      time.Duration // for a warehouse that must start, and for a query
	Profile   string        // of the workspace that has the warehouse; "": each has its own

	ConfigFile string // that has the profile
}

// DefaultUsage is in force where nothing else is said.
func DefaultUsage() Usage { return Usage{Days: 30, Wait: 10 * time.Minute} }

const statementsPath = "/api/2.0/sql/statements"

// Query is a statement that patrol has a warehouse run. It reads, and nothing else.
type Query struct {
	Name    string
	SQL     string
	Columns []columnOf // of its result, in their order
}

//go:embed usage_tokens.sql
var usageTokensSQL string

//go:embed usage_changes.sql
var usageChangesSQL string

var (
	usageTokens  = Query{"usage_tokens", usageTokensSQL, slices.Concat(logColumns, detailColumns)}
	usageChanges = Query{"usage_changes", usageChangesSQL, changeColumns}
)

// Queries are all that patrol ever sends to a warehouse.
func Queries() []Query { return []Query{usageTokens, usageChanges} }

type parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Type  string `json:"type"`
}

// statement is the request's body, in the order of the documentation.
type statement struct {
	Disposition   string      `json:"disposition"`
	Format        string      `json:"format"`
	OnWaitTimeout string      `json:"on_wait_timeout"`
	Parameters    []parameter `json:"parameters"`
	Statement     string      `json:"statement"`
	WaitTimeout   string      `json:"wait_timeout"`
	WarehouseID   string      `json:"warehouse_id"`
}

// readOnly lets through what changes nothing: GET, the POST that has a warehouse
// run a query of our own, and the one that ends it when nobody waits for it any more.
type readOnly struct{ next http.RoundTripper }

func (t readOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && !runsOurQuery(r) {
		return nil, fmt.Errorf("%s %s: not sent: nothing but reading is allowed here", r.Method, r.URL.Path)
	}
	return t.next.RoundTrip(r)
}

// CloseIdleConnections is what http.Client looks for.
func (t readOnly) CloseIdleConnections() {
	(&http.Client{Transport: t.next}).CloseIdleConnections()
}

func runsOurQuery(r *http.Request) bool {
	if r.Method == http.MethodPost && (r.Body == nil || r.Body == http.NoBody) {
		id, of := strings.CutPrefix(r.URL.Path, statementsPath+"/")
		id, cancel := strings.CutSuffix(id, "/cancel")
		return of && cancel && id != "" && !strings.Contains(id, "/")
	}
	if r.Method != http.MethodPost || r.URL.Path != statementsPath || r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	if err != nil {
		return false
	}
	defer discard(body)
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	var sent statement
	if decoder.Decode(&sent) != nil || atEnd(decoder) != nil {
		return false
	}
	for _, query := range Queries() {
		if sent.Statement == query.SQL {
			return true
		}
	}
	return false
}

// The reasons of queries that brought nothing.
const (
	reasonNoWarehouse  = "no_warehouse"
	reasonStarting     = "warehouse_starting"
	reasonQueryTimeout = "query_timeout"
	reasonQueryFailed  = "query_failed"
	reasonCanceled     = "query_canceled"
	reasonNoGrant      = "no_grant"
	reasonNoSchema     = "schema_not_enabled"
	reasonTruncated    = "truncated_result"
	reasonTooLarge     = "result_too_large"
	reasonColumns      = "unexpected_columns"
)

const (
	hintWarehouse = "Name a SQL warehouse of this workspace that the caller may use (CAN USE), and sign in with the scope sql or sql:restricted-query."
	hintQuery     = "Look at the message, and at the warehouse's query history."
	hintGrant     = "Let the caller read the table: GRANT USE CATALOG ON CATALOG system, GRANT USE SCHEMA ON SCHEMA system.access and GRANT SELECT ON TABLE system.access.audit."
	hintSchema    = "Let an account admin enable the system schema `access` of the metastore; where it is enabled, the caller lacks USE CATALOG on system or USE SCHEMA on system.access."
	hintStarting  = "Start the warehouse and run it again, or wait longer: usage: {wait: 20m} in patrol.yaml."
	hintTruncated = "Run it again; if it persists, ask for fewer days."
)

// envelope is an answer without its rows.
type envelope struct {
	ID     string `json:"statement_id"`
	Status struct {
		State string `json:"state"`
		Error struct {
			Code    string `json:"error_code"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"status"`
	Manifest struct {
		Schema struct {
			Columns []struct {
				Name string `json:"name"`
			} `json:"columns"`
		} `json:"schema"`
		Chunks    int  `json:"total_chunk_count"`
		Rows      int  `json:"total_row_count"`
		Truncated bool `json:"truncated"`
	} `json:"manifest"`
}

// query has the warehouse run a query and hands out the rows of its result. They
// count only if there is no problem at the end.
func (c *Client) query(ctx context.Context, q Query, parameters []parameter, row func(record) error) *Problem {
	body, err := json.Marshal(statement{
		Disposition: "INLINE", Format: "JSON_ARRAY", OnWaitTimeout: "CONTINUE", Parameters: parameters,
		Statement: q.SQL, WaitTimeout: "30s", WarehouseID: c.o.Usage.Warehouse,
	})
	if err != nil {
		return badBody("write query %s: %v", q.Name, err)
	}
	rows := 0
	current := record{fields: make(map[string]string, len(q.Columns))} // the row that is read
	take := func(a Answer) (e envelope, problem *Problem) {
		defer discard(a)
		decoder := json.NewDecoder(a.Reader())
		members, _, err := streamRows(decoder, []string{"result.data_array"}, func(raw json.RawMessage, _ int64) error {
			cells, isList := elements(raw)
			if !isList || len(cells) != len(q.Columns) {
				return fmt.Errorf("row %d has %d columns, want %d", rows+1, len(cells), len(q.Columns))
			}
			rows++
			for i, cell := range cells {
				text, ok := asText(cell)
				if !ok {
					return fmt.Errorf("row %d: %s is no text", rows, q.Columns[i].field)
				}
				current.fields[q.Columns[i].field] = text
			}
			current.line = rows
			return row(current)
		})
		if err == nil {
			err = atEnd(decoder)
		}
		if err == nil {
			err = json.Unmarshal(document(members), &e)
		}
		if err != nil {
			return e, badBody("result of query %s: %s", q.Name, c.scrub.excerpt(err.Error()))
		}
		return e, nil
	}
	answer, problem := c.ask(ctx, statementsPath, nil, body, answerLimit)
	if problem != nil {
		return warehouseProblem(problem)
	}
	e, problem := take(answer)
	id, waited := url.PathEscape(e.ID), time.Duration(0)
	running := func() bool { return e.Status.State == "PENDING" || e.Status.State == "RUNNING" }
	defer func() {
		if id != "" && running() {
			c.cancelStatement(ctx, id)
		}
	}()
	for poll := time.Second; problem == nil && running(); poll = min(2*poll, 10*time.Second) {
		if id == "" {
			return badBody("POST %s: the answer has no statement_id", statementsPath)
		}
		if waited += poll; waited > c.o.Usage.Wait {
			if e.Status.State == "PENDING" {
				return problemOf(reasonStarting, hintStarting, "the warehouse %s has not started within %s", engine.SafeText(c.o.Usage.Warehouse), c.o.Usage.Wait)
			}
			return problemOf(reasonQueryTimeout, "Ask for fewer days, use a larger warehouse, or wait longer: usage: {wait: 20m} in patrol.yaml.",
				"query %s has not ended within %s", q.Name, c.o.Usage.Wait)
		}
		if c.o.Sleep(ctx, poll) != nil {
			return interrupted(ctx)
		}
		if answer, problem = c.Get(ctx, statementsPath+"/"+id, nil, answerLimit); problem == nil {
			e, problem = take(answer)
		}
	}
	if problem == nil {
		problem = c.ended(q, e)
	}
	type chunk struct {
		answer  Answer
		problem *Problem
	}
	coming := make(chan chunk, 1) // while the chunk before it is read
	ask := func(n int) {
		answer, problem := c.Get(ctx, statementsPath+"/"+id+"/result/chunks/"+strconv.Itoa(n), nil, answerLimit)
		coming <- chunk{answer, problem}
	}
	if problem == nil && e.Manifest.Chunks > 1 {
		go ask(1)
	}
	for n := 1; problem == nil && n < e.Manifest.Chunks; n++ {
		got := <-coming
		more := got.problem == nil && n+1 < e.Manifest.Chunks
		if more {
			go ask(n + 1)
		}
		if problem = got.problem; problem == nil {
			_, problem = take(got.answer)
		}
		if problem != nil && more {
			if unread := <-coming; unread.problem == nil {
				discard(unread.answer)
			}
		}
	}
	if problem == nil && rows != e.Manifest.Rows {
		return truncatedResult("query %s: %d rows arrived of %d", q.Name, rows, e.Manifest.Rows)
	}
	return problem
}

// cancelWait bounds the wish that a query ends: patrol itself is about to.
const cancelWait = 5 * time.Second

// cancelStatement asks the warehouse to end a query that nobody waits for any
// more, once: if it cannot be asked, the query ends by itself.
func (c *Client) cancelStatement(ctx context.Context, id string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelWait)
	defer stop()
	request, problem := c.request(ctx, http.MethodPost, c.base.JoinPath(statementsPath, id, "cancel"), nil)
	if problem != nil {
		return
	}
	response, err := c.http.Do(request)
	if err == nil {
		response.Body.Close()
	}
}

// warehouseProblem says what a refused request is about: the warehouse.
func warehouseProblem(p *Problem) *Problem {
	p.Detail = strings.Replace(p.Detail, "GET "+statementsPath, "POST "+statementsPath, 1)
	message := strings.ToLower(p.Message)
	switch {
	case p.Reason == reasonPermission:
		p.Hint = hintWarehouse
	case p.Reason == reasonNotFound, p.Reason == reasonUnexpected && (strings.Contains(message, "warehouse") || strings.Contains(message, "endpoint")):
		p.Reason, p.Hint = reasonNoWarehouse, hintWarehouse
	}
	return p
}

func truncatedResult(format string, args ...any) *Problem {
	return problem(engine.Truncated, reasonTruncated, hintTruncated, format, args...)
}

// ended is why a query that has ended brought no result.
func (c *Client) ended(q Query, e envelope) *Problem {
	state, columns := e.Status.State, e.Manifest.Schema.Columns
	if state == "SUCCEEDED" {
		if e.Manifest.Truncated {
			return truncatedResult("query %s: the platform cut the result off", q.Name)
		}
		if len(columns) != len(q.Columns) {
			return problemOf(reasonColumns, hintQuery, "query %s: the result has %d columns, want %d", q.Name, len(columns), len(q.Columns))
		}
		for i, column := range columns {
			if want := q.Columns[i].field; !strings.EqualFold(column.Name, want) {
				return problemOf(reasonColumns, hintQuery, "query %s: column %d is %s, want %s", q.Name, i+1, engine.SafeText(column.Name), want)
			}
		}
		return nil
	}
	text := strings.TrimSpace(e.Status.Error.Code + " " + e.Status.Error.Message)
	said := engine.SafeText(state)
	if text != "" {
		said += ": " + c.scrub.excerpt(text)
	}
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(strings.ToLower(text), word) })
	}
	switch {
	case has("external_links", "inline disposition", "inline result", "byte limit"):
		return problem(engine.Truncated, reasonTooLarge, hintTruncated, "query %s: the result is too large to be answered: %s", q.Name, said)
	case has("insufficient_permissions", "insufficient privileges", "permission_denied", "does not have select", "does not have use"):
		return problem(engine.Denied, reasonNoGrant, hintGrant, "query %s: %s", q.Name, said)
	case has("table_or_view_not_found", "schema_not_found", "no_such_catalog", "catalog_not_found", "does not exist"):
		return problem(engine.Disabled, reasonNoSchema, hintSchema, "query %s: %s", q.Name, said)
	case state == "CANCELED", state == "CLOSED":
		return problemOf(reasonCanceled, "Find out in the warehouse's query history who ended it, and run it again.", "query %s: %s", q.Name, said)
	}
	return problemOf(reasonQueryFailed, hintQuery, "query %s: %s", q.Name, said)
}
