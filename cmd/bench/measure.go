package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// cost is what a process used: the fastest of its runs, and the highest peak.
type cost struct {
	wall, cpu time.Duration
	peak      int64 // bytes; 0: unknown
}

// step is a row of a table: a process to measure.
type step struct {
	name   string
	binary string // "": patrol, of each side
	args   []string
	found  []int // exit codes, beside 0, that say that something was found
	env    []string
	fresh  string // database that is to be made anew for each run
	from   string // database of the first side that it is then a copy of
	output string // file for what it prints; "" drops it
}

// machineIsBusy reports whether this process cannot have nine tenths of all processors.
func machineIsBusy() bool {
	const while = 300 * time.Millisecond
	begin := time.Now()
	before, _ := own()
	var spinning sync.WaitGroup
	for range runtime.NumCPU() {
		spinning.Go(func() {
			for time.Since(begin) < while {
			}
		})
	}
	spinning.Wait()
	after, _ := own()
	return after-before < time.Since(begin)*time.Duration(runtime.NumCPU())*9/10
}

// table measures steps one after the other, and prints a row for each. costs are
// by name, the other commit's second where it could do it.
func (b *bench) table(ctx context.Context, header string, steps []step) (costs map[string][]cost, err error) {
	fmt.Printf("\n| %-34s | wall s  | cpu s   | peak MB |", header)
	if len(b.sides) > 1 {
		fmt.Printf(" of that of %s: wall | cpu | peak |\n|---|---:|---:|---:|---:|---:|---:|\n", b.sides[1].name)
	} else {
		fmt.Print("\n|---|---:|---:|---:|\n")
	}
	costs = map[string][]cost{}
	for _, s := range steps {
		measured, err := b.repeat(ctx, s)
		if err != nil {
			return nil, err
		}
		costs[s.name] = measured
		measured[0].print(s.name)
		if len(measured) > 1 {
			a, other := measured[0], measured[1]
			peak := "?"
			if a.peak > 0 && other.peak > 0 {
				peak = fmt.Sprintf("%.2f", float64(a.peak)/float64(other.peak))
			}
			fmt.Printf(" %.2f | %.2f | %s |", a.wall.Seconds()/other.wall.Seconds(), a.cpu.Seconds()/other.cpu.Seconds(), peak)
		}
		fmt.Println()
	}
	return costs, nil
}

// repeat measures a step several times, by turns where there are two sides.
// Another commit may not know what is asked of it: then there is nothing to
// compare.
func (b *bench) repeat(ctx context.Context, s step) (best []cost, err error) {
	sides := b.sides
	if s.binary != "" {
		sides = sides[:1]
	}
	best = make([]cost, len(sides))
	begin := time.Now()
	for i := range max(b.runs, 1) {
		if i > 0 && time.Since(begin) > b.budget {
			break
		}
		for k := range len(best) {
			c, err := b.measure(ctx, sides[k], s)
			if err != nil && k == 0 {
				return nil, err
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "bench: %s cannot do it: %v\n", sides[k].name, err)
				best = best[:1]
				break
			}
			c.peak = max(c.peak, best[k].peak)
			if best[k].wall == 0 || c.wall < best[k].wall {
				best[k].wall, best[k].cpu = c.wall, c.cpu
			}
			best[k].peak = c.peak
		}
	}
	return best, nil
}

// measure runs a step once.
func (b *bench) measure(ctx context.Context, on side, s step) (c cost, err error) {
	if s.fresh != "" {
		files, err := filepath.Glob(on.path(s.fresh) + "*") // what SQLite keeps beside it, too
		if err != nil {
			return c, err
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				return c, err
			}
		}
	}
	if s.from != "" {
		if err := copyFile(on.path(s.fresh), b.sides[0].path(s.from)); err != nil {
			return c, err
		}
	}
	binary := s.binary
	if binary == "" {
		binary = on.binary
	}
	var said strings.Builder
	cmd := exec.CommandContext(ctx, binary, s.args...)
	cmd.Dir, cmd.Stderr, cmd.Env = on.dir, &said, append(os.Environ(), s.env...)
	if s.output != "" {
		file, err := os.Create(on.path(s.output))
		if err != nil {
			return c, err
		}
		defer file.Close()
		cmd.Stdout = file
	}
	begin := time.Now()
	err = cmd.Run()
	c.wall = time.Since(begin)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !slices.Contains(s.found, exit.ExitCode())) {
		return c, fmt.Errorf("%s %v: %w\n%s", binary, s.args, err, said.String())
	}
	c.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	c.peak, err = peakBytes(cmd.ProcessState)
	return c, err
}

// print shows a cost as the beginning of a row.
func (c cost) print(name string) {
	peak := "" // unknown
	if c.peak > 0 {
		peak = fmt.Sprintf("%.0f", float64(c.peak)/1e6)
	}
	fmt.Printf("| %-34s | %7.2f | %7.2f | %7s |", name, c.wall.Seconds(), c.cpu.Seconds(), peak)
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
