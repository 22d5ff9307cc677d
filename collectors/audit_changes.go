package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
)

const hintAuditChangesFile = "Export the log with the second query of docs/usage.md and name the file with --audit-changes."

const hintAuditChanges = "Ask for it with --usage warehouse:ID, or export the log with the second query of docs/usage.md and name the file with --audit-changes."

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
