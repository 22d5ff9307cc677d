//go:build linux || darwin

package journal

import (
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// freeBytes is what this user may still write in a directory's file system.
func freeBytes(dir string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil //nolint:gosec,unconvert // no disk has 2^63 bytes; types differ by platform
}

// setOFDLock is F_OFD_SETLK of fcntl(2), which x/sys/unix lacks for macOS.
func setOFDLock() int {
	if runtime.GOOS == "darwin" {
		return 90
	}
	return 37
}

// lockByte locks a byte of an open file, against whoever else has opened it.
func lockByte(file *os.File, at int64) (got bool, err error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1}
	err = unix.FcntlFlock(file.Fd(), setOFDLock(), &lock)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}
