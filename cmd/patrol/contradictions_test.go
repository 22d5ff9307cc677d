package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"patrol/collectors/simulator"
	"patrol/engine/enginetest"
)

// TestContradictionsGainNothing: whatever contradicts itself in the answers of an
// account, one thing or several, no policy passes that fails by sound answers, and
// no step is planned that sound answers would not give.
func TestContradictionsGainNothing(t *testing.T) {
	enginetest.NotInRace(t)
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	orders := simulator.Contradictions()
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("limits.yaml", "remediation: {limits: {max_steps: 1000, max_percent: 100, max_per_owner: 1000, max_recently_used: 1000, max_endangered: 1000}}\n")
	t.Setenv("DATABRICKS_CONFIG_FILE", "databrickscfg")
	n := 0
	enginetest.Check(t, func(rt *rapid.T) {
		if n++; n > 8 {
			return // each run audits twice
		}
		account := simulator.New(simulator.Options{
			Seed: rapid.Uint64Range(1, 1000).Draw(rt, "seed"), Tokens: rapid.IntRange(20, 90).Draw(rt, "tokens"),
			Workspaces: 2, MaxPage: rapid.SampledFrom([]int{0, 5, 20}).Draw(rt, "page"), Now: func() time.Time { return at },
		})
		server := httptest.NewServer(account)
		defer server.Close()
		write("databrickscfg", account.ConfigFile(server.URL))
		db := fmt.Sprint(n, ".db")
		source := rapid.SampledFrom([][]string{{"--profile", "prod-analytics"}, {"--profile", "prod-analytics-oauth"}, {"--account", "account"}}).Draw(rt, "source")
		sound := auditForContradictions(rt, at, db, source)
		if len(sound.findings) == 0 || len(sound.steps) == 0 {
			rt.Fatalf("sound answers give %d findings and %d steps", len(sound.findings), len(sound.steps))
		}
		var names []string
		for range rapid.IntRange(1, 3).Draw(rt, "contradictions") {
			order := rapid.SampledFrom(orders).Draw(rt, "order")
			if err := account.Contradict(order.Name, ""); err != nil {
				rt.Fatal(err)
			}
			names = append(names, order.Name)
		}
		// Sometimes there is a snapshot before to hold lists against, sometimes not.
		if fresh := rapid.Bool().Draw(rt, "fresh"); fresh && !slices.ContainsFunc(names, func(name string) bool {
			return strings.HasSuffix(name, "/shrunk") || strings.HasSuffix(name, "/none") // which only the snapshot before tells
		}) {
			db = fmt.Sprint(n, "-fresh.db")
		}
		wrong := auditForContradictions(rt, at, db, source)
		for _, f := range sound.findings {
			policy, rest, _ := strings.Cut(f, " ")
			if !slices.Contains(wrong.findings, f) && !slices.ContainsFunc(wrong.open, func(o string) bool { return o == policy+" "+strings.Fields(rest)[0] }) && wrong.passes(policy, strings.Fields(rest)) {
				rt.Errorf("%v: %s passes", names, f)
			}
		}
		for _, step := range wrong.steps {
			if !slices.Contains(sound.steps, step) {
				rt.Errorf("%v: step %s is planned", names, step)
			}
		}
	})
}

// contradicted is what an audit tells: findings as policy, workspace and resource;
// open are policies that are not judged everywhere in a workspace.
type contradicted struct {
	findings, open, steps, tokens, workspaces []string
}

// passes reports whether a resource was read and the policy judged it.
func (c contradicted) passes(policy string, of []string) bool {
	workspace, resource := of[0], of[1]
	return slices.Contains(c.workspaces, workspace) && (strings.HasPrefix(policy, "WS-") || slices.Contains(c.tokens, resource))
}

func auditForContradictions(rt *rapid.T, at time.Time, db string, source []string) (c contradicted) {
	patrol := func(args ...string) []byte {
		var out, talk bytes.Buffer
		e := &env{
			stdin: strings.NewReader(""), stdout: &out, stderr: &talk, now: func() time.Time { return at },
			lookup: func(string) (string, bool) { return "", false }, environ: func() []string { return nil }, version: "test", width: 120,
		}
		if code := run(context.Background(), e, append(args, "--config", "limits.yaml")); code == 2 || code > 5 {
			rt.Fatalf("%q ends with %d: %.2000s", args, code, talk.String())
		}
		return out.Bytes()
	}
	out := filepath.Join(strings.TrimSuffix(db, ".db") + "-out")
	_ = os.RemoveAll(out)
	patrol(append([]string{"audit", "-q", "--db", db, "--format", "json", "--output-dir", out}, source...)...)
	text, err := os.ReadFile(filepath.Join(out, "audit.json"))
	if err != nil {
		return c // nothing could be read at all
	}
	var report struct {
		Workspaces []struct {
			ID string `json:"workspace_id"`
		}
		Results []struct {
			Policy, Status, Resource string
			Workspace                string `json:"workspace_id"`
			ID                       string `json:"resource_id"`
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		rt.Fatal(err)
	}
	for _, w := range report.Workspaces {
		c.workspaces = append(c.workspaces, w.ID)
	}
	for _, r := range report.Results {
		switch id := strings.Join([]string{r.Policy, r.Workspace, r.ID}, " "); {
		case r.Status == "fail":
			c.findings = append(c.findings, id)
		case r.Resource == "workspace":
			c.open = append(c.open, r.Policy+" "+r.Workspace)
		default:
			c.findings = append(c.findings, id)
		}
	}
	var tokens []struct {
		ID string `json:"token_id"`
	}
	if json.Unmarshal(patrol("tokens", "--db", db, "--format", "json", "-q"), &tokens) == nil {
		for _, token := range tokens {
			c.tokens = append(c.tokens, token.ID)
		}
	}
	path := filepath.Join(out, "plan.json")
	patrol("plan", "-q", "--db", db, "-o", path)
	if text, err = os.ReadFile(path); err != nil {
		return c
	}
	var plan struct {
		Steps []struct{ Action, Target, Workspace string }
	}
	if err := json.Unmarshal(text, &plan); err != nil {
		rt.Fatal(err)
	}
	for _, s := range plan.Steps {
		c.steps = append(c.steps, fmt.Sprint(s.Action, " ", s.Workspace, " ", s.Target))
	}
	return c
}
