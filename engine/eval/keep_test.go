package eval

import (
	"encoding/json"
	"os/exec"
	"testing"

	"patrol/engine"
	"patrol/engine/policy"
	"patrol/policies"
)

// sandboxes counts those that are started, and keeps the last.
type sandboxes struct{ list []*exec.Cmd }

func (s *sandboxes) start() *exec.Cmd {
	s.list = append(s.list, ownSandbox())
	return s.list[len(s.list)-1]
}

// keptSet is the built-in policies as if others had written them.
func keptSet(t *testing.T, options Options) *Set {
	t.Helper()
	set, err := Load(t.Context(), policy.Pack{Name: "built-in", FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	return set.With(options)
}

// TestKeptSandboxTakesJobAfterJob: each is judged as if it were the only one, by
// its own settings and parameters.
func TestKeptSandboxTakesJobAfterJob(t *testing.T) {
	var started sandboxes
	set, leave := keptSet(t, Options{Sandbox: started.start}).Keep()
	defer leave()
	alone := keptSet(t, Options{})
	for name, job := range map[string]Job{
		"as it is": {Snapshot: covered(nil), Tokens: either(manyTokens(300))},
		"few":      {Snapshot: covered(nil), Tokens: rows(healthy(nil))},
		"other": {Snapshot: covered(func(s *engine.Snapshot) {
			s.Workspace.Labels = map[string]string{"env": "dev"}
			s.Documents[engine.SectionSettings] = json.RawMessage(`{"enableTokensConfig":{"value":"false"},"maxTokenLifetimeDays":{"value":"30"}}`)
		}), Tokens: either(manyTokens(200))},
		"tuned": {Snapshot: covered(nil), Tokens: either(manyTokens(100)), Tuning: map[string]policy.Tuning{"PAT-002": {Params: map[string]any{"max_lifetime_days": 7}}}},
	} {
		want, wantTallies := evaluate(t, alone, job)
		got, gotTallies := evaluate(t, set, job)
		equal(t, gotTallies, wantTallies)
		if equal(t, asJSON(t, got), asJSON(t, want)); len(got) == 0 {
			t.Errorf("%s: nothing was found", name)
		}
	}
	if len(started.list) != 1 {
		t.Errorf("%d sandboxes were started", len(started.list))
	}
	leave()
	if started.list[0].ProcessState == nil {
		t.Error("the sandbox goes on")
	}
}

// TestKeptSandboxThatEndedIsReplaced: neither one that ended while it waited nor
// one that a policy ended is an error of the next job.
func TestKeptSandboxThatEndedIsReplaced(t *testing.T) {
	var started sandboxes
	set, leave := load(t, map[string]string{
		"token/bomb.rego": written{"token", "bomb", "B-1", "", denying("input.token.comment == \"boom\"\n\t" + growing(9, tenTimes) + "\n\tcount(s) > 0")}.text(),
		"token/good.rego": written{"token", "good", "G-1", "", innocent}.text(),
	}).With(Options{Sandbox: started.start, Deadline: bombDeadline}).Keep()
	defer leave()
	judge := func(comment string, want ...engine.Status) {
		t.Helper()
		findings, _ := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(healthy(func(token *engine.Token) { token.Comment = comment }))})
		var got []engine.Status
		for _, f := range findings {
			got = append(got, f.Status)
		}
		equal(t, got, want)
	}
	judge("calm", engine.Fail)
	if err := started.list[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	judge("calm", engine.Fail)
	if n := len(started.list); n != 2 {
		t.Errorf("%d sandboxes were started", n)
	}
	judge("boom", engine.Errored, engine.Fail) // in time it ends itself, in memory its sandbox
	judge("calm", engine.Fail)
}
