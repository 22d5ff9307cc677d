package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// cost is what a finished process used.
type cost struct {
	wall, cpu time.Duration
	peak      int64 // bytes
}

// job is a process to measure. It ends with 0 or with another code that says
// that it found something.
type job struct {
	binary string
	args   []string
	found  int
	env    []string
	output string // file for what it prints; "" drops it
}

// measure runs a job once.
func (b *bench) measure(ctx context.Context, j job) (c cost, err error) {
	cmd := exec.CommandContext(ctx, j.binary, j.args...)
	cmd.Dir, cmd.Stderr = b.dir, os.Stderr
	cmd.Env = append(os.Environ(), j.env...)
	if j.output != "" {
		file, err := os.Create(b.path(j.output))
		if err != nil {
			return c, err
		}
		defer file.Close()
		cmd.Stdout = file
	}
	begin := time.Now()
	err = cmd.Run()
	wall := time.Since(begin)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == j.found {
		err = nil
	}
	if err != nil {
		return c, fmt.Errorf("%s %v: %w", j.binary, j.args, err)
	}
	peak, err := peakBytes(cmd.ProcessState)
	return cost{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak}, err
}

// best runs a job several times and returns the fastest run with the highest
// peak. Before each run prepare puts things back where they were.
func (b *bench) best(ctx context.Context, prepare func() error, j job) (best cost, err error) {
	for i := range b.runs {
		if err := prepare(); err != nil {
			return best, err
		}
		c, err := b.measure(ctx, j)
		if err != nil {
			return best, err
		}
		peak := max(best.peak, c.peak)
		if i == 0 || c.wall < best.wall {
			best = c
		}
		best.peak = peak
	}
	return best, nil
}

func nothing() error { return nil }

// print shows a cost as a row of a table.
func (c cost) print(name string, more ...string) {
	peak := "" // unknown within this process
	if c.peak > 0 {
		peak = fmt.Sprintf("%.0f", float64(c.peak)/1e6)
	}
	fmt.Printf("| %-29s | %7.2f | %7.2f | %7s |", name, c.wall.Seconds(), c.cpu.Seconds(), peak)
	for _, cell := range more {
		fmt.Printf(" %9s |", cell)
	}
	fmt.Println()
}

func header(title string, more ...string) {
	fmt.Printf("\n| %-29s | wall s  | cpu s   | peak MB |", title)
	for _, cell := range more {
		fmt.Printf(" %9s |", cell)
	}
	fmt.Print("\n|---|---:|---:|---:|")
	for range more {
		fmt.Print("---:|")
	}
	fmt.Println()
}
