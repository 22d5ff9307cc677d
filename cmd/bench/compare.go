package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

//go:embed rules/rules.rego
var rules embed.FS

// six are the policies that rules.rego repeats.
const six = "PAT-001,PAT-002,PAT-004,PAT-005,PAT-008,PAT-009"

// conftestModule is pinned; opa is that of go.mod.
const (
	conftestModule = "github.com/open-policy-agent/conftest@v0.71.1"
	opaModule      = "github.com/open-policy-agent/opa"
)

// rival is a contestant: what to run, and how to read what it found.
type rival struct {
	name    string
	job     job
	fresh   string // database to be made anew before each run
	read    func(text []byte) (map[string]bool, error)
	measure cost
}

// compare lets patrol, opa eval and conftest test judge the same tokens by the
// same rules, holds their findings against each other, and prints ratios.
func (b *bench) compare(ctx context.Context, a *account) error {
	tools, err := b.build(ctx)
	if err != nil {
		return err
	}
	at := time.Now().UTC().Truncate(time.Second)
	if err := b.corpus(ctx, a, at); err != nil {
		return err
	}
	rivals := b.rivals(tools, at)
	var found map[string]bool
	for i := range rivals {
		r := &rivals[i]
		if err := b.contest(ctx, r); err != nil {
			return err
		}
		got, err := b.findings(*r)
		if err != nil {
			return err
		}
		if found == nil {
			found = got
		}
		if err := same(found, got); err != nil {
			return fmt.Errorf("%s and %s differ: %w", rivals[0].name, r.name, err)
		}
	}
	report(rivals, b.tokens)
	return b.byHand(ctx, found, at)
}

// byHand judges the stored tokens in plain Go, the floor of the comparison.
func (b *bench) byHand(ctx context.Context, found map[string]bool, at time.Time) error {
	db, err := b.stored()
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	var got map[string]bool
	c, err := b.within(nothing, func() error {
		got, err = loop(ctx, db, at.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("judge by hand: %w", err)
	}
	c.print("floor: the same by hand in Go")
	if err := same(found, got); err != nil {
		return fmt.Errorf("the loop by hand differs: %w", err)
	}
	fmt.Printf("\nAll find the same %d findings. %d processors, %s.\n", len(found), runtime.NumCPU(), runtime.Version())
	return nil
}

// build builds what is missing of the rivals.
func (b *bench) build(ctx context.Context) (string, error) {
	dir, err := b.toolsDir()
	if err != nil {
		return "", err
	}
	for name, module := range map[string]string{"opa": opaModule, "conftest": conftestModule} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "building %s, once\n", name)
		cmd := exec.CommandContext(ctx, "go", "install", module)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("build %s: %w", name, err)
		}
	}
	return dir, nil
}

// corpus writes the tokens and the rules for everybody.
func (b *bench) corpus(ctx context.Context, a *account, at time.Time) error {
	text, err := rules.ReadFile("rules/rules.rego")
	if err != nil {
		return err
	}
	return errors.Join(
		a.dump(ctx, b.path("tokens.json")),
		os.WriteFile(b.path("rules.rego"), text, 0o600),
		os.WriteFile(b.path("data.json"), fmt.Appendf(nil, `{"as_of": %d}`, at.UnixMilli()), 0o600))
}

// rivals are the contestants. Their outputs are not called after them: conftest
// would take conftest.json for its settings.
func (b *bench) rivals(tools string, at time.Time) []rival {
	judge := []string{"--only", six, "--as-of", at.Format(time.RFC3339), "--fail-on", "none", "-q"}
	stored := append([]string{"evaluate"}, judge...)
	audit := append([]string{"audit", "--from", "tokens.json", "--db", "from.db", "--format", "json", "-o", "-"}, judge...)
	report := []string{"report", "--format", "json", "-o", "-"}
	return []rival{
		{name: "opa eval", read: readOPA, job: job{
			binary: filepath.Join(tools, "opa"), output: "found-opa.json",
			args: []string{"eval", "--format", "json", "--data", "rules.rego", "--data", "data.json", "--input", "tokens.json", "data.main.deny"},
		}},
		{name: "conftest test", read: readConftest, job: job{
			binary: filepath.Join(tools, "conftest"), output: "found-conftest.json", found: 1,
			args: []string{"test", "--output", "json", "--policy", "rules.rego", "--data", "data.json", "tokens.json"},
		}},
		{name: "patrol audit --from", read: readPatrol, fresh: "from.db", job: job{binary: b.patrol, args: audit, output: "found-patrol.json"}},
		{name: "patrol evaluate (stored)", read: b.reader(report), job: job{binary: b.patrol, args: stored}},
	}
}

func (b *bench) contest(ctx context.Context, r *rival) (err error) {
	prepare := nothing
	if r.fresh != "" {
		prepare = func() error { return b.remove(r.fresh) }
	}
	r.measure, err = b.best(ctx, prepare, r.job)
	return err
}

func (b *bench) findings(r rival) (map[string]bool, error) {
	if r.job.output == "" {
		return r.read(nil)
	}
	text, err := os.ReadFile(b.path(r.job.output))
	if err != nil {
		return nil, err
	}
	return r.read(text)
}

// reader reads what the last evaluation found by a report, which is not measured.
func (b *bench) reader(args []string) func([]byte) (map[string]bool, error) {
	return func([]byte) (map[string]bool, error) {
		_, err := b.measure(context.Background(), job{binary: b.patrol, args: args, output: "found-stored.json"})
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(b.path("found-stored.json"))
		if err != nil {
			return nil, err
		}
		return readPatrol(text)
	}
}

// same reports the first difference between two sets of findings.
func same(a, b map[string]bool) error {
	for key := range a {
		if !b[key] {
			return fmt.Errorf("%q is found by the first only (%d and %d findings)", key, len(a), len(b))
		}
	}
	for key := range b {
		if !a[key] {
			return fmt.Errorf("%q is found by the second only (%d and %d findings)", key, len(a), len(b))
		}
	}
	return nil
}

// report prints every contestant with how many times more than patrol's
// evaluation of stored tokens it takes.
func report(rivals []rival, tokens int) {
	base := rivals[len(rivals)-1].measure
	header(fmt.Sprintf("%d tokens, six rules", tokens), "× wall", "× peak")
	for _, r := range rivals {
		c := r.measure
		c.print(r.name, fmt.Sprintf("%.1f", c.wall.Seconds()/base.wall.Seconds()), fmt.Sprintf("%.1f", float64(c.peak)/float64(base.peak)))
	}
}

func readPatrol(text []byte) (map[string]bool, error) {
	var audit struct {
		Results []struct {
			Policy     string `json:"policy"`
			ResourceID string `json:"resource_id"`
			Status     string `json:"status"`
		} `json:"results"`
	}
	if err := json.Unmarshal(text, &audit); err != nil {
		return nil, err
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

// message is an element of deny. It begins with the rule and the token.
type message struct {
	Msg string `json:"msg"`
}

func collect(messages []message) (map[string]bool, error) {
	found := map[string]bool{}
	for _, m := range messages {
		var rule, token string
		if _, err := fmt.Sscan(m.Msg, &rule, &token); err != nil {
			return nil, fmt.Errorf("message %q: %w", m.Msg, err)
		}
		found[rule+" "+token] = true
	}
	return found, nil
}

func readOPA(text []byte) (map[string]bool, error) {
	var answer struct {
		Result []struct {
			Expressions []struct {
				Value []message `json:"value"`
			} `json:"expressions"`
		} `json:"result"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	if len(answer.Result) != 1 || len(answer.Result[0].Expressions) != 1 {
		return nil, errors.New("opa has no result")
	}
	return collect(answer.Result[0].Expressions[0].Value)
}

func readConftest(text []byte) (map[string]bool, error) {
	var answer []struct {
		Failures []message `json:"failures"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, err
	}
	var all []message
	for _, file := range answer {
		all = append(all, file.Failures...)
	}
	return collect(all)
}
