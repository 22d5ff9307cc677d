package sandbox

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// bound has nothing to add: a sandbox ends when its standard input does.
func bound() *syscall.SysProcAttr { return nil }

// boundMemory bounds what this process may commit, by a job of its own.
func boundMemory() error {
	job, err := windows.CreateJobObject(nil, nil) // stays open as long as this process lives
	if err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{ProcessMemoryLimit: maxMemory}
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_PROCESS_MEMORY | windows.JOB_OBJECT_LIMIT_DIE_ON_UNHANDLED_EXCEPTION
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	if err := windows.AssignProcessToJobObject(job, windows.CurrentProcess()); err != nil {
		return fmt.Errorf("bound memory: %w", err)
	}
	return nil
}

// boundCPU leaves it to the parent, which kills a sandbox that takes too long.
func boundCPU(time.Duration) error { return nil }
