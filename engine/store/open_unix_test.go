//go:build unix

package store

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestFilesArePrivateAndGone(t *testing.T) {
	t.Parallel()
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	db := mustOpen(t, path, readWrite)
	mustSave(t, db, capture("prod", "1", now, population(50, 3, ""), nil))
	for _, name := range []string{"x.db", "x.db-wal", "x.db-shm"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	must(t, db.Close())
	reader := mustOpen(t, path, Options{Mode: ReadOnly, Now: clock})
	if _, err := reader.Latest(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, reader.Close())
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestUnwritable(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(asNobody); dir != "" {
		unwritableCases(t, dir)
		return
	}
	dir := publicDir(t)
	for name, mode := range map[string]os.FileMode{"file": 0o444, "dir": 0o666} {
		sub := filepath.Join(dir, name)
		must(t, os.Mkdir(sub, 0o700))
		mustSaveAndClose(t, filepath.Join(sub, "x.db"))
		must(t, os.Chmod(filepath.Join(sub, "x.db"), mode))
		must(t, os.Chmod(sub, 0o755))
	}
	must(t, os.Chmod(filepath.Join(dir, "file"), 0o777))
	if os.Getuid() != 0 {
		must(t, os.Chmod(filepath.Join(dir, "dir"), 0o555))
		unwritableCases(t, dir)
		return
	}
	command := exec.Command(testBinary(t, dir), "-test.run", "^TestUnwritable$", "-test.count=1")
	command.Env = append(os.Environ(), asNobody+"="+dir, "TMPDIR="+dir)
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	command.Dir = dir
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
