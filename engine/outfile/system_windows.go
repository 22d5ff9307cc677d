package outfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// alsoReadOnly is what else may be behind a file that cannot be written.
const alsoReadOnly = " If the file is open in another program, close it there."

// temporary takes the part of renameio, which leaves Windows out: the rename
// replaces the old file in one call of the file system, but Windows does not
// promise what is there after a power cut in its midst.
type temporary struct {
	*os.File
	path  string
	named bool
}

func newPending(path string) (pending, error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"*")
	if err != nil {
		return nil, err
	}
	return &temporary{File: file, path: path}, nil
}

// Cleanup removes the file, unless it has its name.
func (t *temporary) Cleanup() error {
	if t.named {
		return nil
	}
	_ = t.Close() // it may be closed
	return os.Remove(t.Name())
}

// CloseAtomicallyReplace flushes the file and gives it its name.
func (t *temporary) CloseAtomicallyReplace() error {
	if err := errors.Join(t.Sync(), t.Close()); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), t.path); err != nil {
		return err
	}
	t.named = true
	return nil
}

// access is not known before a file is made: the rights of a folder are in lists
// that only the system can weigh.
func access(string) error { return nil }

// SyncDir has nothing to do: Windows cannot flush a directory, and NTFS keeps a
// log of names by itself.
func SyncDir(string) error { return nil }

// DiskFull reports whether there was no room to write.
func DiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) || errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// ReadOnly reports whether this user may not write there, now: a file that
// another program has open counts as such.
func ReadOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, windows.ERROR_WRITE_PROTECT) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
}

// BadDisk reports whether the disk itself failed.
func BadDisk(err error) bool {
	return errors.Is(err, windows.ERROR_CRC) || errors.Is(err, windows.ERROR_IO_DEVICE) ||
		errors.Is(err, windows.ERROR_READ_FAULT) || errors.Is(err, windows.ERROR_WRITE_FAULT)
}
