package policy

import (
	"strings"
	"testing"

	"patrol/policies"
)

const lintable = `# METADATA
# title: Old token
# description: Old tokens leak.
# schemas: [{input: schema.token}]
# custom:
#   id: X-001
#   severity: low
#   remedy: notify
#   remediation: Rotate it.
#   controls: {soc2: [CC6.1]}
#   params: {max_age: {default: 90, description: Days}}
package patrol.token.old

`

const lintableTest = `package patrol.token.old_test

import data.patrol.token.old

fires if old.deny == {"old"} with input as {"token": {"age_days": 91}, "params": {"max_age": 90}}

test_fires if fires

test_silent if count(old.deny) == 0 with input as {"token": {"age_days": 90}, "params": {"max_age": 90}}
`

const lintableRule = "deny contains \"old\" if input.token.age_days > input.params.max_age\n"

func TestLint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		rule  string
		tests string
		meta  func(string) string
		want  []string // reasons
	}{
		{name: "clean", rule: lintableRule, tests: lintableTest},
		{name: "no tests", rule: lintableRule, want: []string{reasonTests, reasonTests}},
		{name: "nothing fires", rule: lintableRule, tests: strings.Replace(lintableTest, "test_fires", "todo_fires", 1), want: []string{reasonTests}},
		{name: "nothing is silent", rule: lintableRule, tests: strings.Replace(lintableTest, "test_silent", "other", 1), want: []string{reasonTests}},
		{name: "badly formatted", rule: strings.Replace(lintableRule, " >", "  >", 1), tests: lintableTest, want: []string{reasonFormat}},
		{
			name: "no controls and no remediation", rule: lintableRule, tests: lintableTest, want: []string{reasonWords, reasonWords},
			meta: func(m string) string {
				return strings.NewReplacer("#   remediation: Rotate it.\n", "", "#   controls: {soc2: [CC6.1]}\n", "").Replace(m)
			},
		},
		{
			name:  "a comment exempts",
			rule:  "deny contains \"old\" if {\n\tinput.token.age_days > input.params.max_age\n\tnot contains(input.token.comment, \"keep\")\n}\n",
			tests: strings.ReplaceAll(lintableTest, `"age_days"`, `"comment": "", "age_days"`), want: []string{reasonComment},
		},
		{
			name:  "a comment decides whether it applies",
			rule:  "applicable if input.token.comment != \"keep\"\n\n" + lintableRule,
			tests: lintableTest, want: []string{reasonComment},
		},
		{
			name:  "the comment is the subject",
			rule:  "deny contains \"old\" if not regex.match(\"x\", input.token.comment)\n",
			tests: "package patrol.token.old_test\n\nimport data.patrol.token.old\n\ntest_fires if old.deny == {\"old\"} with input as {\"token\": {\"comment\": \"\"}}\n\ntest_silent if count(old.deny) == 0 with input as {\"token\": {\"comment\": \"x\"}}\n",
			meta: func(m string) string {
				return strings.Replace(m, "#   params: {max_age: {default: 90, description: Days}}\n", "", 1)
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			meta := lintable
			if tc.meta != nil {
				meta = tc.meta(meta)
			}
			files := map[string]string{"token/old.rego": meta + tc.rule}
			if tc.tests != "" {
				files["token/old_test.rego"] = tc.tests
			}
			set, err := Load(t.Context(), schemas(t), pack("mine", files))
			if err != nil {
				t.Fatal(err)
			}
			problems, err := set.Lint(t.Context(), "mine", TestRun{})
			if err != nil {
				t.Fatal(err)
			}
			var reasons []string
			for _, p := range problems {
				reasons = append(reasons, p.Reason)
			}
			if got, want := strings.Join(reasons, " "), strings.Join(tc.want, " "); got != want {
				t.Errorf("reasons %q, want %q:\n%v", got, want, problems)
			}
		})
	}
}

func TestBuiltInPoliciesAreLintFree(t *testing.T) {
	t.Parallel()
	set, err := Load(t.Context(), Pack{Name: "built-in", FS: policies.FS})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := set.Lint(t.Context(), "built-in", TestRun{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
