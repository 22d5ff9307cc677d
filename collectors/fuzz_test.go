package collectors

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"patrol/engine"
)

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
		`{"access_control_list":{}}`, `[]`, `{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"x"}`, "<html>", "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if token, err := ParseToken(text, time.UnixMilli(1800000000000)); err == nil && token.ID == "" {
			t.Fatalf("a token without id from %q", text)
		}
		_, _ = ParseGrants(text)
		_ = parseAPIError(text)
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
		for workspace, part := range changes.workspaces {
			before := part.First
			for _, e := range part.Events {
				if e.At < before || e.At > part.Last || len(e.Values) > 0 && len(e.Values) != len(e.Keys) {
					t.Fatalf("workspace %q: %+v", workspace, part)
				}
				before = e.At
			}
		}
	})
}
