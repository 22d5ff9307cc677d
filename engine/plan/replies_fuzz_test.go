package plan_test

import (
	"encoding/json"
	"testing"

	"patrol/engine/plan"

	"github.com/google/go-cmp/cmp"
)

// FuzzReadReplies: what is read has one meaning, and means the same when it is
// written again.
func FuzzReadReplies(f *testing.F) {
	for _, seed := range []string{
		`{"schema":1,"replies":[{"workspace_id":"1","token":"a","reply":"revoke"}]}`, `{"schema":1,"schema":1,"replies":[]}`,
		`{"schema":1,"Replies":[]}`, `{"schema":1,"replies":[]} {}`, "{\"schema\":1,\"plan_id\":\"\xff\"}", `{"schema":1,"more":2}`, "", "null",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		read, err := plan.ReadReplies(text)
		if err != nil {
			return
		}
		var lax plan.Replies
		if err := json.Unmarshal(text, &lax); err != nil || !cmp.Equal(read, lax) {
			t.Fatalf("%q is read as %v, and by encoding/json as %v, %v", text, read, lax, err)
		}
		if again, err := plan.ReadReplies(read.Encode()); err != nil || len(again.Replies) != len(read.Replies) {
			t.Fatalf("%q written again is %q: %v", text, read.Encode(), err)
		}
	})
}

// TestRepliesAreReadStrictly: of two readings of one file none counts.
func TestRepliesAreReadStrictly(t *testing.T) {
	t.Parallel()
	const reply = `{"workspace_id":"1","token":"a","reply":"revoke"}`
	if _, err := plan.ReadReplies([]byte(`{"schema":1,"replies":[` + reply + `]}`)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"key twice":         `{"schema":1,"replies":[` + reply + `],"replies":[]}`,
		"other letter case": `{"schema":1,"Replies":[` + reply + `]}`,
		"twice by case":     `{"schema":1,"replies":[{"workspace_id":"1","token":"a","reply":"keep","REPLY":"revoke"}]}`,
		"unknown key":       `{"schema":1,"replies":[],"more":1}`,
		"not UTF-8":         "{\"schema\":1,\"replies\":[],\"plan_id\":\"\xff\"}",
		"more after it":     `{"schema":1,"replies":[` + reply + `]}{}`,
	} {
		if _, err := plan.ReadReplies([]byte(text)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}
