package eval

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// TestWatchMemory: it ends who holds too much, and nobody else.
func TestWatchMemory(t *testing.T) {
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

// TestSandboxThatEndsForMemory is told from one that ended for another reason.
func TestSandboxThatEndsForMemory(t *testing.T) {
	c, err := startChild(&exec.Cmd{Path: os.Args[0], Args: []string{os.Args[0], hoardFlag}}, bombDeadline)
	if err != nil {
		t.Fatal(err)
	}
	defer c.kill()
	_, err = c.next(t.Context(), time.Minute, "B-1")
	var end *sandboxEnd
	if !errors.As(err, &end) || end.why != "evaluation ran out of memory" || end.policy != "B-1" {
		t.Errorf("got %v", err)
	}
}
