package plan_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"patrol/engine"
	"patrol/engine/plan"
)

// TestPlanFormatNamesEveryField holds docs/plan-format.md to the fields of plans
// and approvals: none is missing on the page, none is there that does not exist.
func TestPlanFormatNamesEveryField(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/plan-format.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted, fields := regexp.MustCompile("`([a-z][a-z0-9_]*)`"), map[string]bool{"approvals": true}
	for _, v := range []any{
		engine.Plan{}, engine.PlanWorkspace{}, engine.Limits{}, engine.Step{}, engine.Precondition{}, engine.Risk{}, engine.NotPlanned{},
		plan.Entry{}, plan.Statement{}, plan.Decision{},
	} {
		for i := range reflect.TypeOf(v).NumField() {
			if name, _, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
				fields[name] = true
			}
		}
	}
	named := map[string]bool{}
	for _, match := range quoted.FindAllStringSubmatch(string(text), -1) {
		named[match[1]] = true
	}
	for name := range fields {
		if !named[name] {
			t.Errorf("docs/plan-format.md does not name the field %s", name)
		}
	}
	table := false
	for line := range strings.Lines(string(text)) {
		switch first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|"); {
		case !strings.HasPrefix(line, "|"):
			table = false
		case strings.TrimSpace(first) == "field":
			table = true
		case table:
			for _, match := range quoted.FindAllStringSubmatch(first, -1) {
				if !fields[match[1]] {
					t.Errorf("docs/plan-format.md names the field %s, which there is not", match[1])
				}
			}
		}
	}
}

// TestRiskOfAToken: the table of risks in docs/plan-format.md, at its edges.
func TestRiskOfAToken(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, policy string
		idle         int64
		change       func(*engine.Subject)
		want         string
	}{
		{"never used", "PAT-004", -1, nil, "low"},
		{"idle for 35 days", "PAT-004", 35, nil, "low"},
		{"idle for 34 days", "PAT-004", 34, nil, "medium"},
		{"idle for a day more than recently_used_days", "PAT-004", 8, nil, "medium"},
		{"used within recently_used_days", "PAT-004", 7, nil, "high"},
		{"expired", "PAT-004", 1, func(s *engine.Subject) { s.Token.Expires = ptr(at.UnixMilli() - 1) }, "low"},
		{"of unknown use", "PAT-004", 100, func(s *engine.Subject) {
			s.Token.Defects = []engine.Defect{{Field: "last_used_day", Reason: "not_listed"}}
			s.Token.LastUsed = nil
		}, "high"},
		{"narrowed while in use", "PAT-013", 0, scoped("sql", "authentication"), "medium"},
		{"a comment", "PAT-021", 0, nil, "low"},
		{"for people", "PAT-009", 0, nil, "low"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := newEstate()
			e.fill("1", 20)
			changes := []func(*engine.Subject){}
			if tc.change != nil {
				changes = append(changes, tc.change)
			}
			e.token("1", "t", "11", tc.idle, changes...)
			e.fail(tc.policy, "1", "t")
			p := build(t, e.input())
			if len(p.Steps) != 1 || p.Steps[0].Risk.Level != tc.want || p.Steps[0].Critical != (tc.want == "high") {
				t.Errorf("steps %v, want one of risk %s", steps(p), tc.want)
			}
		})
	}
}

// TestRiskOfAGrantNobodyUses: no live token depends on it.
func TestRiskOfAGrantNobodyUses(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.token("1", "a", "11", 1, func(s *engine.Subject) { s.Owner.Admin = ptr(true) })
	e.fail("WS-003", "1", "1")
	equal(t, "steps", steps(build(t, e.input())), []string{"change-grant users [WS-003] medium"})
}

// TestOddRowIsForPeople: on a token whose row could not be read whole nothing is
// planned; a field that the list does not have is no odd row.
func TestOddRowIsForPeople(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "t", "11", 120, func(s *engine.Subject) {
		s.Token.Defects = []engine.Defect{{Field: "comment", Reason: "bad_type"}}
	})
	e.fail("PAT-004", "1", "t")
	p := build(t, e.input())
	equal(t, "steps", steps(p), []string{})
	equal(t, "not planned", notPlanned(p), []string{"PAT-004 t odd_row"})
}

// TestIDsOfStepsStay: a step has the same id in each plan, whenever it is made.
func TestIDsOfStepsStay(t *testing.T) {
	t.Parallel()
	e := newEstate()
	e.fill("1", 20)
	e.token("1", "t", "11", 120)
	e.fail("PAT-004", "1", "t")
	first, in := build(t, e.input()), e.input()
	in.Report.AsOf, in.Planner = at.Add(24*time.Hour), "somebody else"
	second := build(t, in)
	if first.ID == second.ID || !regexp.MustCompile(`^p[0-9a-f]{16}$`).MatchString(first.ID) {
		t.Errorf("plans %s and %s: want two ids, p and 16 hexadecimal digits", first.ID, second.ID)
	}
	if a, b := first.Steps[0].ID, second.Steps[0].ID; a != b || !regexp.MustCompile(`^s[0-9a-f]{12}$`).MatchString(a) {
		t.Errorf("steps %s and %s: want one id, s and 12 hexadecimal digits", a, b)
	}
}
