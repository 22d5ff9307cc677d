// Package sandbox does work in a child process that cannot harm this one: its
// memory and its time are bounded, it has no environment, and it ends with its
// parent. A deadline within a process cannot end every evaluation of Rego: some
// builtins do not look at it, and no memory is given back.
//
// A request is one JSON value. It is answered by lines of JSON: what is being
// done, values, and at last that the answer is whole, or why it failed. Whoever
// gives no line in time is killed.
package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Command makes the command of a program that calls Serve.
type Command func() *exec.Cmd

const (
	// LoadTime is what a sandbox has to begin what it was asked for.
	LoadTime = 30 * time.Second
	// graceOfStop is what it has, after the deadline, to stop an evaluation by itself.
	graceOfStop = time.Second
	// maxLine bounds a line of an answer; a longer one comes from no sandbox that works.
	maxLine = 32 << 20
)

// line is a line of an answer. One of its fields counts.
type line struct {
	Doing  string          `json:",omitempty"` // this is in hand now
	Value  json.RawMessage `json:",omitempty"`
	Done   bool            `json:",omitempty"` // the answer is whole
	Failed string          `json:",omitempty"` // there will be none
}

// End is why there is no whole answer.
type End struct {
	Doing string // what was in hand; "" before anything was begun
	Why   string
	Said  bool // the sandbox itself said so
}

func (e *End) Error() string { return e.Why }

// Process is a sandbox. It answers one request at a time.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan line // closed after the last
	stderr head      // whole once it is gone
	stop   sync.Once
}

// Start starts a sandbox, which must be stopped.
func Start(command Command) (*Process, error) {
	p := &Process{cmd: command(), lines: make(chan line)}
	p.cmd.Env = []string{} // not nil, which would hand on ours
	p.cmd.Dir = "/"
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = bound()
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start sandbox: %w", err)
	}
	go func() {
		defer close(p.lines)
		for l, err := range readLines(out) {
			if err != nil {
				return
			}
			p.lines <- l
		}
	}()
	return p, nil
}

func readLines(r io.Reader) func(yield func(line, error) bool) {
	return func(yield func(line, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			var l line
			err := json.Unmarshal(scanner.Bytes(), &l)
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// Ask sends a request and hands on the values of its answer. Each evaluation may
// take as long as the deadline. The error is an *End when the answer is not
// whole; the sandbox is stopped then. An error of take ends the asking, and the
// sandbox.
func (p *Process) Ask(ctx context.Context, deadline time.Duration, request any, take func(json.RawMessage) error) error {
	text, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("ask sandbox: %w", err)
	}
	go func() { _, _ = p.in.Write(append(text, '\n')) }() // that it cannot be sent shows in the end of the lines
	doing, patience := "", LoadTime
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case l, open := <-p.lines:
			switch {
			case !open:
				p.Stop()
				return &End{Doing: doing, Why: p.whyEnded()}
			case l.Failed != "":
				p.Stop()
				return &End{Doing: doing, Why: l.Failed, Said: true}
			case l.Done:
				return nil
			case l.Doing != "":
				doing, patience = l.Doing, deadline+graceOfStop
			default:
				if err := take(l.Value); err != nil {
					p.Stop()
					return err
				}
			}
			timer.Reset(patience)
		case <-timer.C:
			p.Stop()
			return &End{Doing: doing, Why: Overdue(deadline).Error()}
		case <-ctx.Done():
			p.Stop()
			return ctx.Err()
		}
	}
}

// Overdue is the error of an evaluation that ran out of time.
func Overdue(deadline time.Duration) error {
	return fmt.Errorf("evaluation did not end within %v", deadline)
}

// Stop ends the sandbox and waits until it is gone.
func (p *Process) Stop() {
	p.stop.Do(func() {
		_ = p.in.Close()
		_ = p.cmd.Process.Kill() // it may have ended
		for range p.lines {      // what it still said counts for nothing
		}
		_ = p.cmd.Wait()
	})
}

// whyEnded tells why a sandbox ended that nobody killed, once it is gone.
func (p *Process) whyEnded() string {
	for _, sign := range []string{"out of memory", "cannot allocate memory", "resource temporarily unavailable"} {
		if strings.Contains(string(p.stderr), sign) {
			return "evaluation ran out of memory"
		}
	}
	return fmt.Sprintf("evaluation ended the sandbox: %v", p.cmd.ProcessState)
}

// head keeps the first 4 KiB: they tell the fault, the rest is stacks.
type head []byte

func (h *head) Write(p []byte) (int, error) {
	*h = append(*h, p[:min(len(p), 4<<10-len(*h))]...)
	return len(p), nil
}

// Pool keeps sandboxes that wait for the next request, for starting one and
// reading the packs takes longer than to judge a few hundred tokens. A nil pool
// keeps none.
type Pool struct {
	mu      sync.Mutex
	waiting []*Process
	closed  bool
}

// Take gives a sandbox that waits; nil: none does.
func (p *Pool) Take() *Process {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		return nil
	}
	last := p.waiting[len(p.waiting)-1]
	p.waiting = p.waiting[:len(p.waiting)-1]
	return last
}

// Put lets a sandbox wait, or stops it.
func (p *Pool) Put(process *Process) {
	if p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.closed {
			p.waiting = append(p.waiting, process)
			return
		}
	}
	process.Stop()
}

// Close stops those that wait and, from now on, those that are put back.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, process := range p.waiting {
		process.Stop()
	}
	p.waiting, p.closed = nil, true
}

// Serve is a sandbox: it bounds the resources of this process and answers one
// request after the other. It ends when in does, even in the midst of an
// evaluation. This process must do nothing else.
func Serve(ctx context.Context, in io.Reader, out io.Writer, handle func(context.Context, json.RawMessage, *Answer) error) error {
	if err := boundMemory(); err != nil {
		return err
	}
	debug.SetMemoryLimit(maxMemory / 2) // the garbage collector works harder before the bound is hit
	requests := make(chan json.RawMessage)
	ended := make(chan error, 2)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		decoder := json.NewDecoder(in)
		for {
			var request json.RawMessage
			if err := decoder.Decode(&request); err != nil {
				if errors.Is(err, io.EOF) { // whoever asked is gone: leave whatever runs
					err = nil
				}
				ended <- err
				return
			}
			requests <- request
		}
	}()
	go func() {
		answer := &Answer{out: out}
		for request := range requests {
			if err := boundCPU(2 * LoadTime); err != nil {
				ended <- err
				return
			}
			answer.doing = ""
			last := line{Done: true}
			if err := handle(ctx, request, answer); err != nil {
				last = line{Failed: err.Error()}
			}
			if err := answer.say(last); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Answer is what a sandbox says to one request.
type Answer struct {
	out   io.Writer
	doing string
	said  time.Time
}

// Doing says what is in hand, and gives it time. It may be called before each
// evaluation: what was said a moment ago is not said again.
func (a *Answer) Doing(what string) {
	if what == a.doing && time.Since(a.said) < 100*time.Millisecond {
		return
	}
	a.doing, a.said = what, time.Now()
	_ = boundCPU(2 * LoadTime)
	_ = a.say(line{Doing: what}) // who does not listen is gone
}

// Give adds a value to the answer.
func (a *Answer) Give(value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return a.say(line{Value: text})
}

func (a *Answer) say(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	_, err = a.out.Write(append(text, '\n'))
	return err
}

// Decode reads a value of a request or an answer. Numbers stay exact.
func Decode(text json.RawMessage, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}
