package policy

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"golang.org/x/sync/errgroup"

	"patrol/policies"
)

// leastCaught is the percentage of mutants that the Rego tests must catch.
const leastCaught = 95

// TestMutants changes each line of each policy and of the library in turn, and
// asks of the tests beside it that one of them fails: a line that can go
// unnoticed is a line that nobody tests. Mutants that do not compile do not count.
func TestMutants(t *testing.T) {
	t.Parallel()
	if os.Getenv("PATROLTEST_MUTATE") == "" {
		t.Skip("set PATROLTEST_MUTATE=1, or run `make mutate`")
	}
	modules := parsePack(t)
	var mu sync.Mutex
	var caught, all int
	var survivors []string
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(2)
	for file := range modules {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		group.Go(func() error {
			for _, m := range mutants(file) {
				compiles, failed, err := m.run(ctx, modules)
				if err != nil {
					return fmt.Errorf("%s: %w", m, err)
				}
				if !compiles {
					continue
				}
				mu.Lock()
				all++
				if failed {
					caught++
				} else {
					survivors = append(survivors, m.String())
				}
				mu.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d mutants caught: %.1f %%", caught, all, 100*float64(caught)/float64(all))
	for _, survivor := range sorted(survivors) {
		t.Log("not caught: " + survivor)
	}
	if all == 0 || 100*caught < leastCaught*all {
		t.Errorf("want at least %d %%", leastCaught)
	}
}

func parsePack(t *testing.T) map[string]*ast.Module {
	t.Helper()
	modules := map[string]*ast.Module{}
	files, err := fs.Glob(policies.FS, "*/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := policies.FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		modules[file] = ast.MustParseModuleWithOpts(string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
	}
	return modules
}

// mutant is a policy with one line changed.
type mutant struct {
	file   string
	line   int
	change string
	text   string
}

func (m mutant) String() string { return fmt.Sprintf("%s:%d: %s", m.file, m.line, m.change) }

// flips are changes within a line.
func flips() [][2]string {
	return [][2]string{
		{" >= ", " > "}, {" > ", " >= "}, {" <= ", " < "}, {" < ", " <= "}, {" == ", " != "}, {" != ", " == "},
		{" > ", " < "}, {" < ", " > "}, {"not ", ""}, {"if input", "if not input"}, {"true", "false"}, {"false", "true"},
	}
}

var notARule = regexp.MustCompile(`^(?:\s*#.*|\s*|package .*|import .*|[\s)}\]]*,?)$`)

func mutants(file string) []mutant {
	text, err := policies.FS.ReadFile(file)
	if err != nil {
		panic(err) // it was just parsed
	}
	lines := strings.Split(string(text), "\n")
	var all []mutant
	add := func(i int, change, line string) {
		changed := append([]string{}, lines...)
		changed[i] = line
		all = append(all, mutant{file, i + 1, change, strings.Join(changed, "\n")})
	}
	for i, line := range lines {
		if notARule.MatchString(line) {
			continue
		}
		add(i, "without "+strings.TrimSpace(line), "")
		for _, flip := range flips() {
			if strings.Contains(line, flip[0]) {
				add(i, fmt.Sprintf("%q for %q in %s", flip[1], flip[0], strings.TrimSpace(line)), strings.Replace(line, flip[0], flip[1], 1))
			}
		}
	}
	return all
}

// run runs the tests beside the mutant. It does not compile where the parser,
// the compiler, or a reference to a rule that is gone says so.
func (m mutant) run(ctx context.Context, pack map[string]*ast.Module) (compiles, failed bool, err error) {
	changed, err := ast.ParseModuleWithOpts(m.file, m.text, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil || changed == nil {
		return false, false, nil
	}
	modules := map[string]*ast.Module{m.file: changed}
	test := strings.TrimSuffix(m.file, ".rego") + "_test.rego"
	for file, module := range pack {
		if file != m.file && (file == test || strings.HasPrefix(file, "lib/") && (file == "lib/fixtures_test.rego" || !strings.HasSuffix(file, "_test.rego"))) {
			modules[file] = module.Copy()
		}
	}
	store := inmem.New()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return false, false, err
	}
	defer store.Abort(ctx, txn)
	results, err := tester.NewRunner().SetCompiler(ast.NewCompiler().WithStrict(true)).SetStore(store).SetModules(modules).
		RaiseBuiltinErrors(true).SetParallel(1).RunTests(ctx, txn)
	if err != nil {
		return false, false, ctx.Err()
	}
	for result := range results {
		failed = failed || result != nil && (result.Fail || result.Error != nil)
	}
	return true, failed, ctx.Err()
}
