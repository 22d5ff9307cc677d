package simulator

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Warehouse is the id of the SQL warehouse that each workspace has.
const Warehouse = "00c0ffee00c0ffee"

const statementsPath = "/api/2.0/sql/statements"

// Statements lists what a workspace can be ordered to do about statements, "" aside.
func Statements() []string {
	return []string{"sleeping", "starting", "running", "forbidden", "no_grant", "no_schema", "no_events", "truncated", "short", "too_large", "impossible", "failed", "canceled", "closed"}
}

const (
	chunkRows     = 1000
	rowsInline    = 500             // rows that fit inline where results are too large
	deliveryDelay = 3 * 3600 * 1000 // of events, ms
)

// result is a statement that runs or has run.
type result struct {
	id      string
	pending int // so many polls
	columns []string
	rows    [][]any // texts, or null
}

func executeStatement(c *call) *answer {
	var sent struct {
		Warehouse   string `json:"warehouse_id"`
		Statement   string `json:"statement"`
		Disposition string `json:"disposition"`
		Format      string `json:"format"`
		Parameters  []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"parameters"`
	}
	if refusal := c.decode(&sent); refusal != nil {
		return refusal
	}
	switch {
	case sent.Warehouse != Warehouse:
		return gone("SQL warehouse %s does not exist.", sent.Warehouse)
	case c.ws.statements == "forbidden":
		return c.forbid("You do not have permission to use the SQL Warehouse.")
	case sent.Disposition != "INLINE" || sent.Format != "JSON_ARRAY":
		return invalid("the simulator answers INLINE results as JSON_ARRAY only")
	}
	parameters := map[string]string{}
	for _, p := range sent.Parameters {
		parameters[p.Name] = p.Value
	}
	c.issued++
	r := &result{id: fmt.Sprintf("01f0-%012x", c.issued)}
	if problem := c.run(r, sent.Statement, parameters); problem != nil {
		return ok(obj{"statement_id": r.id, "status": problem})
	}
	switch c.ws.statements {
	case "sleeping":
		r.pending = 2
	case "starting", "running":
		r.pending = 1 << 30
	}
	c.results[r.id] = r
	return c.describeStatement(r)
}

func (c *call) describeStatement(r *result) *answer {
	if r.pending > 0 {
		state := "PENDING"
		if c.ws.statements == "running" {
			state = "RUNNING"
		}
		return ok(obj{"statement_id": r.id, "status": obj{"state": state}})
	}
	columns := []obj{}
	for i, name := range r.columns {
		columns = append(columns, obj{"name": name, "position": i, "type_name": "STRING", "type_text": "STRING"})
	}
	rows := len(r.rows)
	if c.ws.statements == "short" {
		rows++
	}
	doc := obj{"statement_id": r.id, "status": obj{"state": "SUCCEEDED"}, "manifest": obj{
		"format": "JSON_ARRAY", "schema": obj{"column_count": len(columns), "columns": columns},
		"total_chunk_count": r.chunks(), "total_row_count": rows, "truncated": c.ws.statements == "truncated",
	}}
	if len(r.rows) > 0 {
		doc["result"] = c.chunk(r, 0)
	}
	return ok(doc)
}

func (r *result) chunks() int { return (len(r.rows) + chunkRows - 1) / chunkRows }

func (c *call) chunk(r *result, n int) obj {
	rows := r.rows[n*chunkRows : min((n+1)*chunkRows, len(r.rows))]
	doc := obj{"chunk_index": n, "row_offset": n * chunkRows, "row_count": len(rows), "data_array": rows}
	if n+1 < r.chunks() {
		doc["next_chunk_index"] = n + 1
		doc["next_chunk_internal_link"] = fmt.Sprintf("%s/%s/result/chunks/%d", statementsPath, r.id, n+1)
	} else {
		delete(c.results, r.id) // nobody comes back
	}
	return doc
}

func getStatement(c *call) *answer {
	r := c.results[c.request.PathValue("id")]
	if r == nil {
		return gone("The statement %s was not found.", c.request.PathValue("id"))
	}
	r.pending--
	return c.describeStatement(r)
}

func cancelStatement(c *call) *answer {
	delete(c.results, c.request.PathValue("id")) // a statement that has ended, or never was, is answered alike
	return ok(obj{})
}

func getChunk(c *call) *answer {
	r := c.results[c.request.PathValue("id")]
	n, err := strconv.Atoi(c.request.PathValue("chunk"))
	if r == nil || err != nil || n < 0 || n >= r.chunks() {
		return gone("The chunk %s was not found.", c.request.PathValue("chunk"))
	}
	return ok(c.chunk(r, n))
}

// run computes a result; otherwise it says how the statement ended.
func (c *call) run(r *result, text string, parameters map[string]string) obj {
	ended := func(state, code, message string) obj {
		return obj{"state": state, "error": obj{"error_code": code, "message": message}}
	}
	switch mode := c.ws.statements; {
	case mode == "no_grant" || !c.directory.isAdmin(c.ws, c.who.principal):
		return ended("FAILED", "BAD_REQUEST", "[INSUFFICIENT_PERMISSIONS] Insufficient privileges: User does not have USE SCHEMA on Schema 'system.access'. SQLSTATE: 42501")
	case mode == "no_schema":
		return ended("FAILED", "BAD_REQUEST", "[TABLE_OR_VIEW_NOT_FOUND] The table or view `system`.`access`.`audit` cannot be found. SQLSTATE: 42P01")
	case mode == "failed":
		return ended("FAILED", "RESOURCE_EXHAUSTED", "Query exhausted resources")
	case mode == "canceled":
		return obj{"state": "CANCELED"}
	case mode == "closed":
		return obj{"state": "CLOSED"}
	}
	days, _ := strconv.Atoi(parameters["days"])
	ws := c.find(parameters["workspace_id"])
	readable := ws != nil && ws.region == c.ws.region && c.ws.statements != "no_events" // the table is one of a region
	switch {
	case strings.Contains(text, "AS distinct_calls"):
		r.columns = []string{
			"workspace_id", "token_id", "events", "first_event", "last_event", "max_ips_per_day", "user_agents",
			"days_used", "succeeded", "refused", "addresses", "top_address", "distinct_calls", "calls",
		}
		page, _ := strconv.Atoi(parameters["page"])
		if c.ws.statements == "too_large" && page > rowsInline {
			return ended("FAILED", "BAD_REQUEST", "The result exceeds the byte limit of the INLINE disposition of 25 MiB. Use EXTERNAL_LINKS.")
		}
		if readable {
			r.rows = c.usageRows(ws, days, parameters["after"], page)
			if c.ws.statements == "impossible" && len(r.rows) > 1 {
				r.rows[1][8] = "1000000000" // more that succeeded than there were
			}
		}
	case strings.Contains(text, "workspaceConfKeys"):
		r.columns = []string{"workspace_id", "event_time", "event_id", "action_name", "actor", "status_code", "request_params"}
		if readable {
			r.rows = c.changeRows(ws, days)
		}
	default:
		return ended("FAILED", "BAD_REQUEST", "[PARSE_SYNTAX_ERROR] the simulator does not know this statement")
	}
	return nil
}

func eventTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// usageRows are the tokens that were used, by id, and before them the whole log.
func (c *call) usageRows(ws *workspace, days int, after string, page int) (rows [][]any) {
	workspace, now := fmt.Sprint(ws.ID), c.Now().UnixMilli()
	from, until := midnight(now)-int64(days)*dayMillis, now-deliveryDelay
	if after == "" {
		rows = append(rows, []any{workspace, "*", "100000", eventTime(from), eventTime(until), "0", "[]", "0", "0", "0", "0", nil, "0", "[]"})
		page++
	}
	tokens := ws.tokens.list(func(t *Token) bool { return t.LastUsedDay != 0 && t.ID > after })
	slices.SortFunc(tokens, func(a, b *Token) int { return strings.Compare(a.ID, b.ID) })
	for _, t := range tokens {
		if len(rows) >= page {
			break
		}
		if usage := c.usageOf(t, from, until); usage != nil {
			rows = append(rows, append([]any{workspace, t.ID}, usage...))
		}
	}
	return rows
}

// work is what a token is used for.
type work struct {
	agents []string
	calls  []string // service/action
}

// Works are by scope, and for tokens that may do everything.
var (
	worksByScope = map[string][]string{
		"sql":            {"databrickssql/commandSubmit", "databrickssql/commandFinish", "databrickssql/listHistoryQueries"},
		"unity-catalog":  {"unityCatalog/getTable", "unityCatalog/listSchemas"},
		"jobs":           {"jobs/runNow", "jobs/getRunOutput"},
		"clusters":       {"clusters/start", "clusters/create"},
		"authentication": {"accounts/generateDbToken"},
	}
	worksOfPeople = []work{
		{[]string{"databricks-sdk-python/0.61.0 python/3.12.4 os/darwin", "databricks-cli/1.13.0"}, []string{"unityCatalog/getTable", "unityCatalog/listTables", "unityCatalog/getSchema"}},
		{[]string{"DatabricksSQLConnector/4.0.1"}, []string{"databrickssql/commandSubmit", "databrickssql/commandFinish"}},
		{[]string{"databricks-vscode/2.10.0"}, []string{"workspace/fileCreate", "clusters/start", "jobs/submitRun"}},
	}
	worksOfServices = []work{
		{[]string{"databricks-sdk-go/0.175.0 go/1.26.8 os/linux cicd/github"}, []string{"jobs/create", "jobs/reset", "jobs/runNow"}},
		{[]string{"databricks-airflow/7.7.0 airflow/3.1.0 python/3.12"}, []string{"jobs/runNow", "jobs/getRunOutput", "databrickssql/commandSubmit"}},
		{[]string{"dbt/1.11 DatabricksSQLConnector/4.0.1"}, []string{"databrickssql/commandSubmit", "unityCatalog/getTable", "unityCatalog/createTable"}},
	}
)

// usageOf are the columns from events on. They follow from the token alone, so that
// they agree with what the list says; nil where no event lies between two moments.
func (c *call) usageOf(t *Token, from, until int64) []any {
	seed, _ := strconv.ParseUint(t.ID[:16], 16, 64)
	moment := func(day int64, n uint) int64 { return day + int64(seed>>n%(20*3600*1000)) } // within its first 20 hours
	day := midnight(t.LastUsedDay)
	last := moment(day, 3)
	for last > until { // not delivered yet
		day -= dayMillis
		last = moment(day, 3)
	}
	start := max(midnight(from), midnight(t.CreationTime)+dayMillis)
	if day < start {
		if last = max(last, t.CreationTime+3_600_000); day < midnight(from) || last > until {
			return nil
		}
		start = day
	}
	days, first := (day-start)/dayMillis+1, last
	if days > 1 {
		first = moment(start, 5)
	}
	choice, addresses := worksOfPeople, 1+int64(seed>>17%2)
	if owner := c.directory.byID[t.OwnerID]; owner != nil && owner.Service {
		choice, addresses = worksOfServices, 2+int64(seed>>17%6)
	}
	does := choice[seed>>23%uint64(len(choice))]
	scopes := slices.Concat(t.InferredScopes, t.BackfillScopes)
	if !slices.Contains(t.Scopes, "all-apis") && len(scopes) == 0 {
		scopes = t.Scopes
	}
	if len(scopes) > 0 {
		does.calls = nil
	}
	for _, scope := range scopes {
		does.calls = append(does.calls, worksByScope[scope]...)
	}
	perDay := 2 + int64(seed>>11%40)
	share := max(1, days*perDay/int64(len(does.calls)+1))
	type action struct {
		Service string `json:"service"`
		Action  string `json:"action"`
		Events  int64  `json:"events"`
		Refused int64  `json:"refused"`
	}
	calls := []action{{Service: "accounts", Action: "tokenLogin", Events: share}}
	for _, name := range does.calls {
		service, name, _ := strings.Cut(name, "/")
		calls = append(calls, action{Service: service, Action: name, Events: share})
	}
	slices.SortFunc(calls, func(a, b action) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Action, b.Action))
	})
	events := fmt.Sprint(share * int64(len(calls)))
	return []any{
		events, eventTime(first), eventTime(last), fmt.Sprint(min(2, addresses)), string(encode(does.agents)), fmt.Sprint(days), events, "0",
		fmt.Sprint(addresses), fmt.Sprintf("203.0.113.%d", 1+seed>>20%250), fmt.Sprint(len(calls)), string(encode(calls)),
	}
}

// auditEvent is what somebody did to the workspace.
type auditEvent struct {
	at     int64
	id     string
	action string
	actor  string
	params map[string]string
}

// changeRows are what somebody did, tokens that were made, and the span of the log.
func (c *call) changeRows(ws *workspace, days int) [][]any {
	workspace, now := fmt.Sprint(ws.ID), c.Now().UnixMilli()
	from := midnight(now) - int64(days)*dayMillis
	rows := [][]any{
		{workspace, eventTime(from), "", "firstEvent", "", "", "null"},
		{workspace, eventTime(now), "", "lastEvent", "", "", "null"},
	}
	add := func(e auditEvent) {
		rows = append(rows, []any{workspace, eventTime(e.at), e.id, e.action, e.actor, "200", string(encode(e.params))})
	}
	for _, t := range ws.tokens.all() {
		if t.CreationTime >= from && len(rows) < 10_000 {
			add(auditEvent{t.CreationTime, "g-" + t.ID[:16], "generateDbToken", t.CreatedByUsername, map[string]string{"tokenId": t.ID}})
		}
	}
	for _, e := range ws.events {
		add(e)
	}
	return rows
}

// note has the audit log say what the caller did.
func (c *call) note(action string, params map[string]string) {
	c.ws.note(c.Now().UnixMilli(), action, c.who.principal.Name, params)
}

func (ws *workspace) note(at int64, action, actor string, params map[string]string) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", ws.ID, len(ws.events), action))
	ws.events = append(ws.events, auditEvent{at, fmt.Sprintf("%x", sum[:8]), action, actor, params})
}
