//go:build unix

package main

import "syscall"

// harden keeps what this process holds to its owner: no file is born readable
// by others, whichever library makes it, and a crash leaves no image of the
// memory behind, where a credential would stand.
func harden() error {
	syscall.Umask(0o077)
	return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
