package sqlite

import "testing"

func TestShares(t *testing.T) {
	t.Parallel()
	for volume, want := range map[string]bool{
		`C:`: false, ``: false, `\\?\C:`: false, `\\.\C:`: false, `\\?\Volume{0}`: false,
		`\\files\audit`: true, `//files/audit`: true, `\\?\UNC\files\audit`: true, `\\.\unc\files\audit`: true, `\\wsl.localhost\debian`: true,
	} {
		if got := onShare(volume); got != want {
			t.Errorf("%s: %v, want %v", volume, got, want)
		}
	}
}

func TestNetworkFileSystemsOfMacOS(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"apfs": "", "hfs": "", "": "", "nfs": "nfs", "smbfs": "smbfs"} {
		if got := networkType(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
