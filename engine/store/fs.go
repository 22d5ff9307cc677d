package store

import "strings"

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
