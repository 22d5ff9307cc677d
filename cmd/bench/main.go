// Command bench measures patrol as a whole process against a simulated account:
// wall time, processor time and peak memory of each step of an audit, and of
// the audit in one go, as a table and as ratios to the audit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"patrol/collectors/simulator"
)

func main() {
	binary := flag.String("patrol", "bin/patrol", "the patrol to measure")
	tokens := flag.Int("tokens", 100_000, "tokens in the workspace")
	flag.Parse()
	if err := run(context.Background(), *binary, *tokens); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run serves the account from this process, so that its cost is not measured.
func run(ctx context.Context, binary string, tokens int) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "patrol-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{binary: binary, dir: dir}
	stop, err := b.serve(ctx, tokens)
	if err != nil {
		return err
	}
	defer stop()
	return b.measureAll(ctx)
}

// bench runs one binary in one directory.
type bench struct {
	binary, dir, config string
	profile             string
}

func (b *bench) serve(ctx context.Context, tokens int) (stop func(), err error) {
	account := simulator.New(simulator.Options{Seed: 1, Workspaces: 1, Tokens: tokens})
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: account, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	b.config = filepath.Join(b.dir, "databrickscfg")
	b.profile = account.Workspaces()[0].Profile
	text := account.ConfigFile("http://" + listener.Addr().String())
	return func() { _ = server.Close() }, os.WriteFile(b.config, []byte(text), 0o600)
}

// cost is what a finished process used.
type cost struct {
	wall, cpu time.Duration
	peakMB    int64
}

// measureAll runs the steps one after the other, then the audit in one go on a
// database of its own.
func (b *bench) measureAll(ctx context.Context) error {
	steps := []struct {
		name string
		args []string
	}{
		{"start", []string{"policies", "list"}},
		{"collect", []string{"collect", "--profile", b.profile, "-q"}},
		{"evaluate", []string{"evaluate", "--fail-on", "none", "-q"}},
		{"report csv", []string{"report", "--format", "csv", "-q"}},
		{"report json", []string{"report", "--format", "json", "-q"}},
		{"report xlsx", []string{"report", "--format", "xlsx", "-q"}},
		{"audit", []string{"audit", "--profile", b.profile, "--fail-on", "none", "-q", "--db", "audit.db"}},
	}
	costs := make([]cost, len(steps))
	for i, step := range steps {
		measured, err := b.measure(ctx, step.args)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		costs[i] = measured
	}
	whole := costs[len(costs)-1]
	fmt.Println("step          wall s   cpu s  peak MB  of audit")
	for i, step := range steps {
		c := costs[i]
		fmt.Printf("%-12s %7.2f %7.2f %8d  %7.2f\n", step.name, c.wall.Seconds(), c.cpu.Seconds(), c.peakMB, c.cpu.Seconds()/whole.cpu.Seconds())
	}
	return nil
}

// measure runs patrol once. Exit code 4 is accepted nowhere: a bench of an
// incomplete audit would measure the wrong thing. Reports of an evaluation that
// was made with --fail-on none end with 0 too.
func (b *bench) measure(ctx context.Context, args []string) (cost, error) {
	cmd := exec.CommandContext(ctx, b.binary, args...)
	cmd.Dir, cmd.Stderr = b.dir, os.Stderr
	cmd.Env = append(os.Environ(), "DATABRICKS_CONFIG_FILE="+b.config)
	begin := time.Now()
	err := cmd.Run()
	wall := time.Since(begin)
	if err != nil {
		return cost{}, err
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return cost{}, errors.New("this system does not tell what a process used")
	}
	return cost{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), usage.Maxrss / 1024}, nil
}
