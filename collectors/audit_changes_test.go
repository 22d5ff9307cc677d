package collectors_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
)

const changesHeader = "workspace_id,event_time,event_id,action_name,actor,status_code,request_params\n"

func changesLine(workspace, id, action, actor, params string) string {
	return fmt.Sprintf("%s,2026-11-02T00:00:00Z,%s,%s,%q,200,\"%s\"\n", workspace, id, action, actor, strings.ReplaceAll(params, `"`, `""`))
}

// changesOf reads an export and gives what a workspace's section has of it.
func changesOf(t *testing.T, w *world, name, text string) (engine.Coverage, engine.ChangeLog) {
	t.Helper()
	changes, err := collectors.OpenAuditChanges(t.Context(), writeLog(t, name, text))
	if err != nil {
		t.Fatal(err)
	}
	w.options.AuditChanges = changes
	section := w.collect(w.admin()).Capture.Sections[engine.SectionAuditChanges]
	var log engine.ChangeLog
	if section.Document != nil {
		if err := json.Unmarshal(section.Document, &log); err != nil {
			t.Fatal(err)
		}
	}
	return section.Coverage, log
}

func TestAuditChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 20})
	id := fmt.Sprint(w.Workspaces()[0].ID)
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC).UnixMilli()
	want := engine.ChangeLog{First: day - 1000, Last: day + engine.Day, Events: []engine.ChangeEvent{
		{At: day, ID: "a", Actor: "ana@example.com", Action: "workspaceConfEdit", Keys: []string{"maxTokenLifetimeDays"}, Values: []string{"90"}},
		{At: day, ID: "b", Actor: "bob@example.com", Action: "changeDbTokenAcl", Target: "77", Permission: "CAN_USE"},
	}}
	for name, text := range map[string]string{
		"log.csv": changesHeader + changesLine(id, "b", "changeDbTokenAcl", "bob@example.com", `{"targetUserId":"77","aclPermissionSet":"CAN_USE"}`) +
			id + ",2026-11-01 23:59:59,,tokenLogin,,,\n" + id + ",2026-11-03 00:00:00,,tokenLogin,,,\n" +
			changesLine("5", "a", "workspaceConfEdit", "x@example.com", "{}") +
			changesLine(id, "a", "workspaceConfEdit", "ana@example.com", `{"workspaceConfKeys":"maxTokenLifetimeDays","workspaceConfValues":"90"}`),
		"log.jsonl": `{"workspace_id":` + id + `,"event_time":"2026-11-02T00:00:00Z","event_id":"a","action_name":"workspaceConfEdit","actor":"ana@example.com","status_code":200,"request_params":{"workspaceConfKeys":"[\"maxTokenLifetimeDays\"]","workspaceConfValues":"[\"90\"]"}}
{"workspace_id":"` + id + `","event_time":"2026-11-02T00:00:00Z","event_id":"b","action_name":"changeDbTokenAcl","actor":"bob@example.com","status_code":"200","request_params":"{\"targetUserId\":\"77\",\"aclPermissionSet\":\"CAN_USE\"}"}
{"workspace_id":"` + id + `","event_time":"2026-11-01T23:59:59Z","event_id":"","action_name":"x","actor":null,"status_code":"","request_params":null}
{"workspace_id":"` + id + `","event_time":"2026-11-03T00:00:00Z","event_id":"c","action_name":"workspaceConfEdit","actor":"","status_code":403,"request_params":{}}
`,
	} {
		coverage, got := changesOf(t, w, name, text)
		if coverage != (engine.Coverage{Status: engine.Complete, Count: 2}) {
			t.Errorf("%s: %+v", name, coverage)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestAuditChangesSettings: keys and values come in several forms; where it
// cannot be told which value is whose there are none.
func TestAuditChangesSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 5})
	id := fmt.Sprint(w.Workspaces()[0].ID)
	for params, want := range map[string][2][]string{
		`{"workspaceConfKeys":"a","workspaceConfValues":"1"}`:                 {{"a"}, {"1"}},
		`{"workspaceConfKeys":"a","workspaceConfValues":"1,2"}`:               {{"a"}, {"1,2"}},
		`{"workspaceConfKeys":"a","workspaceConfValues":""}`:                  {{"a"}, nil},
		`{"workspaceConfKeys":"a, b","workspaceConfValues":"1,2"}`:            {{"a", "b"}, {"1", "2"}},
		`{"workspaceConfKeys":"[a,b]","workspaceConfValues":"[1,2]"}`:         {{"a", "b"}, {"1", "2"}},
		`{"workspaceConfKeys":["a","b"],"workspaceConfValues":["1","2"]}`:     {{"a", "b"}, {"1", "2"}},
		`{"workspaceConfKeys":"[\"a\",\"b\"]","workspaceConfValues":"1,2,3"}`: {{"a", "b"}, nil},
		`{"workspaceConfValues":"1"}`:                                         {nil, nil},
		`{}`:                                                                  {nil, nil},
		``:                                                                    {nil, nil},
	} {
		_, log := changesOf(t, w, "log.csv", changesHeader+changesLine(id, "a", "workspaceConfEdit", "x", params))
		if got := [2][]string{log.Events[0].Keys, log.Events[0].Values}; cmp.Diff(want, got) != "" {
			t.Errorf("%s: %q, want %q", params, got, want)
		}
	}
}

// TestAuditChangesAreBounded: the newest are kept, the span says from when on,
// and no text is longer than it may be.
func TestAuditChangesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 5})
	id := fmt.Sprint(w.Workspaces()[0].ID)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var text strings.Builder
	text.WriteString(changesHeader)
	for i := range 10_003 {
		fmt.Fprintf(&text, "%s,%s,e%d,changeDbTokenAcl,%s,200,{}\n", id, start.Add(time.Duration(i)*time.Minute).Format(time.RFC3339), i, strings.Repeat("é", 400))
	}
	coverage, log := changesOf(t, w, "log.csv", text.String())
	if coverage.Status != engine.Complete || coverage.Count != 10_000 || !strings.HasSuffix(coverage.Detail, ": 3") {
		t.Errorf("%+v", coverage)
	}
	if log.Events[0].ID != "e3" || log.First != log.Events[0].At {
		t.Errorf("begins with %+v at %d", log.Events[0], log.First)
	}
	if actor := log.Events[0].Actor; actor != strings.Repeat("é", 256)+"…" {
		t.Errorf("actor of %d bytes", len(actor))
	}
}

// TestAuditChangesOfOthers: an export without a row of the workspace may have left it out.
func TestAuditChangesOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 5})
	coverage, _ := changesOf(t, w, "log.csv", changesHeader+changesLine("77", "a", "tokenLogin", "x", ""))
	if coverage.Status != engine.Failed || coverage.Reason != "no_rows" || coverage.Hint == "" {
		t.Errorf("%+v", coverage)
	}
}

func TestAuditChangesWithMistakes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"empty":        {"", "the file is empty"},
		"no column":    {"workspace_id,event_time\n1,2026-11-02T00:00:00Z\n", ":2: event_id is missing"},
		"no workspace": {changesHeader + changesLine("", "a", "x", "x", ""), ":2: a row needs workspace_id and action_name"},
		"no action":    {changesHeader + changesLine("1", "a", "", "x", ""), ":2: a row needs workspace_id and action_name"},
		"no time":      {changesHeader + "1,soon,a,x,x,200,\n", ":2: event_time: want a time"},
		"no status":    {changesHeader + "1,2026-11-02T00:00:00Z,a,workspaceConfEdit,x,,{}\n", `:2: status_code: want a count, got ""`},
		"no id":        {changesHeader + changesLine("1", "", "workspaceConfEdit", "x", "{}"), ":2: event_id is missing"},
		"no params":    {changesHeader + changesLine("1", "a", "workspaceConfEdit", "x", "{"), ":2: request_params: want an object"},
		"twice":        {changesHeader + changesLine("1", "a", "workspaceConfEdit", "x", "{}") + changesLine("1", "a", "workspaceConfEdit", "x", "{}"), ":3: the event stands in line 2, too"},
	} {
		_, err := collectors.OpenAuditChanges(t.Context(), writeLog(t, "log.csv", test.text))
		e, ok := engine.AsError(err)
		if !ok || e.Class != engine.ClassUsage || e.Hint == "" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := collectors.OpenAuditChanges(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("missing file: %v", err)
	}
}
