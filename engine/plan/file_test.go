package plan_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/plan"

	"github.com/google/go-cmp/cmp"
)

func small(t testing.TB) engine.Plan {
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "a", "11", 120)
	e.token("1", "b", "12", 2)
	e.fail("PAT-004", "1", "a")
	e.fail("PAT-004", "1", "b")
	e.fail("WS-001", "1", "1")
	return build(t, e.input())
}

func TestReadGivesWhatWasBuilt(t *testing.T) {
	t.Parallel()
	p := small(t)
	read, err := plan.Read(plan.Encode(p))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, read); diff != "" {
		t.Error(diff)
	}
}

// TestEveryFlippedByteIsRefused flips a bit of each byte of a plan, and sets it
// to another value.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	content := plan.Encode(small(t))
	values := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		changed := bytes.Clone(content)
		for _, value := range []byte{content[i] ^ 1<<(i%8), byte(values.Uint32())} {
			if value == content[i] {
				continue
			}
			changed[i] = value
			if _, err := plan.Read(changed); err == nil {
				t.Fatalf("byte %d changed from %q to %q is read", i, content[i], value)
			} else if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassRefused {
				t.Fatalf("byte %d changed: error %v is no refusal", i, err)
			}
		}
	}
}

func TestReadIsStrict(t *testing.T) {
	t.Parallel()
	content := string(plan.Encode(small(t)))
	for _, tc := range []struct {
		name, from, to, reason string
	}{
		{"duplicate key", `"planner": "planner",`, `"planner": "planner", "planner": "planner",`, "strict_json"},
		{"case variant beside", `"planner": "planner",`, `"planner": "planner", "PLANNER": "x",`, "strict_json"},
		{"case variant instead", `"planner": "planner"`, `"Planner": "planner"`, "strict_json"},
		{"unknown field", `"planner": "planner",`, `"planner": "planner", "more": 1,`, "strict_json"},
		{"not UTF-8", `"planner": "planner"`, "\"planner\": \"\xff\"", "strict_json"},
		{"trailing data", "", "", "strict_json"},
		{"spaces", `"planner": "planner"`, `"planner":  "planner"`, "strict_json"},
		{"newer version", `"schema": 1`, `"schema": 2`, "newer_plan"},
		{"older version", `"schema": 1`, `"schema": 0`, "bad_plan"},
		{"raised limit", `"max_steps": 25`, `"max_steps": 99`, "bad_plan"},
		{"another host", "https://prod.example.com", "https://evil.example.com", "bad_plan"},
		{"not JSON", `{`, `[`, "strict_json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			changed := strings.Replace(content, tc.from, tc.to, 1)
			if tc.from == "" {
				changed = content + "{}"
			}
			_, err := plan.Read([]byte(changed))
			refusal(t, err, tc.reason)
		})
	}
}

// TestAHandMadePlanIsHeldToTheRules: plans whose plan_id is right are still checked.
func TestAHandMadePlanIsHeldToTheRules(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*engine.Plan)
	}{
		{"tokens not read whole", func(p *engine.Plan) { p.Workspaces[0].Coverage[engine.SectionTokens] = engine.Partial }},
		{"step elsewhere", func(p *engine.Plan) { p.Steps[0].WorkspaceID = "2" }},
		{"step twice", func(p *engine.Plan) { p.Steps = append(p.Steps, p.Steps[0]) }},
		{"no precondition", func(p *engine.Plan) { p.Steps[0].Precondition = engine.Precondition{} }},
		{"unknown action", func(p *engine.Plan) { p.Steps[0].Action = "destroy" }},
		{"good for ever", func(p *engine.Plan) { p.ExpiresAt = "2036-01-01T00:00:00Z" }},
		{"negative limit", func(p *engine.Plan) { p.Limits.MaxSteps = -1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := small(t)
			tc.change(&p)
			_, err := plan.Complete(p)
			refusal(t, err, "bad_plan")
		})
	}
}

func FuzzRead(f *testing.F) {
	e := newEstate()
	e.fill("1", 3)
	e.token("1", "a", "11", 120)
	e.fail("PAT-004", "1", "a")
	f.Add(plan.Encode(build(f, e.input())))
	f.Add([]byte(`{"schema":1,"steps":[{"id":"a","ID":"b"}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := plan.Read(content)
		if err != nil {
			if known, ok := engine.AsError(err); !ok || known.Class != engine.ClassRefused {
				t.Fatalf("error %v is no refusal", err)
			}
			return
		}
		if !bytes.Equal(plan.Encode(p), content) || !json.Valid(content) {
			t.Fatal("a plan was read that patrol would not write so")
		}
	})
}
