package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cost is what a finished process used.
type cost struct {
	wall, cpu time.Duration
	peak      int64 // bytes
}

// over is how many times as much c is: wall, processor time, memory.
func (c cost) over(d cost) (wall, cpu, peak float64) {
	return c.wall.Seconds() / d.wall.Seconds(), c.cpu.Seconds() / d.cpu.Seconds(), float64(c.peak) / float64(d.peak)
}

// job is a process to measure.
type job struct {
	binary string // "": patrol, of each side
	args   []string
	found  []int // exit codes, beside 0, that say that something was found
	env    []string
	fresh  string // database that is to be made anew
	output string // file for what it prints; "" drops it
}

// measure runs a job once.
func (s side) measure(ctx context.Context, j job) (c cost, err error) {
	if j.fresh != "" {
		files, err := filepath.Glob(s.path(j.fresh) + "*") // what SQLite keeps beside it, too
		if err != nil {
			return c, err
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				return c, err
			}
		}
	}
	binary := j.binary
	if binary == "" {
		binary = s.binary
	}
	var said strings.Builder
	cmd := exec.CommandContext(ctx, binary, j.args...)
	cmd.Dir, cmd.Stderr = s.dir, &said
	cmd.Env = append(os.Environ(), j.env...)
	if j.output != "" {
		file, err := os.Create(s.path(j.output))
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
	if errors.As(err, &exit) && slices.Contains(j.found, exit.ExitCode()) {
		err = nil
	}
	if err != nil {
		return c, fmt.Errorf("%s %v: %w\n%s", binary, j.args, err, said.String())
	}
	peak, err := peakBytes(cmd.ProcessState)
	return cost{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak}, err
}

// row measures a job several times, by turns where there are two sides, and
// prints the fastest run of each with the highest peak. Another commit may not
// know what is asked of it: then there is nothing to compare.
func (b *bench) row(ctx context.Context, name string, j job) (cost, error) {
	best := make([]cost, len(b.sides))
	var unknown error
	for i := range b.runs {
		for k, s := range b.sides {
			if k > 0 && (j.binary != "" || unknown != nil) {
				continue
			}
			c, err := s.measure(ctx, j)
			switch {
			case err != nil && k == 0:
				return c, err
			case err != nil:
				unknown = err
				continue
			}
			peak := max(best[k].peak, c.peak)
			if i == 0 || c.wall < best[k].wall {
				best[k] = c
			}
			best[k].peak = peak
		}
	}
	best[0].print(name)
	switch {
	case len(b.sides) == 1 || j.binary != "":
	case unknown != nil:
		fmt.Fprintf(os.Stderr, "bench: %s cannot do it: %v\n", b.sides[1].name, unknown)
		fmt.Print(" not comparable |")
	default:
		wall, cpu, peak := best[0].over(best[1])
		fmt.Printf(" %.2f wall, %.2f cpu, %.2f peak |", wall, cpu, peak)
	}
	fmt.Println()
	return best[0], nil
}

// print shows a cost as the beginning of a row.
func (c cost) print(name string) {
	peak := "" // unknown within this process
	if c.peak > 0 {
		peak = fmt.Sprintf("%.0f", float64(c.peak)/1e6)
	}
	fmt.Printf("| %-34s | %7.2f | %7.2f | %7s |", name, c.wall.Seconds(), c.cpu.Seconds(), peak)
}

func (b *bench) header(format string, args ...any) {
	fmt.Printf("\n| %-34s | wall s  | cpu s   | peak MB |", fmt.Sprintf(format, args...))
	if len(b.sides) > 1 {
		fmt.Printf(" times %s |\n|---|---:|---:|---:|---|\n", b.sides[1].name)
		return
	}
	fmt.Print("\n|---|---:|---:|---:|\n")
}
