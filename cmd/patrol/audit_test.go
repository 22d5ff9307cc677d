package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patrol/collectors"
	"patrol/collectors/simulator"
	"patrol/engine"
	"patrol/engine/enginetest"
	"patrol/engine/eval"
	"patrol/engine/policy"
	"patrol/engine/store"
	"patrol/policies"
	"patrol/reports"
	"patrol/reports/table"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestListsReadBackGiveTheSameVerdicts: what `patrol tokens` writes of a snapshot,
// read back by --from, gives every token the same result under every policy that
// needs tokens alone, whatever the population.
func TestListsReadBackGiveTheSameVerdicts(t *testing.T) {
	enginetest.NotInRace(t)
	all, err := eval.Load(t.Context(), policy.Pack{Name: policy.BuiltIn, FS: policies.FS, Trusted: true})
	if err != nil {
		t.Fatal(err)
	}
	ofTokens := all.Select(func(p engine.Policy) bool { return slices.Equal(p.Needs, []string{"tokens"}) })
	if n := len(ofTokens.Policies()); n < 12 {
		t.Fatalf("%d policies need tokens alone", n)
	}
	asOf := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	dir, n := t.TempDir(), 0
	enginetest.Check(t, func(rt *rapid.T) {
		if n++; n > 25 {
			return // each run makes three databases
		}
		tokens := enginetest.Tokens(rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(1, 40).Draw(rt, "tokens"), asOf.UnixMilli())
		for i := range tokens { // what cannot be true is not believed of a file
			t := &tokens[i]
			for _, at := range []*int64{t.Created, t.LastUsed} {
				if at != nil {
					*at = min(*at, asOf.UnixMilli())
				}
			}
			if t.Created != nil && t.LastUsed != nil {
				*t.LastUsed = max(*t.LastUsed, *t.Created)
			}
			if t.Expires != nil && *t.Expires != engine.NeverExpires {
				for _, at := range []*int64{t.Created, t.LastUsed} {
					if at != nil {
						*t.Expires = max(*t.Expires, *at)
					}
				}
			}
			for _, scopes := range [][]string{t.Scopes, t.InferredScopes, t.BackfillScopes} {
				for n := range scopes {
					scopes[n] = strings.ToLower(scopes[n])
				}
			}
		}
		w := importWorld{rt, ofTokens, asOf, filepath.Join(dir, fmt.Sprint(n))}
		want, rows := w.judge("live", engine.Capture{
			Workspace: engine.Workspace{ID: "9265712442366781", Name: "prod"}, CollectedAt: asOf,
			Sections: map[engine.SectionName]engine.Section{engine.SectionTokens: {Coverage: engine.Coverage{Status: engine.Complete, Count: len(tokens)}, Tokens: each(tokens)}},
		})
		for _, format := range []string{"csv", "json"} {
			var text bytes.Buffer
			if err := reports.Tokens(context.Background(), &text, format, each(rows), table.Options{}); err != nil {
				rt.Fatal(err)
			}
			path := filepath.Join(dir, "list."+format)
			if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
				rt.Fatal(err)
			}
			outcomes, err := collectors.Import(context.Background(), path, collectors.ImportOptions{Options: collectors.Options{SpoolDir: dir, Now: func() time.Time { return asOf }}})
			if err != nil || len(outcomes) != 1 {
				rt.Fatalf("%d outcomes, %v\n%s", len(outcomes), err, &text)
			}
			got, _ := w.judge(format, outcomes[0].Capture)
			if err := outcomes[0].Close(); err != nil {
				rt.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("%s: -live +read back\n%s\n%s", format, diff, &text)
			}
		}
	})
}

func each[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, element := range list {
			if !yield(element, nil) {
				return
			}
		}
	}
}

type importWorld struct {
	t        *rapid.T
	policies *eval.Set
	asOf     time.Time
	path     string
}

// judge tells the result of each policy on each token, and the rows that a list has.
func (w importWorld) judge(name string, capture engine.Capture) (results []string, rows []engine.TokenRow) {
	ctx, path := context.Background(), w.path+name+".db"
	db, err := store.Open(ctx, path, store.Options{Mode: store.ReadWrite, Now: time.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	defer os.Remove(path)
	defer db.Close()
	snapshot, err := db.SaveSnapshot(ctx, capture)
	if err != nil {
		w.t.Fatal(err)
	}
	job := eval.Job{Snapshot: snapshot, AsOf: w.asOf, Tokens: func(among bool) iter.Seq2[engine.Subject, error] { return db.Subjects(ctx, snapshot.ID, w.asOf, among) }}
	tallies, err := w.policies.Evaluate(ctx, job, func(f engine.Finding) error {
		results = append(results, fmt.Sprint(f.Policy, " ", f.ResourceID, " ", f.Status))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(results)
	for _, id := range engine.SortedKeys(tallies) {
		results = append(results, fmt.Sprint(id, " ", tallies[id]))
	}
	o := &tokensOptions{}
	for row, err := range o.rows(ctx, db, []engine.Snapshot{snapshot}, w.asOf, func(_, _ string) bool { return true }) {
		if err != nil {
			w.t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return results, rows
}

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
		got := runHere(at, append(args, "--config", "limits.yaml")...)
		if got.code == 2 || got.code > 5 {
			rt.Fatalf("%q ends with %d: %.2000s", args, got.code, got.stderr)
		}
		return []byte(got.stdout)
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
