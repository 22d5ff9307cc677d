package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// own is the processor time and the peak memory of this process, in bytes.
func own() (cpu time.Duration, peak int64) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fmt.Fprintln(os.Stderr, "bench: usage of this process:", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), usage.Maxrss * 1024
}

// peakBytes is the most memory that a process had at once. Linux counts in what
// its parent had when it started it: a peak that is not above the parent's says
// nothing, and is 0 here.
func peakBytes(state *os.ProcessState) (int64, error) {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, errors.New("this system does not say what a process used")
	}
	if _, parent := own(); usage.Maxrss*1024 <= parent {
		return 0, nil
	}
	return usage.Maxrss * 1024, nil
}
