package sqlite

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestDatabasesOnNetworkDisksAreRefused calls the disk that is here a network
// disk: by the number that the system gives for it, everything is refused there,
// journals too, so that two hosts cannot share one.
func TestDatabasesOnNetworkDisksAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var here uint32
	if name := fsOf(dir, func(magic uint32) string { here = magic; return networkFS(magic) }); name != "" || here == 0 {
		t.Skipf("temporary files lie on %s (%#x)", name, here)
	}
	asNFS := func(dir string) string {
		return fsOf(dir, func(magic uint32) string {
			if magic == here {
				magic = 0x6969
			}
			return networkFS(magic)
		})
	}
	for _, mode := range []Mode{ReadWrite, ReadOnly} {
		_, err := Open(t.Context(), filepath.Join(dir, "x.db"), Options{Mode: mode, Now: time.Now, Schema: small, Tuning: Tuning{UnsafeFS: asNFS}})
		wantReason(t, err, "bad_fs")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("there is %v", left)
	}
	if unsafeFS(filepath.Join(dir, "missing")) != "" {
		t.Error("a folder that is not there is a network disk")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

func TestNetworkFileSystems(t *testing.T) {
	t.Parallel()
	if networkFS(0x6969) != "NFS" || networkFS(0xff534d42) != "SMB" || networkFS(0xef53) != "" {
		t.Fatal("wrong file systems refused")
	}
}
