package sandbox

import (
	"runtime"
	"testing"
	"time"
)

// TestWatchMemory: it ends who holds too much, and nobody else.
func TestWatchMemory(t *testing.T) {
	t.Parallel()
	const room = 64 << 20
	ended := make(chan struct{})
	go watchMemory(heldMemory()+room, func() { close(ended) })
	select {
	case <-ended:
		t.Fatal("ended before there was anything")
	case <-time.After(100 * time.Millisecond):
	}
	hoard := make([]byte, 2*room)
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Errorf("holds %d MiB more and goes on", 2*room>>20)
	}
	runtime.KeepAlive(hoard)
}
