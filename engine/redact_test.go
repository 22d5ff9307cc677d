package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"patrol/engine"
)

func TestRedactedReport(t *testing.T) {
	t.Parallel()
	secret := "dapi" + strings.Repeat("0123456789abcdef", 2)
	evidence := map[string]any{"comment": secret, "days": 90, "scopes": []any{"sql", secret}, "more": map[string]any{"note": secret}}
	value := "https://x:" + secret + "@git.example.com"
	settings := engine.Settings{"projectsAllowList": {Value: &value}, "enableDcs": {Detail: "neither text nor null: {" + secret + "}"}, "enableWebTerminal": {}}
	r := engine.Report{
		Findings: func(yield func(engine.Finding, error) bool) {
			yield(engine.Finding{Message: "comment is " + secret, Evidence: evidence}, nil)
		},
		Tokens: func(yield func(engine.TokenRow, error) bool) {
			yield(engine.TokenRow{Subject: engine.Subject{Token: engine.Token{Comment: secret}}}, nil)
		},
		Workspaces: []engine.WorkspaceReport{{Settings: settings}},
		Trend:      &engine.Trend{New: []engine.Finding{{Message: "new: " + secret}}},
	}.Redacted()
	shown := r.Workspaces[0].Settings
	if got := *shown["projectsAllowList"].Value; got != "https://x:[redacted Databricks token]@git.example.com" {
		t.Error(got)
	}
	if got := shown["enableDcs"].Detail; got != "neither text nor null: {[redacted Databricks token]}" {
		t.Error(got)
	}
	if shown["enableWebTerminal"] != (engine.Setting{}) || r.Trend.New[0].Message != "new: [redacted Databricks token]" {
		t.Error(shown, r.Trend.New)
	}
	for f := range r.Findings {
		if text := fmt.Sprint(f); strings.Contains(text, secret) || !strings.Contains(text, "90") {
			t.Error(text)
		}
	}
	for row := range r.Tokens {
		if row.Token.Comment != "[redacted Databricks token]" {
			t.Error(row.Token.Comment)
		}
	}
	if evidence["comment"] != secret || *settings["projectsAllowList"].Value != value {
		t.Error("the original was changed")
	}
}

// TestKeysOfEvidenceAreRedacted: a policy may make keys of what people wrote.
func TestKeysOfEvidenceAreRedacted(t *testing.T) {
	t.Parallel()
	one, two := "dapi"+strings.Repeat("a", 32), "dapi"+strings.Repeat("b", 32)
	f := engine.Finding{Evidence: map[string]any{
		one: 1, two: 2, "plain": map[string]any{"words": []any{map[string]any{"password=hunter22": one}}},
	}}
	text, err := json.Marshal(f.Redacted().Evidence)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"[redacted Databricks token]":1,"[redacted Databricks token] (2)":2,"plain":{"words":[{"password=[redacted password]":"[redacted Databricks token]"}]}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if _, kept := f.Evidence[one]; !kept {
		t.Error("the original was changed")
	}
}
