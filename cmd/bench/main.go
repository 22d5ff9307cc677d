// Command bench measures patrol as whole processes: wall time, processor time
// and peak memory of each command on a simulated account, in one workspace and
// in three hundred; then the same six rules by patrol, by opa eval and by
// conftest test on the same tokens, which must all find the same. It prints
// tables with ratios within the one run, and a verdict on each goal. With
// -against it measures the patrol of another commit beside this one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	var b bench
	patrol := flag.String("patrol", "bin/patrol", "the patrol to measure")
	against := flag.String("against", "", "measure the patrol of this commit beside it")
	only := flag.String("only", "steps,fleet,account,rules", "what to measure; history as well: daily snapshots, which take half an hour")
	flag.StringVar(&b.tools, "tools", "", "directory for opa and conftest, built when missing (default: the user's cache)")
	flag.IntVar(&b.tokens, "tokens", 100_000, "tokens in the one workspace")
	flag.IntVar(&b.runs, "runs", 3, "runs of which the fastest counts")
	flag.IntVar(&b.days, "days", 365, "days of the history")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, *patrol, *against, strings.Split(*only, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench runs processes, each side in a directory of its own.
type bench struct {
	tools              string
	tokens, runs, days int
	sides              []side
	goals              []string // verdicts, printed at the end
}

// side is a patrol to measure. The first is the one that it is about.
type side struct{ name, binary, dir string }

func (s side) path(name string) string { return filepath.Join(s.dir, name) }

func (b *bench) run(ctx context.Context, patrol, against string, only []string) (err error) {
	dir, err := os.MkdirTemp("", "patrol-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := filepath.Abs(patrol)
	if err != nil {
		return err
	}
	b.runs = max(b.runs, 1)
	b.sides = []side{{"this", binary, filepath.Join(dir, "this")}}
	if against != "" {
		other := side{against, filepath.Join(dir, "patrol-against"), filepath.Join(dir, "against")}
		if err := buildAt(ctx, against, filepath.Join(dir, "worktree"), other.binary); err != nil {
			return err
		}
		b.sides = append(b.sides, other)
	}
	for _, s := range b.sides {
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"steps", b.steps}, {"fleet", b.fleet}, {"account", b.account}, {"rules", b.rules}, {"history", b.history}} {
		if i := slices.Index(only, part.name); i >= 0 {
			only = slices.Delete(only, i, i+1)
			if err := part.measure(ctx); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	if len(only) > 0 {
		return fmt.Errorf("-only: nothing is called %q", only)
	}
	fmt.Print("\nGoals:\n")
	for _, goal := range b.goals {
		fmt.Println("  " + goal)
	}
	return nil
}

// step is a row of a table.
type step struct {
	name string
	job  job
}

// table measures steps one after the other, under a header.
func (b *bench) table(ctx context.Context, header string, steps []step) (costs map[string]cost, err error) {
	b.header("%s", header)
	costs = map[string]cost{}
	for _, s := range steps {
		if costs[s.name], err = b.row(ctx, s.name, s.job); err != nil {
			return nil, err
		}
	}
	return costs, nil
}

// goal notes whether a ratio is what it should be: at most so much, or for a
// negative limit at least its amount.
func (b *bench) goal(what string, ratio, limit float64) {
	verdict, sign := "met   ", "at most"
	if limit < 0 {
		ratio, sign = -ratio, "at least"
	}
	if ratio > limit {
		verdict = "MISSED"
	}
	b.goals = append(b.goals, fmt.Sprintf("%s  %s: %.2f, %s %.1f", verdict, what, abs(ratio), sign, abs(limit)))
}

func abs(x float64) float64 { return max(x, -x) }

// buildAt builds the patrol of a commit from a worktree that it takes away again.
func buildAt(ctx context.Context, commit, worktree, binary string) (err error) {
	git := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Stderr = os.Stderr
		return cmd.Run()
	}
	if err := git("worktree", "add", "--quiet", "--detach", worktree, commit); err != nil {
		return fmt.Errorf("check out %s: %w", commit, err)
	}
	defer func() { err = errors.Join(err, git("worktree", "remove", "--force", worktree)) }()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", binary, "./cmd/patrol")
	cmd.Dir, cmd.Stderr = worktree, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", commit, err)
	}
	return nil
}
