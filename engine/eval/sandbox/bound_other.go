//go:build !linux && !windows

package sandbox

import "syscall"

// bound has nothing to add: a sandbox ends when its standard input does.
func bound() *syscall.SysProcAttr { return nil }

// boundMemory has this process look at what it takes: the kernel does not hold
// it to a limit of address space.
func boundMemory() error {
	go watchMemory(maxMemory, endForMemory)
	return nil
}
