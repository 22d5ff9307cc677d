// Command patrol audits the personal access tokens of Databricks workspaces
// against policies written in Rego.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"patrol/cmd/internal/config"
	"patrol/engine"

	"golang.org/x/term"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(start()) }

// start is main with deferred functions that run. The first signal ends what is
// under way in good order, the second at once.
func start() int {
	if err := harden(); err != nil {
		fmt.Fprintln(os.Stderr, "harden: core dumps stay on:", err)
		return exitStorage
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cancel(interrupted{<-signals})
		again := <-signals
		fmt.Fprintln(os.Stderr, "interrupted again: ended at once, and what was in hand may be lost; after apply, run it again with --resume")
		os.Exit(exitCode(interrupted{again}))
	}()
	return run(ctx, systemEnv(), os.Args[1:])
}

// env is everything that a command takes from its surroundings, so that tests
// can put something else in its place.
type env struct {
	stdin   io.Reader
	stdout  io.Writer // results
	stderr  io.Writer // messages
	now     func() time.Time
	lookup  func(string) (string, bool) // environment variables
	environ func() []string             // all of them, KEY=value
	version string

	stdoutTerminal bool
	stderrTerminal bool
	height         int // rows of the terminal; 24 elsewhere
	width          int // columns of the terminal; 120 elsewhere, such as in the log of a CI job
}

func systemEnv() *env {
	e := &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		now: time.Now, lookup: os.LookupEnv, environ: os.Environ, version: version,
		stdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		stderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		width:          120, height: 24,
	}
	if _, height, err := term.GetSize(int(os.Stderr.Fd())); err == nil && height > 0 {
		e.height = height
	}
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && width > 0 {
		e.width = width
	}
	return e
}

func (e *env) environment() config.Environment {
	return config.Environment{Lookup: e.lookup, All: e.environ}
}

// product is standard output. It remembers an error of writing, which callers may
// pass over: a list cut short must not look like a whole one.
type product struct {
	w   io.Writer
	err error
}

func (p *product) Write(text []byte) (int, error) {
	n, err := p.w.Write(text)
	if err == nil {
		return n, nil
	}
	p.err = &engine.Error{Class: engine.ClassStorage, Reason: "output", Op: "write", Target: "standard output",
		Hint: "Make room, or see why the reader of the pipe ended.", Err: err}
	return n, p.err
}

// color reports whether to colour the product: only on a terminal that knows
// colours, and never where NO_COLOR is set.
func (e *env) color(off bool) bool {
	if v, set := e.lookup("NO_COLOR"); set && v != "" {
		return false
	}
	if term, _ := e.lookup("TERM"); term == "dumb" {
		return false
	}
	return e.stdoutTerminal && !off
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal os.Signal }

func (i interrupted) Error() string {
	if i.signal == syscall.SIGTERM {
		return "stopped by SIGTERM"
	}
	return "stopped by Ctrl-C (SIGINT)"
}

// causeOf returns why ctx ended, in preference to the error that its end caused.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
