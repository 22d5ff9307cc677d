package outfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"patrol/engine"
)

// Check reports whether Write could make a file, as far as that can be told
// without making one: a long run need not end with a report that has no place
// to go to. It creates nothing.
func Check(path string) error {
	if err := refuseSpecial(path); err != nil {
		return failure(path, err)
	}
	return failure(path, mayCreateIn(filepath.Dir(path)))
}

// CheckDir reports whether MakeDir could make a directory, and files in it be
// made, as far as that can be told without. It creates nothing.
func CheckDir(dir string) error {
	above := filepath.Clean(dir)
	if missing := missingAbove(above); len(missing) > 0 {
		above = filepath.Dir(missing[len(missing)-1])
	}
	if err := mayCreateIn(above); err != nil {
		return dirFailure(dir, err)
	}
	return nil
}

// mayCreateIn asks the system whether this user may create files in a directory.
func mayCreateIn(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	if err := access(dir); err != nil {
		return &fs.PathError{Op: "write into", Path: dir, Err: err}
	}
	return nil
}

// dirFailure explains why a directory cannot be used.
func dirFailure(dir string, err error) error {
	told := &engine.Error{Class: engine.ClassStorage, Op: "create directory", Target: dir, Err: err}
	switch told.Reason, told.Hint = explain(err); {
	case told.Reason == "disk_full":
		told.Hint = "Free some space, or choose another disk."
	case errors.Is(err, syscall.ENOTDIR), told.Reason == "output":
		told.Hint = "Name a directory: a file may stand in its place."
	}
	return told
}
