package sqlite

import "syscall"

// unsafeFS names the file system of a directory if WAL is unsafe there: its
// locks or its shared memory do not reach other machines. A directory whose
// file system cannot be told passes: opening it tells more.
func unsafeFS(dir string) string {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return ""
	}
	var name []byte
	for _, c := range stat.Fstypename {
		if c == 0 {
			break
		}
		name = append(name, byte(c))
	}
	return networkType(string(name))
}
