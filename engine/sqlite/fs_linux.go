package sqlite

import "syscall"

// unsafeFS names the file system of a directory if WAL is unsafe there. A
// directory whose file system cannot be told passes: opening it tells more.
func unsafeFS(dir string) string { return fsOf(dir, networkFS) }

// fsOf names the file system of a directory by its magic number.
func fsOf(dir string, name func(magic uint32) string) string {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return ""
	}
	return name(uint32(stat.Type)) //nolint:gosec // magic numbers have 32 bits; the field's type differs by platform
}
