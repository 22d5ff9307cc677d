package eval

import (
	"fmt"
	"strings"
	"testing"

	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/policy"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	set := load(t, enginetest.TokenPolicy("params: {limit: {default: 20, description: Days}}",
		"deny contains \"old\" if {\n\tinput.token.age_days > input.params.limit\n\tinput.token.used\n}"))
	job := Job{Snapshot: covered(nil), AsOf: asOf(), Tuning: map[string]policy.Tuning{"T-1": {Params: map[string]any{"limit": 25}}}}
	for _, tc := range []struct {
		name   string
		change func(*engine.Token)
		status engine.Status
		held   string
	}{
		{"fires", nil, engine.Fail, "true true true"},
		{"first condition fails", func(t *engine.Token) { t.Created = ptr(asOf().UnixMilli() - engine.Day) }, engine.Pass, "false"},
		{"second condition fails", func(t *engine.Token) { t.LastUsed = nil }, engine.Pass, "true false"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			subject := healthy(tc.change)
			got, err := set.Explain(t.Context(), job, "T-1", Explained{Token: &subject})
			if err != nil {
				t.Fatal(err)
			}
			var held []string
			for _, line := range got.Lines {
				held = append(held, fmt.Sprint(line.Held))
			}
			if got.Status != tc.status || strings.Join(held, " ") != tc.held {
				t.Errorf("%s, lines %+v; want %s, %s", got.Status, got.Lines, tc.status, tc.held)
			}
			if len(got.Facts) != 2 || got.Facts[0].Name != "token.age_days" || got.Facts[0].Value == "" {
				t.Errorf("facts %+v", got.Facts)
			}
			if len(got.Params) != 1 || got.Params[0].Value != "25" {
				t.Errorf("params %+v", got.Params)
			}
		})
	}
}

func TestExplainNeverShowsASecret(t *testing.T) {
	t.Parallel()
	set := load(t, enginetest.TokenPolicy("", "deny contains \"x\" if contains(input.token.comment, \"dapi\")"))
	secret := "dapi" + strings.Repeat("0a", 16)
	subject := healthy(func(t *engine.Token) { t.Comment = "use " + secret })
	got, err := set.Explain(t.Context(), Job{Snapshot: covered(nil), AsOf: asOf()}, "T-1", Explained{Token: &subject})
	if err != nil || got.Status != engine.Fail {
		t.Fatalf("%+v %v", got, err)
	}
	if strings.Contains(fmt.Sprint(got), secret) {
		t.Errorf("the secret stands in %+v", got)
	}
}
