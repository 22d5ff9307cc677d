package sqlite

import (
	"os"
	"path/filepath"
	"time"
)

// The names of files on their way to another name.
const (
	newFiles  = ".patrol-new-*.db"
	copyFiles = ".patrol-copy-*.db"
)

// leftoverAge is for how long nobody must have written to a file without a name
// before it counts as left by a process that was killed: none works on one for a
// day.
const leftoverAge = 24 * time.Hour

// sweep removes what killed processes left beside a database. What cannot be
// removed stays: it is in nobody's way.
func sweep(dir string) {
	for _, pattern := range []string{newFiles, copyFiles} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			continue // the directory's name is no pattern
		}
		for _, path := range found {
			if leftover(path) {
				discard(path)
			}
		}
	}
}

// leftover goes by the machine's clock, as the file system does.
func leftover(path string) bool {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		info, err := os.Lstat(path + suffix)
		switch {
		case err != nil && suffix != "":
			continue
		case err != nil || !info.Mode().IsRegular() || !ours(info) || time.Since(info.ModTime()) < leftoverAge:
			return false
		}
	}
	return true
}
