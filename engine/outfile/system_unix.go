//go:build !windows

package outfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// alsoReadOnly is what else may be behind a file that cannot be written.
const alsoReadOnly = ""

func newPending(path string) (pending, error) {
	return renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
}

// access reports whether this user may create files in a directory, as the
// system tells: a disk that is mounted for reading only is told, too.
func access(dir string) error {
	const write, enter = 2, 1
	return syscall.Access(dir, write|enter)
}

// SyncDir makes durable which names a directory holds: a rename, a new file.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// DiskFull reports whether there was no room to write.
func DiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// ReadOnly reports whether this user may not write there.
func ReadOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// BadDisk reports whether the disk itself failed.
func BadDisk(err error) bool { return errors.Is(err, syscall.EIO) }
