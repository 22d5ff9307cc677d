package collectors

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"patrol/engine"
)

func TestUnquoteKeepsBytes(t *testing.T) {
	t.Parallel()
	for quoted, want := range map[string]string{
		`""`:                       "",
		`"plain"`:                  "plain",
		`"a\u0000b\n\"\\"`:         "a\x00b\n\"\\",
		"\"\xff\xfe\"":             "\xff\xfe",
		"\"a\\n\xff\\u00e9\xfeb\"": "a\n\xff\u00e9\xfeb",
		`"\ud83d\ude00"`:           "😀",
		`"\/\b\f\r\t"`:             "/\b\f\r\t",
	} {
		if got := unquote([]byte(quoted)); got != want {
			t.Errorf("unquote(%q) = %q, want %q", quoted, got, want)
		}
		if got := unquote([]byte(quote(want))); got != want {
			t.Errorf("quote and unquote of %q = %q", want, got)
		}
	}
	for _, half := range []string{`"\ud83d"`, `"\ud83dx"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"\ud83d\n\ude00"`} {
		var want string
		if err := json.Unmarshal([]byte(half), &want); err != nil {
			t.Fatal(err)
		}
		if got := unquote([]byte(half)); got != want {
			t.Errorf("unquote(%s) = %q, want %q", half, got, want)
		}
	}
}

func TestParseObjectIsExact(t *testing.T) {
	t.Parallel()
	o, ok := parseObject([]byte(` { "a" : [1,{"b":"]}"}] , "A":"x\"y" ,"a\u0062":null, "n":-1.5e3,"a":2 } `))
	if !ok {
		t.Fatal("no object")
	}
	for key, want := range map[string]string{"A": `"x\"y"`, "ab": "null", "n": "-1.5e3", "a": "2"} {
		if got := string(o.members[key]); got != want {
			t.Errorf("%s = %s, want %s", key, got, want)
		}
	}
	if !slices.Equal(o.twice, []string{"A", "a"}) {
		t.Errorf("twice %v", o.twice)
	}
	for _, other := range []string{"", "[]", "1", `"x"`, "null"} {
		if _, ok := parseObject([]byte(other)); ok {
			t.Errorf("%q is an object", other)
		}
	}
}

// FuzzParseObject holds the splitter against encoding/json.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[{}],"c":{"d":"e}"}}`, `{"\u0061":"\\"}`, " {\t\"x\" :\n null } "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want map[string]json.RawMessage
		if !json.Valid(raw) {
			return
		}
		o, ok := parseObject(raw)
		if json.Unmarshal(raw, &want) != nil || want == nil {
			if ok {
				t.Fatalf("%q is no object", raw)
			}
			return
		}
		if !ok || len(o.members) < len(want) {
			t.Fatalf("%q: %v, want %v", raw, o.members, want)
		}
		if !utf8.Valid(raw) {
			return // encoding/json merges such keys
		}
		for key, value := range want {
			if string(o.members[key]) != string(value) {
				t.Fatalf("%q: %s is %s, want %s", raw, key, o.members[key], value)
			}
		}
	})
}

// FuzzAuditLog: a log is read whole, or refused with a usage error.
func FuzzAuditLog(f *testing.F) {
	for _, seed := range []string{
		"workspace_id,token_id,events,first_event,last_event,max_ips_per_day,user_agents\n1,a,3,2026-01-01T00:00:00Z,2026-01-02T00:00:00Z,1,\n",
		`{"workspace_id":"1","token_id":"a","events":3,"first_event":"2026-01-01T00:00:00Z","last_event":"2026-01-02T00:00:00Z","max_ips_per_day":1,"user_agents":[]}`,
		"workspace_id,token_id\n", "\xEF\xBB\xBFa,b\n\"", "a;b\n1;2\n", "",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "log.csv")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		log, err := OpenAuditLog(t.Context(), path)
		if err != nil {
			if e, ok := engine.AsError(err); !ok || e.Class != engine.ClassUsage {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for workspace, stats := range log.workspaces {
			if stats.Rows < 1 || stats.First > stats.Last {
				t.Fatalf("workspace %q: %+v", workspace, stats)
			}
		}
	})
}

// FuzzAnswers: the answers that apply looks at before it acts never panic, and
// a token that was read has an id.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"token_info":{"token_id":"a","creation_time":1700000000000,"expiry_time":-1}}`, `{"token_id":"a","creation_time":1700000000000,"expiry_time":-1}`,
		`{"token_id":1}`, `{"access_control_list":[{"user_name":"a","all_permissions":[{"permission_level":"CAN_USE","inherited":false}]}]}`,
		`{"access_control_list":{}}`, `[]`, `[}`, `{"scopes":[}`, `{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"x"}`, "<html>", "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if token, err := ParseToken(text, time.UnixMilli(1800000000000)); err == nil && token.ID == "" {
			t.Fatalf("a token without id from %q", text)
		}
		_, _ = ParseGrants(text)
		_, _ = parseAPIError(text)
	})
}

// FuzzAuditChanges: an export is read whole, or refused with a usage error, and
// what was read is in order and within the span that it tells.
func FuzzAuditChanges(f *testing.F) {
	for _, seed := range []string{
		"workspace_id,event_time,event_id,action_name,actor,status_code,request_params\n1,2026-11-02T00:00:00Z,a,workspaceConfEdit,x,200,\"{\"\"workspaceConfKeys\"\":\"\"[a,b]\"\"}\"\n",
		`{"workspace_id":1,"event_time":"2026-11-02T00:00:00Z","event_id":"a","action_name":"changeDbTokenAcl","actor":"x","status_code":200,"request_params":{"targetUserId":7}}`,
		"workspace_id\n", "",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "log.csv")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		changes, err := OpenAuditChanges(t.Context(), path)
		if err != nil {
			if e, ok := engine.AsError(err); !ok || e.Class != engine.ClassUsage {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for workspace := range changes.workspaces {
			var log engine.ChangeLog
			if err := json.Unmarshal(changes.section(engine.Workspace{ID: workspace}, engine.Section{}, time.Time{}).Document, &log); err != nil {
				t.Fatal(err)
			}
			before := log.First
			for _, e := range log.Events {
				if e.At < before || e.At > log.Last || len(e.Values) > 0 && len(e.Values) != len(e.Keys) {
					t.Fatalf("workspace %q: %+v", workspace, log)
				}
				before = e.At
			}
		}
	})
}
