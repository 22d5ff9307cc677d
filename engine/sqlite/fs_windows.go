package sqlite

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// unsafeFS names the file system of a directory if WAL is unsafe there: on a
// share its locks and its shared memory do not reach other machines.
func unsafeFS(dir string) string {
	volume := filepath.VolumeName(dir)
	if onShare(volume) {
		return "a network share"
	}
	root, err := windows.UTF16PtrFromString(volume + `\`)
	if err == nil && windows.GetDriveType(root) == windows.DRIVE_REMOTE {
		return "a network drive"
	}
	return ""
}

// ours leaves it to the system who may remove what.
func ours(os.FileInfo) bool { return true }
