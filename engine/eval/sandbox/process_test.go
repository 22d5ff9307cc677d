package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const deadline = 400 * time.Millisecond

// TestMain is the sandbox too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "__echo":
			err := Serve(context.Background(), os.Stdin, os.Stdout, func(_ context.Context, request json.RawMessage, a *Answer) error {
				a.Doing("echo")
				return a.Give(request)
			})
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		case "__busy": // works on its first request for an hour
			_ = Serve(context.Background(), os.Stdin, os.Stdout, func(_ context.Context, _ json.RawMessage, a *Answer) error {
				defer time.Sleep(time.Hour)
				return a.say(line{Doing: "B-1"})
			})
			os.Exit(0)
		case "__hang": // begins, and then neither stops nor listens
			_ = (&Answer{out: os.Stdout}).say(line{Doing: "B-1"})
			for {
				time.Sleep(time.Hour)
			}
		case "__hoard":
			_ = (&Answer{out: os.Stdout}).say(line{Doing: "B-1"})
			endForMemory()
		}
	}
	os.Exit(m.Run())
}

func start(t *testing.T, flag string) *Process {
	t.Helper()
	p, err := Start(func() *exec.Cmd { return &exec.Cmd{Path: os.Args[0], Args: []string{os.Args[0], flag}} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func nothing(json.RawMessage) error { return nil }

// TestAnswers: a sandbox answers request after request, and an error of whoever
// takes the answer ends it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	p := start(t, "__echo")
	for _, text := range []string{"a", "line\nbreak", strings.Repeat("long", 1<<20)} {
		var got string
		if err := p.Ask(t.Context(), time.Minute, text, func(v json.RawMessage) error { return Decode(v, &got) }); err != nil || got != text {
			t.Fatalf("got %.40q, %v", got, err)
		}
	}
	wrong := errors.New("no")
	if err := p.Ask(t.Context(), time.Minute, "x", func(json.RawMessage) error { return wrong }); !errors.Is(err, wrong) || p.cmd.ProcessState == nil {
		t.Errorf("got %v, ended %v", err, p.cmd.ProcessState)
	}
}

// TestSandboxThatEndsForMemory is told from one that ended for another reason.
func TestSandboxThatEndsForMemory(t *testing.T) {
	t.Parallel()
	err := start(t, "__hoard").Ask(t.Context(), time.Minute, "x", nothing)
	var end *End
	if !errors.As(err, &end) || end.Why != "evaluation ran out of memory" || end.Doing != "B-1" || end.Said {
		t.Errorf("got %v", err)
	}
}

// TestSandboxEndsWithItsParent: nobody left to ask, nothing left running.
func TestSandboxEndsWithItsParent(t *testing.T) {
	t.Parallel()
	p := start(t, "__busy")
	if _, err := p.in.Write([]byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	if l := <-p.lines; l.Doing != "B-1" {
		t.Fatalf("it said %+v", l)
	}
	if err := p.in.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case _, open := <-p.lines:
		if open {
			t.Error("it said something")
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}

// TestSandboxHasNoEnvironment by which a policy could learn a credential.
func TestSandboxHasNoEnvironment(t *testing.T) {
	p := start(t, "__echo")
	if len(p.cmd.Env) != 0 || p.cmd.Env == nil {
		t.Errorf("environment %v", p.cmd.Env)
	}
}

// TestSandboxThatHangsIsKilled, whatever it does about being cancelled.
func TestSandboxThatHangsIsKilled(t *testing.T) {
	t.Parallel()
	p := start(t, "__hang")
	begun := time.Now()
	err := p.Ask(t.Context(), deadline, "x", nothing)
	var end *End
	if !errors.As(err, &end) || end.Doing != "B-1" || end.Why != Overdue(deadline).Error() {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(begun); took > deadline+20*time.Second {
		t.Errorf("took %v", took)
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("it ended by itself: %v", p.cmd.ProcessState)
	}
}

// TestPool: each that waits is given out once; after the end none waits.
func TestPool(t *testing.T) {
	t.Parallel()
	pool := &Pool{}
	first, second, late := start(t, "__echo"), start(t, "__echo"), start(t, "__echo")
	pool.Put(first)
	if pool.Take() != first || pool.Take() != nil {
		t.Error("not the first, once")
	}
	pool.Put(first)
	pool.Put(second)
	pool.Close()
	pool.Put(late)
	(*Pool)(nil).Put(start(t, "__echo"))
	for _, p := range []*Process{first, second, late} {
		if p.cmd.ProcessState == nil {
			t.Error("it goes on, and nobody will ask it")
		}
	}
}

// FuzzLines: whatever a sandbox says is lines or an error, and never more than
// a line may have.
func FuzzLines(f *testing.F) {
	for _, l := range []line{{Done: true}, {Doing: "PAT-001"}, {Value: json.RawMessage(`{"Policy":"P"}`)}, {Failed: "why"}} {
		text, err := json.Marshal(l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(text, '\n'))
	}
	f.Add([]byte(`{"Value":`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for l, err := range readLines(bytes.NewReader(text)) {
			if err != nil {
				return
			}
			written, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range readLines(bytes.NewReader(written)) {
				if err != nil {
					t.Fatalf("written again it cannot be read: %v", err)
				}
			}
		}
	})
}

func TestLineThatIsTooLong(t *testing.T) {
	t.Parallel()
	text := append(bytes.Repeat([]byte(" "), maxLine), "{\"Done\":true}\n"...)
	for l := range readLines(bytes.NewReader(text)) {
		t.Errorf("it was read: %+v", l)
	}
}
