package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// env is everything that a command takes from its surroundings, so that tests
// can put something else in its place.
type env struct {
	stdin   io.Reader
	stdout  io.Writer // the product
	stderr  io.Writer // the conversation
	now     func() time.Time
	lookup  func(string) (string, bool) // environment variables
	version string

	stdoutTerminal bool
	stderrTerminal bool
	width          int // columns of the terminal; 120 elsewhere, such as in the log of a CI job
}

func systemEnv() *env {
	e := &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		now: time.Now, lookup: os.LookupEnv, version: version,
		stdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		stderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		width:          120,
	}
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && width > 0 {
		e.width = width
	}
	return e
}

// say writes a line of the conversation.
func (e *env) say(format string, args ...any) { fmt.Fprintf(e.stderr, format+"\n", args...) }

// color reports whether to colour the product: only on a terminal, and never
// where NO_COLOR is set.
func (e *env) color(off bool) bool {
	if v, set := e.lookup("NO_COLOR"); set && v != "" {
		return false
	}
	return e.stdoutTerminal && !off
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string { return "interrupted by " + i.signal.String() }

// causeOf returns why ctx ended, in preference to the error that its end caused.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
