package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

//go:embed rules/rules.rego
var rulesRego []byte

const (
	// six are the policies that rules.rego repeats.
	six = "PAT-001,PAT-002,PAT-004,PAT-005,PAT-008,PAT-009"
	// conftestModule is pinned; opa is that of go.mod.
	conftestModule = "github.com/open-policy-agent/conftest@v0.71.1"
	opaModule      = "github.com/open-policy-agent/opa"
)

// rules lets opa eval, conftest test and patrol judge the same tokens by the same
// rules, and holds their findings against each other.
func (b *bench) rules(ctx context.Context) error {
	tools, err := b.buildTools(ctx)
	if err != nil {
		return err
	}
	account, err := b.simulate(ctx, 1, b.tokens)
	if err != nil {
		return err
	}
	defer account.stop()
	at := time.Now().UTC().Truncate(time.Second)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, account.address+"/api/2.0/token-management/tokens", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer any")
	for _, s := range b.sides {
		tokens, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer tokens.Body.Close()
		list, err := os.Create(s.path("tokens.json")) // as the Databricks CLI prints it
		if err != nil {
			return err
		}
		_, err = io.Copy(list, tokens.Body)
		if tokens.StatusCode != http.StatusOK {
			err = fmt.Errorf("tokens of the simulated account: %s", tokens.Status)
		}
		if err := errors.Join(err, list.Close(), os.WriteFile(s.path("rules.rego"), rulesRego, 0o600),
			os.WriteFile(s.path("data.json"), fmt.Appendf(nil, `{"as_of": %d}`, at.UnixMilli()), 0o600)); err != nil {
			return err
		}
	}
	judge := []string{"--only", six, "--as-of", at.Format(time.RFC3339), "--fail-on", "none", "-q", "--db", "from.db"}
	// Outputs are not called after those who wrote them: conftest would take
	// conftest.json for its settings.
	opa := step{name: "opa eval", binary: filepath.Join(tools, "opa"), output: "found-opa.json",
		args: []string{"eval", "--format", "json", "--data", "rules.rego", "--data", "data.json", "--input", "tokens.json", "data.main.deny"}}
	conftest := step{name: "conftest test", binary: filepath.Join(tools, "conftest"), output: "found-conftest.json", found: []int{1},
		args: []string{"test", "--output", "json", "--policy", "rules.rego", "--data", "data.json", "tokens.json"}}
	list := step{name: "patrol audit --from", output: "found-patrol.json", found: []int{4}, fresh: "from.db",
		args: append([]string{"audit", "--from", "tokens.json", "--format", "json", "-o", "-"}, judge...)}
	stored := step{name: "patrol evaluate (stored)", args: append([]string{"evaluate"}, judge...), found: []int{4}}
	costs, err := b.table(ctx, fmt.Sprintf("%d tokens, six rules", b.tokens), []step{opa, conftest, list, stored})
	if err != nil {
		return err
	}
	found, err := failedIn(b.sides[0].path(list.output))
	if err != nil {
		return err
	}
	// A message of the rules begins with the policy and the token.
	finding := regexp.MustCompile(`PAT-\d{3} [0-9a-f]{64}`)
	for _, other := range []step{opa, conftest} {
		text, err := os.ReadFile(b.sides[0].path(other.output))
		if err != nil {
			return err
		}
		theirs := map[string]bool{}
		for _, key := range finding.FindAllString(string(text), -1) {
			theirs[key] = true
		}
		if !maps.Equal(found, theirs) {
			return fmt.Errorf("%s finds something else than patrol: %d and %d findings", other.name, len(theirs), len(found))
		}
	}
	fmt.Printf("\nAll find the same %d findings.\n", len(found))
	patrol := costs[stored.name][0]
	for _, other := range []struct {
		name  string
		limit float64
	}{{opa.name, 12}, {conftest.name, 25}} {
		b.timeGoal(other.name+" over patrol evaluate, six rules", costs[other.name][0], patrol, "≥", other.limit)
		b.memoryGoal(other.name+" over patrol evaluate, six rules", costs[other.name][0], patrol, "≥", 10)
	}
	return nil
}

// buildTools returns the directory in which opa and conftest are.
func (b *bench) buildTools(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil && b.tools == "" {
		return "", err
	}
	tools, err := filepath.Abs(cmp.Or(b.tools, filepath.Join(cache, "patrol-bench")))
	if err != nil {
		return "", err
	}
	for name, module := range map[string]string{"opa": opaModule, "conftest": conftestModule} {
		if _, err := os.Stat(filepath.Join(tools, name)); err == nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: building %s, once\n", name)
		cmd := exec.CommandContext(ctx, "go", "install", module)
		cmd.Env, cmd.Stderr = append(os.Environ(), "GOBIN="+tools, "CGO_ENABLED=0"), os.Stderr
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("build %s: %w", name, err)
		}
	}
	return tools, nil
}

// failedIn returns "PAT-001 <token>" for each failed result of an audit.json. None
// of the six rules is unknown: they ask for nothing that a list does not say.
func failedIn(path string) (map[string]bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var audit struct {
		Results []struct {
			Policy, Status string
			ResourceID     string `json:"resource_id"`
		} `json:"results"`
	}
	if err := json.Unmarshal(text, &audit); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	found := map[string]bool{}
	for _, r := range audit.Results {
		if r.Status != "fail" {
			return nil, fmt.Errorf("%s on %s is %s", r.Policy, r.ResourceID, r.Status)
		}
		found[r.Policy+" "+r.ResourceID] = true
	}
	return found, nil
}
