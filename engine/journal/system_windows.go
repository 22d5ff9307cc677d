package journal

import (
	"errors"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// freeBytes is what this user may still write in a directory's file system.
func freeBytes(dir string) (int64, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	name, err := windows.UTF16PtrFromString(absolute)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(min(free, math.MaxInt64)), nil //nolint:gosec // bounded
}

// lockByte locks a byte of an open file, against whoever else has opened it.
func lockByte(file *os.File, at int64) (got bool, err error) {
	place := windows.Overlapped{Offset: uint32(at & math.MaxUint32), OffsetHigh: uint32(at >> 32)} //nolint:gosec // two halves
	err = windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
