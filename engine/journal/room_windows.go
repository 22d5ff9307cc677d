package journal

import (
	"math"
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
