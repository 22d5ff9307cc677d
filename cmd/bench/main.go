// Command bench measures patrol as whole processes: wall time, processor time
// (user and system) and peak memory of its commands on simulated accounts, and
// of opa eval and conftest test by the same rules on the same tokens. Ratios
// within the one run count. It prints a table for each part, and at the end one
// with a verdict on each goal. With -against it builds the patrol of another
// commit and measures it beside this one, by turns.
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
	"time"
)

// part is something to measure.
type part struct {
	name    string
	measure func(*bench, context.Context) error
}

// parts are in the order in which they run. Those of usual take a quarter of an
// hour on two quiet processors, million and thousands an hour more.
var parts = []part{
	{"one", func(b *bench, ctx context.Context) error { return b.one(ctx, b.tokens) }},
	{"rules", (*bench).rules},
	{"fleet", func(b *bench, ctx context.Context) error {
		return b.fleets(ctx, fleet{1, b.workspaces * 50}, fleet{b.workspaces, 50}, 1.5)
	}},
	{"days", (*bench).daily},
	{"account", (*bench).account},
	{"million", func(b *bench, ctx context.Context) error { return b.one(ctx, 1_000_000) }},
	{"thousands", func(b *bench, ctx context.Context) error {
		return b.fleets(ctx, fleet{b.workspaces, 50}, fleet{10 * b.workspaces, 50}, 10)
	}},
}

const usual = "one,rules,fleet,days"

func main() {
	var b bench
	patrol := flag.String("patrol", "bin/patrol", "the patrol to measure")
	against := flag.String("against", "", "measure the patrol of this commit beside it, or this program")
	only := flag.String("only", usual, "the parts to measure; there are account, million and thousands as well")
	fill := flag.String("fill", "", "make the history of -days days in this database, and nothing else")
	flag.StringVar(&b.tools, "tools", "", "directory for opa and conftest, built when missing (default: the user's cache)")
	flag.IntVar(&b.tokens, "tokens", 100_000, "tokens of one, rules and days")
	flag.IntVar(&b.workspaces, "workspaces", 300, "workspaces of the fleet")
	flag.IntVar(&b.days, "days", 7, "days of the history")
	flag.IntVar(&b.runs, "runs", 3, "runs of which the fastest counts")
	flag.DurationVar(&b.budget, "budget", 20*time.Second, "start no further run of a row that took so long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	run := func() error { return b.run(ctx, *patrol, *against, strings.Split(*only, ",")) }
	if *fill != "" {
		run = func() error { return saveDays(ctx, *fill, b.days, b.tokens) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	tools                    string
	tokens, workspaces, days int
	runs                     int
	budget                   time.Duration
	sides                    []side
	busy                     bool // other programs take processor time from the part under way
	verdicts                 []string
}

// side is a patrol to measure, with a directory of its own. The first is the one
// that this run is about.
type side struct{ name, binary, dir string }

func (s side) path(name string) string { return filepath.Join(s.dir, name) }

func (b *bench) run(ctx context.Context, patrol, against string, only []string) (err error) {
	for _, name := range only {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return fmt.Errorf("-only: nothing is called %q", name)
		}
	}
	dir, err := os.MkdirTemp("", "patrol-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := filepath.Abs(patrol)
	if err != nil {
		return err
	}
	b.sides = []side{{"this", binary, filepath.Join(dir, "this")}}
	if against != "" {
		other := side{against, filepath.Join(dir, "patrol-against"), filepath.Join(dir, "against")}
		if info, err := os.Stat(against); err == nil && info.Mode().IsRegular() {
			if other.binary, err = filepath.Abs(against); err != nil {
				return err
			}
		} else if err := buildAt(ctx, against, filepath.Join(dir, "worktree"), other.binary); err != nil {
			return err
		}
		b.sides = append(b.sides, other)
	}
	for _, s := range b.sides {
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			return err
		}
	}
	for _, p := range parts {
		if !slices.Contains(only, p.name) {
			continue
		}
		if b.busy = machineIsBusy(); b.busy {
			fmt.Fprintf(os.Stderr, "bench: %s: this machine is busy; goals of time are held to processor time\n", p.name)
		}
		if err := p.measure(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	fmt.Print("\n| goal | is | limit | by | verdict |\n|---|---:|---:|---|---|\n")
	for _, verdict := range b.verdicts {
		fmt.Println(verdict)
	}
	return nil
}

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

// timeGoal holds the time of a against that of other, more being that to which at
// most or at least refers: wall time, or processor time on a busy machine.
func (b *bench) timeGoal(what string, a, other cost, sign string, limit float64) {
	if b.busy {
		b.goal(what, "processor time", a.cpu.Seconds()/other.cpu.Seconds(), sign, limit)
		return
	}
	b.goal(what, "wall time", a.wall.Seconds()/other.wall.Seconds(), sign, limit)
}

// memoryGoal holds a peak against another, where both are known.
func (b *bench) memoryGoal(what string, a, other cost, sign string, limit float64) {
	if a.peak == 0 || other.peak == 0 {
		b.verdicts = append(b.verdicts, fmt.Sprintf("| %s | | %s %g | peak memory | unknown |", what, sign, limit))
		return
	}
	b.goal(what, "peak memory", float64(a.peak)/float64(other.peak), sign, limit)
}

// goal notes whether what was measured is at most (≤) or at least (≥) the limit.
func (b *bench) goal(what, by string, is float64, sign string, limit float64) {
	verdict := "missed"
	if sign == "≤" && is <= limit || sign == "≥" && is >= limit {
		verdict = "reached"
	}
	b.verdicts = append(b.verdicts, fmt.Sprintf("| %s | %.2f | %s %g | %s | %s |", what, is, sign, limit, by, verdict))
}
