package store

import "syscall"

// networkFS names the file systems on which WAL is unsafe: their locks or
// their shared memory do not reach other machines.
func networkFS(magic uint32) string {
	switch magic {
	case 0x6969:
		return "NFS"
	case 0x517b, 0xff534d42, 0xfe534d42:
		return "SMB"
	case 0x5346414f, 0x6b414653:
		return "AFS"
	case 0x73757245:
		return "Coda"
	case 0x564c:
		return "NCP"
	case 0x01021997:
		return "9P"
	case 0x00c36400:
		return "Ceph"
	case 0x0bd00bd0:
		return "Lustre"
	case 0x47504653:
		return "GPFS"
	case 0x7461636f:
		return "OCFS2"
	}
	return ""
}

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
