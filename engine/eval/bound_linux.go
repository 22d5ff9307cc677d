package eval

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// memoryOfSandbox is what a sandbox may map in addition to what it started with
// (the Go runtime reserves much address space that it never uses).
const memoryOfSandbox = 1 << 30

// bound makes a sandbox end when its parent does.
func bound() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// boundMemory bounds this process's address space.
func boundMemory() error {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	most := pages*uint64(os.Getpagesize()) + memoryOfSandbox
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	none := syscall.Rlimit{}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &none); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}

// boundCPU gives this process more seconds of CPU time from now on. It ends a
// sandbox whose parent cannot.
func boundCPU(more time.Duration) error {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return fmt.Errorf("bound CPU time: %w", err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CPU, &limit); err != nil {
		return fmt.Errorf("bound CPU time: %w", err)
	}
	limit.Cur = min(limit.Max, uint64(used.Utime.Sec+used.Stime.Sec)+uint64(more/time.Second)+1)
	if err := syscall.Setrlimit(syscall.RLIMIT_CPU, &limit); err != nil {
		return fmt.Errorf("bound CPU time: %w", err)
	}
	return nil
}
