package sqlite

import "strings"

// networkFS names, by the numbers of Linux, the file systems on which WAL is unsafe: their locks or
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

// networkType names the network file systems that macOS mounts, by its words.
func networkType(name string) string {
	switch name {
	case "nfs", "smbfs", "afpfs", "webdav", "ftp", "macfuse", "osxfuse":
		return name
	}
	return ""
}

// onShare reports whether a volume of Windows, such as filepath.VolumeName
// gives it, is on another machine: \\host\share, \\?\UNC\host\share. Volumes of
// this machine may begin with two backslashes, too: \\?\C:, \\.\C:.
func onShare(volume string) bool {
	volume = strings.ToUpper(strings.ReplaceAll(volume, "/", `\`))
	if !strings.HasPrefix(volume, `\\`) {
		return false
	}
	return strings.HasPrefix(volume, `\\?\UNC\`) || strings.HasPrefix(volume, `\\.\UNC\`) ||
		!strings.HasPrefix(volume, `\\?\`) && !strings.HasPrefix(volume, `\\.\`)
}
