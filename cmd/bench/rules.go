package main

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

//go:embed rules/rules.rego
var rules embed.FS

const (
	// six are the policies that rules.rego repeats.
	six = "PAT-001,PAT-002,PAT-004,PAT-005,PAT-008,PAT-009"
	// conftestModule is pinned; opa is that of go.mod.
	conftestModule = "github.com/open-policy-agent/conftest@v0.71.1"
	opaModule      = "github.com/open-policy-agent/opa"
)

// rules lets opa eval, conftest test and patrol judge the same tokens by the same
// rules, holds their findings against each other, and prints ratios.
func (b *bench) rules(ctx context.Context) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	tools, err := filepath.Abs(cmp.Or(b.tools, filepath.Join(cache, "patrol-bench")))
	if err != nil {
		return err
	}
	for name, module := range map[string]string{"opa": opaModule, "conftest": conftestModule} {
		if _, err := os.Stat(filepath.Join(tools, name)); err == nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "building %s, once\n", name)
		cmd := exec.CommandContext(ctx, "go", "install", module)
		cmd.Env, cmd.Stderr = append(os.Environ(), "GOBIN="+tools, "CGO_ENABLED=0"), os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
	}
	_, address, stop, err := b.serve(ctx, "--workspaces", "1", "--tokens", fmt.Sprint(b.tokens))
	if err != nil {
		return err
	}
	defer stop()
	at := time.Now().UTC().Truncate(time.Second)
	text, err := rules.ReadFile("rules/rules.rego")
	if err != nil {
		return err
	}
	tokens, err := get(ctx, address+"/api/2.0/token-management/tokens") // as the Databricks CLI prints it
	if err != nil {
		return err
	}
	for _, s := range b.sides {
		if err := errors.Join(os.WriteFile(s.path("tokens.json"), tokens, 0o600),
			os.WriteFile(s.path("rules.rego"), text, 0o600),
			os.WriteFile(s.path("data.json"), fmt.Appendf(nil, `{"as_of": %d}`, at.UnixMilli()), 0o600)); err != nil {
			return err
		}
	}
	judge := []string{"--only", six, "--as-of", at.Format(time.RFC3339), "--fail-on", "none", "-q", "--db", "from.db"}
	b.header("%d tokens, six rules", b.tokens)
	// Outputs are not called after those who wrote them: conftest would take
	// conftest.json for its settings.
	contestants := []struct {
		name string
		job  job
		read func([]byte) ([]string, error)
	}{
		{"opa eval", job{binary: filepath.Join(tools, "opa"), output: "found-opa.json",
			args: []string{"eval", "--format", "json", "--data", "rules.rego", "--data", "data.json", "--input", "tokens.json", "data.main.deny"}}, readOPA},
		{"conftest test", job{binary: filepath.Join(tools, "conftest"), output: "found-conftest.json", found: []int{1},
			args: []string{"test", "--output", "json", "--policy", "rules.rego", "--data", "data.json", "tokens.json"}}, readConftest},
		{"patrol audit --from", job{args: append([]string{"audit", "--from", "tokens.json", "--format", "json", "-o", "-"}, judge...), fresh: "from.db", output: "found-patrol.json", found: []int{4}}, readPatrol},
		{"patrol evaluate (stored)", job{args: append([]string{"evaluate"}, judge...), found: []int{4}}, nil},
	}
	costs := map[string]cost{}
	var found map[string]bool
	for _, c := range contestants {
		if costs[c.name], err = b.row(ctx, c.name, c.job); err != nil {
			return err
		}
		if c.read == nil {
			continue
		}
		text, err := os.ReadFile(b.sides[0].path(c.job.output))
		if err != nil {
			return err
		}
		keys, err := c.read(text)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		got := map[string]bool{}
		for _, key := range keys {
			got[key] = true
		}
		if found != nil && !maps.Equal(found, got) {
			return fmt.Errorf("%s finds something else than those before it: %d and %d findings", c.name, len(got), len(found))
		}
		found = got
	}
	fmt.Printf("\nAll find the same %d findings. %d processors, %s.\n", len(found), runtime.NumCPU(), runtime.Version())
	for name, limit := range map[string]float64{"opa eval": 12, "conftest test": 25} {
		wall, _, peak := costs[name].over(costs["patrol evaluate (stored)"])
		b.goal(name+" over patrol evaluate, wall", wall, -limit)
		b.goal(name+" over patrol evaluate, memory", peak, -10)
	}
	return nil
}

// get is an answer of the simulated account.
func get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer any")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", address, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// readPatrol returns "PAT-001 <token>" for each failed result. Results that are
// unknown are not of the six rules: a list tells nothing of owners.
func readPatrol(text []byte) (found []string, err error) {
	var audit struct {
		Results []struct {
			Policy, Status string
			ResourceID     string `json:"resource_id"`
		} `json:"results"`
	}
	err = json.Unmarshal(text, &audit)
	for _, r := range audit.Results {
		if r.Status != "fail" {
			return nil, fmt.Errorf("%s on %s is %s", r.Policy, r.ResourceID, r.Status)
		}
		found = append(found, r.Policy+" "+r.ResourceID)
	}
	return found, err
}

// message is an element of deny. It begins with the rule and the token.
type message struct{ Msg string }

func keys(messages []message) (found []string) {
	for _, m := range messages {
		words := strings.SplitN(m.Msg, " ", 3)
		found = append(found, strings.Join(words[:min(len(words), 2)], " "))
	}
	return found
}

func readOPA(text []byte) ([]string, error) {
	var answer struct {
		Result []struct{ Expressions []struct{ Value []message } }
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	if len(answer.Result) != 1 || len(answer.Result[0].Expressions) != 1 {
		return nil, errors.New("opa has no result")
	}
	return keys(answer.Result[0].Expressions[0].Value), nil
}

func readConftest(text []byte) (found []string, err error) {
	var answer []struct{ Failures []message }
	err = json.Unmarshal(text, &answer)
	for _, file := range answer {
		found = append(found, keys(file.Failures)...)
	}
	return found, err
}
