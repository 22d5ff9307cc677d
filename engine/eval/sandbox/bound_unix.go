//go:build linux || darwin

package sandbox

import (
	"fmt"
	"syscall"
	"time"
)

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
