package collectors_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
)

func secretsOf(t *testing.T, o collectors.Outcome) engine.Secrets {
	t.Helper()
	var secrets engine.Secrets
	if err := json.Unmarshal(o.Capture.Sections[engine.SectionSecrets].Document, &secrets); err != nil {
		t.Fatal(err)
	}
	return secrets
}

const someSecrets = "/api/2.0/accounts/servicePrincipals/"

func TestSecretsAreReadOnRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60})
	w.options.Sections = []engine.SectionName{engine.SectionSecrets}
	o := w.collect(w.admin())
	if c := w.coverage(o, engine.SectionSecrets); !c.Complete() || c.Count == 0 {
		t.Fatalf("%+v", c)
	}
	endless := 0
	for _, s := range secretsOf(t, o) {
		if s.ID == "" || s.OwnerID == "" || s.OwnerName == "" || s.Status != "ACTIVE" || s.Created == 0 {
			t.Errorf("%+v", s)
		}
		if s.Expires == engine.NeverExpires {
			endless++
		}
	}
	if endless == 0 {
		t.Error("no secret is endless")
	}
	for _, r := range w.Writes() {
		t.Errorf("sent %s %s", r.Method, r.Path)
	}
}

// TestSecretsTakeRights: a workspace admin is told what is missing, and is not
// made to knock at every door.
func TestSecretsTakeRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 60})
	w.options.Sections = []engine.SectionName{engine.SectionSecrets}
	o := w.collect(w.target(w.Workspaces()[0].Profile + "-oauth"))
	c := w.coverage(o, engine.SectionSecrets)
	if c.Status != engine.Denied || c.Reason != "permission_denied" || !strings.Contains(c.Hint, "account admin") {
		t.Fatalf("%+v", c)
	}
	asked := 0
	for _, r := range w.Requests() {
		if strings.HasPrefix(r.Path, someSecrets) {
			asked++
		}
	}
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
}

func TestSecretsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault  simulator.Fault
		status engine.CoverageStatus
		reason string
	}{
		"refused in part":  {simulator.Fault{Path: someSecrets, Status: 403, Skip: 1, Times: 1}, engine.Partial, "permission_denied"},
		"gone meanwhile":   {simulator.Fault{Path: someSecrets, Status: 404, Times: 1, Body: `{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"gone"}`}, engine.Complete, ""},
		"no such endpoint": {simulator.Fault{Path: someSecrets, Status: 404, Body: `{"error_code":"ENDPOINT_NOT_FOUND","message":"no API"}`}, engine.Disabled, "feature_disabled"},
		"broken":           {simulator.Fault{Path: someSecrets, Status: 502}, engine.Failed, "server_error"},
		"no date":          {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[{"id":"a","status":"ACTIVE"}]}`}, engine.Partial, "missing"},
		"bad date":         {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[{"id":"a","status":"ACTIVE","create_time":"soon"}]}`}, engine.Partial, "bad_timestamp"},
		"bad end":          {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[{"id":"a","status":"ACTIVE","create_time":"2026-01-01T00:00:00Z","expire_time":"x"}]}`}, engine.Partial, "bad_timestamp"},
		"made in 2099":     {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[{"id":"a","status":"ACTIVE","create_time":"2099-01-01T00:00:00Z"}]}`}, engine.Partial, "bad_timestamp"},
		"made in 1970":     {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[{"id":"a","status":"ACTIVE","create_time":"1970-01-01T00:00:00Z"}]}`}, engine.Partial, "bad_timestamp"},
		"ends before":      {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[{"id":"a","status":"ACTIVE","create_time":"2026-01-02T00:00:00Z","expire_time":"2026-01-01T00:00:00Z"}]}`}, engine.Partial, "bad_timestamp"},
		"listed twice":     {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[{"id":"a","status":"ACTIVE","create_time":"2026-01-02T00:00:00Z"},{"id":"a","status":"INACTIVE","create_time":"2026-01-02T00:00:00Z"}]}`}, engine.Implausible, "duplicate_id"},
		"bad type":         {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[{"id":7,"status":"ACTIVE"}]}`}, engine.Partial, "bad_type"},
		"no object":        {simulator.Fault{Path: someSecrets, Times: 1, Status: 200, Body: `{"secrets":[7]}`}, engine.Partial, "bad_type"},
		"pages in circles": {simulator.Fault{Path: someSecrets, Status: 200, Body: `{"secrets":[],"next_page_token":"again"}`}, engine.Implausible, "totals_differ"},
		"no principals":    {simulator.Fault{Path: "/api/2.0/preview/scim/v2/ServicePrincipals", Status: 403}, engine.Denied, "permission_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, simulator.Options{Seed: 1, Tokens: 20})
			w.options.Sections = []engine.SectionName{engine.SectionSecrets}
			w.AddFault(test.fault)
			if c := w.coverage(w.collect(w.admin()), engine.SectionSecrets); c.Status != test.status || c.Reason != test.reason {
				t.Errorf("%+v", c)
			}
		})
	}
}

const logHeader = "workspace_id,token_id,events,first_event,last_event,max_ips_per_day,user_agents\n"

func writeLog(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 20})
	id := fmt.Sprint(w.Workspaces()[0].ID)
	want := []engine.Activity{
		{TokenID: "b", Events: 12, First: 1793491200000, Last: 1793577600500, MaxIPsPerDay: 4, UserAgents: []string{"curl/8", "terraform, cicd/github"}},
		{TokenID: "a", Events: 1, First: 1793491200000, Last: 1793491200000, MaxIPsPerDay: 1},
	}
	rows := id + `,b,12,2026-11-01T00:00:00Z,2026-11-02T00:00:00.500Z,4,"[""terraform, cicd/github"",""curl/8"",""curl/8""]"` + "\n" +
		"77,b,1,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,1,[]\n" +
		id + ",a,1,2026-11-01 00:00:00,2026-11-01 00:00:00,1,\n"
	semicolons := "sep=;\r\n" + strings.NewReplacer("m, ", "m, ", `"",`, `"",`, ",", ";").Replace(logHeader+rows) // not within quotes
	for name, text := range map[string]string{
		"log.csv": logHeader + rows,
		"log.jsonl": `{"workspace_id":` + id + `,"token_id":"b","events":12,"first_event":"2026-11-01T00:00:00Z","last_event":"2026-11-02T00:00:00.500Z","max_ips_per_day":"4","user_agents":["terraform, cicd/github","curl/8"]}` + "\n\n" +
			`{"workspace_id":"77","token_id":"b","events":1,"first_event":"2026-11-01T00:00:00Z","last_event":"2026-11-01T00:00:00Z","max_ips_per_day":1,"user_agents":"[]"}` + "\n" +
			`{"workspace_id":"` + id + `","token_id":"a","events":1,"first_event":"2026-11-01 00:00:00","last_event":"2026-11-01 00:00:00","max_ips_per_day":1,"user_agents":null}` + "\n",
		"utf16.csv": collectors.UTF16(logHeader + rows),
		"sep.csv":   semicolons,
		"both.csv":  collectors.UTF16(semicolons),
	} {
		log, err := collectors.OpenAuditLog(t.Context(), writeLog(t, name, text))
		if err != nil {
			t.Fatal(name, err)
		}
		w.options.Exports = map[engine.SectionName]collectors.Export{engine.SectionAuditLog: log}
		section := w.collect(w.admin()).Capture.Sections[engine.SectionAuditLog]
		if section.Coverage != (engine.Coverage{Status: engine.Complete, Count: 2}) || string(section.Document) != `{"rows":2,"first_ms":1793491200000,"last_ms":1793577600500}` {
			t.Errorf("%s: %+v %s", name, section.Coverage, section.Document)
		}
		for range 2 { // rows can be read again
			var got []engine.Activity
			for a, err := range section.Activity {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, a)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// TestAuditLogOfOthers: a log without a row of the workspace may have left it out.
func TestAuditLogOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Options{Seed: 1, Tokens: 20})
	log, err := collectors.OpenAuditLog(t.Context(), writeLog(t, "log.csv", logHeader+"77,b,1,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,1,[]\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.options.Exports = map[engine.SectionName]collectors.Export{engine.SectionAuditLog: log}
	c := w.coverage(w.collect(w.admin()), engine.SectionAuditLog)
	if c.Status != engine.Failed || c.Reason != "no_rows" || !c.Requested() {
		t.Errorf("%+v", c)
	}
}

func TestAuditLogWithMistakes(t *testing.T) {
	t.Parallel()
	const good = "1,a,1,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,1,[]\n"
	detailHeader := strings.TrimSpace(logHeader) + ",days_used,succeeded,refused,addresses,top_address,distinct_calls,calls\n"
	const endless = `""service"":""jobs"",""action"":""run"",""events"":9223372036854775807` // two of them are less than one event
	const endlessCalls = `1,a,5,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,1,[],1,5,0,1,192.0.2.1,2,"[{` + endless + `},{` + endless + `}]"` + "\n"
	for name, test := range map[string]struct{ file, text, want string }{
		"empty":          {"l.csv", "", "the file is empty"},
		"no column":      {"l.csv", "workspace_id,token_id\n1,a\n", ":2: events is missing"},
		"no id":          {"l.csv", logHeader + good + "1,,1,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,1,[]\n", ":3: token_id is missing"},
		"twice":          {"l.csv", logHeader + good + good, ":3: the token stands in line 2, too"},
		"short row":      {"l.csv", logHeader + "1,a\n", "line 2"},
		"no count":       {"l.csv", logHeader + "1,a,x,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,1,[]\n", `:2: events: want a count, got "x"`},
		"negative":       {"l.csv", logHeader + "1,a,1,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,-1,[]\n", "max_ips_per_day: want a count"},
		"no time":        {"l.csv", logHeader + "1,a,1,soon,2026-11-01T00:00:00Z,1,[]\n", "first_event: want a time"},
		"backwards":      {"l.csv", logHeader + "1,a,1,2026-11-02T00:00:00Z,2026-11-01T00:00:00Z,1,[]\n", "last_event is before first_event"},
		"agents no list": {"l.csv", logHeader + "1,a,1,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,1,curl\n", "user_agents: want a list"},
		"endless calls":  {"l.csv", detailHeader + endlessCalls, ":2: calls: "},
		"no JSON":        {"l.jsonl", `{"workspace_id":1` + "\n", ":1: want a JSON object a line"},
		"no object":      {"l.jsonl", "{}\n[1]\n", ":1: workspace_id is missing"},
		"key twice":      {"l.jsonl", `{"workspace_id":1,"workspace_id":2}`, "each key once"},
		"long line":      {"l.jsonl", `{"a":"` + strings.Repeat("x", 2<<20) + `"}`, "token too long"},
		"missing file":   {"", "", "no such file"},
	} {
		path := filepath.Join(t.TempDir(), "none")
		if test.file != "" {
			path = writeLog(t, test.file, test.text)
		}
		_, err := collectors.OpenAuditLog(t.Context(), path)
		e, ok := engine.AsError(err)
		if !ok || e.Class != engine.ClassUsage || e.Hint == "" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAuditLogWithAColumnTwice: nobody knows which of the two counts.
func TestAuditLogWithAColumnTwice(t *testing.T) {
	t.Parallel()
	path := writeLog(t, "log.csv", strings.TrimSpace(logHeader)+", events \n77,b,1,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,1,[],9\n")
	_, err := collectors.OpenAuditLog(t.Context(), path)
	e, ok := engine.AsError(err)
	if !ok || e.Class != engine.ClassUsage || e.Target != path+":1" || !strings.Contains(err.Error(), `column "events"`) {
		t.Errorf("want the file and the column, got %v", err)
	}
}

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
	w.options.Exports = map[engine.SectionName]collectors.Export{engine.SectionAuditChanges: changes}
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
