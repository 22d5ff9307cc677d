package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/eval/sandbox"
	"patrol/engine/policy"
	"patrol/policies"
)

// waiverBombs are bodies of policies over waivers that take all time or memory.
func waiverBombs() map[string]string {
	bombs := map[string]string{}
	for _, name := range []string{"doubling by concat", "doubling by replace", "range", "sum of range", "growing set", "digest of long text"} {
		bombs[name] = strings.ReplaceAll(bombsOf(name), "input.token.id", "input.finding.resource_id")
	}
	bombs["nested comprehension"] = denying(`count([1 | some i in numbers.range(1, 5000); some j in numbers.range(1, 5000); some k in numbers.range(1, 5000); i + j + k < 0]) > 0` + "\n\tinput.finding.resource_id")
	bombs["long message"] = strings.ReplaceAll(bombsOf("long message"), "input.token.id", "input.finding.resource_id")
	return bombs
}

func bombsOf(name string) string { return bombs()[name] }

// TestWaiverBombs: a policy over waivers that takes all there is refuses, in
// time; the other says what it has to say.
func TestWaiverBombs(t *testing.T) {
	enginetest.NotInRace(t)
	for name, bomb := range waiverBombs() {
		t.Run(name, func(t *testing.T) {
			set := load(t, map[string]string{
				"waiver/bomb.rego": enginetest.PolicyText("waiver", "bomb", "W-BOMB", "", bomb),
				"waiver/good.rego": enginetest.PolicyText("waiver", "good", "W-GOOD", "", "deny contains input.finding.owner_id if input.policy.severity == \"medium\""),
			}).With(Options{Sandbox: ownSandbox, Deadline: bombDeadline})
			j := waiverJudge(t, set, nil)
			defer j.Close()
			start := time.Now()
			for range 2 {
				got := j.Judge(t.Context(), caseOf(granted(), waivable()))
				if len(got) != 2 || !strings.HasPrefix(got[0].Message, "could not be judged: ") || got[1].Message != waivable().OwnerID {
					t.Fatalf("got %.300v", got)
				}
			}
			if took := time.Since(start); took > 2*(bombDeadline+bombLimit) { // and two sandboxes to start
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestWaiversApart: the policies that come with patrol judge alike in a sandbox.
func TestWaiversApart(t *testing.T) {
	here := waiverJudge(t, builtin(t), nil)
	sandboxed := waiverJudge(t, builtin(t).With(Options{Sandbox: ownSandbox}), nil)
	defer sandboxed.Close()
	long := granted()
	long.Expires += 300
	short := granted()
	short.Reason, short.Approver = "legacy", "ann@example.com"
	for _, w := range []engine.WaiverRule{granted(), long, short} {
		f := waivable()
		f.Evidence = map[string]any{"n": 1}
		enginetest.Equal(t, sandboxed.Judge(t.Context(), caseOf(w, f)), here.Judge(t.Context(), caseOf(w, f)))
		enginetest.Equal(t, sandboxed.Judge(t.Context(), WaiverCase{Waiver: w, Policy: "PAT-016", Severity: engine.Medium}),
			here.Judge(t.Context(), WaiverCase{Waiver: w, Policy: "PAT-016", Severity: engine.Medium}))
	}
	if sandboxed.process == nil {
		t.Error("no sandbox was asked")
	}
}

func withTests(body string) map[string]string {
	return map[string]string{
		"token/seen.rego": enginetest.PolicyText("token", "seen", "T-1", "remediation: Nothing.\ncontrols: {internal: [A]}", innocent),
		"token/seen_test.rego": `package patrol.token.seen_test

import data.patrol.token.seen

test_fires if count(seen.deny) == 1 with input.token.id as "a"

test_wrong if count(seen.deny) == 1 with input.token.id as "b" with input.token.id as null

test_silent if count(seen.deny) == 0 with input as {}

test_bomb if {
	` + body + `
}
`,
	}
}

// TestTestsApart: a test that takes all there is fails, in time; the others have
// their results, those that patrol came with are not run.
func TestTestsApart(t *testing.T) {
	for name, body := range map[string]string{
		"harmless": "1 == 2",
		"memory":   strings.ReplaceAll(growing(9, tenTimes), "input.token.id", `"aaaaaaaaaaaaaaaa"`) + "\n\tcount(s) > 0",
		"time":     "count(numbers.range(1, 1000000000)) > 0",
	} {
		t.Run(name, func(t *testing.T) {
			trusted := schemas(t)
			trusted.Trusted = true
			set, err := Load(t.Context(), trusted, pack("mine", withTests(body)))
			if err != nil {
				t.Fatal(err)
			}
			set = set.With(Options{Sandbox: ownSandbox, Deadline: bombDeadline})
			results, coverage, err := set.RunTests(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range results {
				got = append(got, fmt.Sprintf("%s:%d %s", strings.TrimPrefix(r.Name, "patrol.token.seen_test."), r.Line, r.Outcome))
			}
			bomb := map[string]string{"harmless": "fail"}[name]
			if bomb == "" {
				bomb = "error"
			}
			enginetest.Equal(t, got, []string{"test_fires:5 pass", "test_wrong:7 pass", "test_silent:9 pass", "test_bomb:11 " + bomb})
			if len(coverage) != 1 || coverage[0].Percent != 100 {
				t.Errorf("coverage %+v", coverage)
			}
			problems, err := set.Lint(t.Context(), "mine")
			told, _ := engine.AsError(err)
			switch {
			case name == "harmless" && (err != nil || len(problems) > 1): // the format
				t.Errorf("Lint: %v, %v", problems, err)
			case name != "harmless" && err != nil && (told == nil || told.Reason != "policy" || !strings.Contains(told.Target, "test_bomb")):
				t.Errorf("Lint: %v", err)
			}
		})
	}
}

// TestBrokenTestApart: a mistake in a test is told with its place.
func TestBrokenTestApart(t *testing.T) {
	files := withTests("true")
	files["token/seen_test.rego"] += "\ntest_ {"
	_, _, err := load(t, files).With(Options{Sandbox: ownSandbox}).RunTests(t.Context(), "")
	var problems policy.Problems
	if !errors.As(err, &problems) || problems[0].File != "pack/token/seen_test.rego" || problems[0].Line == 0 || problems[0].Reason != "policy_parse" {
		t.Errorf("%+v", problems)
	}
}

// TestExplainApart: an explanation is the same, and a bomb explains itself.
func TestExplainApart(t *testing.T) {
	subject := healthy(nil)
	job := Job{Snapshot: covered(nil), AsOf: asOf()}
	set := load(t, map[string]string{"token/x.rego": enginetest.PolicyText("token", "x", "X-1", "", "deny contains input.workspace.name if {\n\tinput.token.age_days > 10\n\tinput.owner.active\n\tinput.token.used == false\n}")})
	want, err := set.Explain(t.Context(), job, "X-1", Explained{Token: &subject})
	if err != nil {
		t.Fatal(err)
	}
	got, err := set.With(Options{Sandbox: ownSandbox}).Explain(t.Context(), job, "X-1", Explained{Token: &subject})
	if err != nil || len(want.Lines) < 3 {
		t.Fatal(err, want)
	}
	enginetest.Equal(t, got, want)

	bomb := load(t, map[string]string{"token/bomb.rego": enginetest.PolicyText("token", "bomb", "B-1", "", bombsOf("range"))})
	start := time.Now()
	got, err = bomb.With(Options{Sandbox: ownSandbox, Deadline: bombDeadline}).Explain(t.Context(), job, "B-1", Explained{Token: &subject})
	if err != nil || got.Status != engine.Errored || time.Since(start) > bombDeadline+bombLimit {
		t.Errorf("after %v: %+v, %v", time.Since(start), got, err)
	}
}

// TestStateBeforeReachesTheSandbox: what changed since is found there too, and
// what nobody knows stays unknown.
func TestStateBeforeReachesTheSandbox(t *testing.T) {
	set := load(t, map[string]string{
		"workspace/drift.rego":  enginetest.PolicyText("workspace", "drift", "D-1", "", "deny contains \"changed\" if input.workspace.previous.max_lifetime_days != input.workspace.max_lifetime_days"),
		"workspace/grants.rego": enginetest.PolicyText("workspace", "grants", "D-2", "", "deny contains \"more\" if count(input.workspace.grants) > count(input.workspace.previous.grants)"),
	})
	for name, previous := range map[string]*engine.State{
		"none":     nil,
		"settings": {Settings: engine.Dated{Document: json.RawMessage(`{"maxTokenLifetimeDays":{"value":"90"}}`), At: asOf().Add(-time.Hour)}},
		"both": {
			Settings: engine.Dated{Document: json.RawMessage(`{"maxTokenLifetimeDays":{"value":"30"}}`), At: asOf().Add(-time.Hour)},
			Grants:   engine.Dated{Document: json.RawMessage(`[]`), At: asOf().Add(-time.Hour)},
		},
	} {
		job := Job{Snapshot: covered(nil), Previous: previous}
		want, _ := evaluate(t, set, job)
		got, _ := evaluate(t, set.With(Options{Sandbox: ownSandbox}), job)
		enginetest.Equal(t, asJSON(t, got), asJSON(t, want))
		if name != "none" && len(want) == 0 {
			t.Errorf("%s: nothing was found", name)
		}
	}
}

// TestAnswersKeepNumbers: what policies find of ids beyond 2^53 has the digits
// and the types that judging in process gives.
func TestAnswersKeepNumbers(t *testing.T) {
	t.Parallel()
	want := map[string]any{
		"id": int64(9007199254740993), "days": int64(90), "share": 0.5, "large": 1e21,
		"list": []any{int64(-9007199254740993), map[string]any{"of": int64(9223372036854775807)}},
	}
	text, err := json.Marshal(result{Findings: []foundAt{{Status: "fail", Evidence: want}}})
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := sandbox.Decode(text, &r); err != nil {
		t.Fatal(err)
	}
	enginetest.Equal(t, r.Findings[0].outcome().evidence, want)
}

// What a policy of others says is bounded in depth, and in all.
func TestEvidenceIsBounded(t *testing.T) {
	t.Parallel()
	a := &assignment{allowance: 1 << 20}
	if o := a.bounded(outcome{status: engine.Fail, evidence: map[string]any{"a": []any{map[string]any{}}}}); o.status != engine.Fail {
		t.Error(o)
	}
	var deep any = "x"
	for range maxDepth {
		deep = []any{deep}
	}
	if o := a.bounded(outcome{status: engine.Fail, evidence: map[string]any{"a": deep}}); o.status != engine.Errored || !strings.Contains(o.message, "too deep") {
		t.Error(o)
	}
	long, failed := strings.Repeat("x", maxText-100), 0
	for range 100 {
		if o := a.bounded(outcome{status: engine.Fail, message: long}); o.status == engine.Errored {
			failed++
			if !strings.Contains(o.message, "too much in all") {
				t.Error(o)
			}
		}
	}
	if failed < 50 || failed > 90 {
		t.Errorf("%d of 100 were refused", failed)
	}
}

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
		enginetest.Equal(t, gotTallies, wantTallies)
		if enginetest.Equal(t, asJSON(t, got), asJSON(t, want)); len(got) == 0 {
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
		"token/bomb.rego": enginetest.PolicyText("token", "bomb", "B-1", "", denying("input.token.comment == \"boom\"\n\t"+growing(9, tenTimes)+"\n\tcount(s) > 0")),
		"token/good.rego": enginetest.PolicyText("token", "good", "G-1", "", innocent),
	}).With(Options{Sandbox: started.start, Deadline: bombDeadline}).Keep()
	defer leave()
	judge := func(comment string, want ...engine.Status) {
		t.Helper()
		findings, _ := evaluate(t, set, Job{Snapshot: covered(nil), Tokens: rows(healthy(func(token *engine.Token) { token.Comment = comment }))})
		var got []engine.Status
		for _, f := range findings {
			got = append(got, f.Status)
		}
		enginetest.Equal(t, got, want)
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
