package outfile

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// scratchLock is held by who uses a directory of working files. A kill lets go of
// it, so that the next run knows what was left.
const scratchLock = ".lock"

// Scratch makes a private directory for working files, and removes those of the
// same prefix that killed runs left. release removes it with all that is in it.
func Scratch(dir, prefix string) (path string, release func() error, err error) {
	if dir == "" {
		dir = os.TempDir()
	}
	found, _ := os.ReadDir(dir) // what cannot be listed is in nobody's way
	for _, entry := range found {
		info, err := entry.Info()
		if err != nil || len(entry.Name()) <= len(prefix) || entry.Name()[:len(prefix)] != prefix || !entry.IsDir() || info.Mode().Perm() != 0o700 {
			continue
		}
		left := filepath.Join(dir, entry.Name())
		if _, err := os.Lstat(filepath.Join(left, scratchLock)); err != nil && time.Since(info.ModTime()) < time.Minute {
			continue // about to be locked
		}
		lock := flock.New(filepath.Join(left, scratchLock), flock.SetPermissions(0o600))
		if free, err := lock.TryLock(); err == nil && free {
			_ = errors.Join(lock.Close(), os.RemoveAll(left)) // tried again by the next run
		}
	}
	if path, err = os.MkdirTemp(dir, prefix); err != nil { // 0700
		return "", nil, err
	}
	lock := flock.New(filepath.Join(path, scratchLock), flock.SetPermissions(0o600))
	if _, err := lock.TryLock(); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(path))
	}
	return path, func() error { return errors.Join(lock.Close(), os.RemoveAll(path)) }, nil
}
