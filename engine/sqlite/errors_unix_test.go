//go:build unix

package sqlite

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		os.ErrPermission: "readonly", syscall.EROFS: "readonly", syscall.ENOSPC: "disk_full", syscall.EIO: "io", os.ErrNotExist: "not_found", errors.New("x"): "storage",
	} {
		if got := explain(err).reason; got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
	for code, want := range map[int]string{5: "busy", 6: "busy", 8: "readonly", 10: "io", 11: "corrupt", 13: "disk_full", 14: "cannot_open", 26: "not_a_database"} {
		if got := explainCode(code).reason; got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
	}
	if !errors.Is(Failure("", "", context.Canceled), context.Canceled) {
		t.Error("an interruption is explained away")
	}
}
