package sandbox

import (
	"fmt"
	"os"
	"syscall"
)

// bound makes a sandbox end when its parent does.
func bound() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// boundMemory bounds this process's address space, beyond what it started with:
// the Go runtime reserves much of it that it never uses.
func boundMemory() error {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	most := pages*uint64(os.Getpagesize()) + maxMemory
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	none := syscall.Rlimit{}
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &none); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
