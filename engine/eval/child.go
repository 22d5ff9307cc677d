package eval

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// The time a sandbox has to read packs and job, and the time after the deadline
// of an evaluation that it has to stop it by itself.
const (
	loadDeadline = 30 * time.Second
	graceOfStop  = time.Second
)

// sandboxEnd is why a sandbox ended, and the policy that it had in hand.
type sandboxEnd struct{ policy, why string }

func (e *sandboxEnd) Error() string { return e.why }

// child is a sandbox under way.
type child struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	replies  chan reply // closed when it said the last
	stderr   *tail
	silence  time.Duration // what it may take to begin another evaluation
	deadline time.Duration
	killing  sync.Once
}

func startChild(cmd *exec.Cmd, deadline time.Duration) (*child, error) {
	c := &child{cmd: cmd, replies: make(chan reply), stderr: &tail{}, silence: deadline + graceOfStop, deadline: deadline}
	cmd.Env = []string{} // not nil, which would hand on ours
	cmd.Dir = "/"
	cmd.Stderr = c.stderr
	cmd.SysProcAttr = bound()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	c.in = in
	go c.listen(out)
	return c, nil
}

// listen hands on what the sandbox says until it says no more.
func (c *child) listen(out io.Reader) {
	defer close(c.replies)
	buffered := bufio.NewReader(out)
	for {
		var r reply
		if readFrame(buffered, maxReply, &r) != nil {
			return
		}
		c.replies <- r
	}
}

// kill ends the sandbox and waits until it is gone.
func (c *child) kill() {
	c.killing.Do(func() {
		_ = c.in.Close()
		_ = c.cmd.Process.Kill() // it may have ended
		for range c.replies {    // what it still said counts for nothing
		}
		_ = c.cmd.Wait()
	})
}

// tellIt sends a request. That it cannot be sent shows in the replies' end.
func (c *child) tellIt(r request) { go func() { _ = writeFrame(c.in, r) }() }

// prepare gives the sandbox its packs, unless it has them, and its job. The last
// that it said of a job before may still be on its way.
func (c *child) prepare(ctx context.Context, r request) error {
	c.tellIt(r)
	said, err := c.next(ctx, loadDeadline, "")
	for err == nil && said.Alive {
		said, err = c.next(ctx, loadDeadline, "")
	}
	if err == nil && !said.Ready {
		err = &sandboxEnd{why: "the sandbox could not load the policies: " + said.Failed}
	}
	return err
}

// judge gives the sandbox something to judge and takes its results.
func (c *child) judge(ctx context.Context, w wireJudge, take func(*wireResult) error) error {
	c.tellIt(request{Judge: &w})
	inHand := ""
	for left := len(w.Policies); left > 0; {
		said, err := c.next(ctx, c.silence, inHand)
		if err != nil {
			return err
		}
		if said.Begun != "" {
			inHand = said.Begun
		}
		if said.Done == nil {
			continue
		}
		if err := take(said.Done); err != nil {
			return err
		}
		inHand = ""
		left--
	}
	return nil
}

// next waits for the next reply, and kills a sandbox that gives none in time.
func (c *child) next(ctx context.Context, patience time.Duration, inHand string) (reply, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case said, open := <-c.replies:
		if open {
			return said, nil
		}
		c.kill()
		return reply{}, &sandboxEnd{inHand, c.epitaph()}
	case <-timer.C:
		c.kill()
		return reply{}, &sandboxEnd{inHand, overdueError(c.deadline).Error()}
	case <-ctx.Done():
		c.kill()
		return reply{}, ctx.Err()
	}
}

// epitaph tells why a sandbox ended that nobody killed.
func (c *child) epitaph() string {
	text := c.stderr.String()
	for _, sign := range []string{"out of memory", "cannot allocate memory", "resource temporarily unavailable"} {
		if strings.Contains(text, sign) {
			return "evaluation ran out of memory"
		}
	}
	return fmt.Sprintf("evaluation ended the sandbox: %v", c.cmd.ProcessState)
}

// tail keeps the beginning of what a sandbox says last: its first 4 KiB tell
// the fault, the rest is stacks.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), 4<<10-len(t.text))]...)
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
