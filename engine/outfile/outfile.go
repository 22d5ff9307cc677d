// Package outfile writes files that appear whole or not at all and that only
// their owner can read: everything patrol writes may hold an inventory of
// credentials.
package outfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"patrol/engine"
)

// Write calls fill with a writer to a temporary file beside path and puts that
// file in place of path when fill and every flush succeeded. On any error the
// old file is untouched and nothing is left behind. The result has mode 0600,
// where a file has a mode; on Windows the folder says who may read it.
// It refuses to replace a directory, a symbolic link or a device.
func Write(path string, fill func(io.Writer) error) error {
	if err := refuseSpecial(path); err != nil {
		return failure(path, err)
	}
	file, err := newPending(path)
	if err != nil {
		return failure(path, err)
	}
	defer file.Cleanup() // no-op once replaced
	if err := fill(file); err != nil {
		return failure(path, err)
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return failure(path, err)
	}
	return failure(path, SyncDir(filepath.Dir(path)))
}

// pending is a file that has not got its name yet.
type pending interface {
	io.Writer
	Cleanup() error // removes it, unless it has its name
	CloseAtomicallyReplace() error
}

// MakeDir makes a directory that only its owner can enter, with those above it
// that are missing, and returns when a loss of power cannot take it away again:
// files in it are as durable as its name.
func MakeDir(dir string) error {
	missing := missingAbove(filepath.Clean(dir))
	err := os.MkdirAll(dir, 0o700)
	for i := 0; i < len(missing) && err == nil; i++ {
		err = SyncDir(filepath.Dir(missing[i]))
	}
	if err == nil {
		return nil
	}
	return dirFailure(dir, err)
}

// missingAbove are the directories on the way to dir that do not exist, dir first.
func missingAbove(dir string) (missing []string) {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return missing
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
}

// Exposed reports whether anybody on this machine may replace files in a
// directory: others may write to it, and no sticky bit keeps them from what is
// not theirs. A directory that cannot be looked at is not called so, nor one of
// Windows, whose modes tell nothing.
func Exposed(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 && info.Mode()&os.ModeSticky == 0
}

var errSpecial = errors.New("is not a regular file")

func refuseSpecial(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w (%s)", errSpecial, info.Mode().Type())
	}
	return nil
}

// failure keeps errors that already tell their story, such as a failing source
// of rows, and explains those of the file system.
func failure(path string, err error) error {
	if err == nil {
		return nil
	}
	if _, told := engine.AsError(err); told {
		return err
	}
	reason, hint := explain(err)
	return &engine.Error{Class: engine.ClassStorage, Reason: reason, Op: "write", Target: path, Hint: hint, Err: err}
}

func explain(err error) (reason, hint string) {
	switch {
	case errors.Is(err, errSpecial):
		return "special_file", "Name a regular file, or remove what stands in its place."
	case errors.Is(err, fs.ErrNotExist):
		return "not_found", "Create the directory first, or name another."
	case ReadOnly(err):
		return "readonly", "Choose a place that you may write to." + alsoReadOnly
	case DiskFull(err):
		return "disk_full", "Free some space, or choose another disk. The old file, if any, is untouched."
	}
	return "output", "See the cause; the old file, if any, is untouched."
}

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
