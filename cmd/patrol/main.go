// Command patrol audits the personal access tokens of Databricks workspaces
// against policies written in Rego.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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
	allowSmallHeap()
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

// errServed is what a command returns that serves until it is interrupted.
var errServed = errors.New("served until interrupted")

// causeOf returns why ctx ended, in preference to the error that its end caused.
func causeOf(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errServed):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// The exit codes. 2 is never used on purpose: it is the code of a Go panic.
const (
	exitOK         = 0
	exitViolations = 1
	exitUsage      = 3
	exitIncomplete = 4
	exitRefused    = 5
	exitPartial    = 6
	exitStorage    = 7
	exitInterrupt  = 130
	exitTerminated = 143
)

// exitMeaning is one row of the table that help, docs and tests print.
type exitMeaning struct {
	code    int
	meaning string
}

// exitTable is the only list of exit codes.
func exitTable() []exitMeaning {
	return []exitMeaning{
		{exitOK, "done; no finding at or above --fail-on"},
		{exitViolations, "done; findings at or above --fail-on"},
		{2, "never used on purpose (the code of a crash)"},
		{exitUsage, "usage, configuration or policy error; nothing was done"},
		{exitIncomplete, "incomplete: something could not be read or judged (outranks 1); what could be is reported"},
		{exitRefused, "plan refused: unapproved, tampered, stale, wrong workspace, over limits, already applied; nothing was sent"},
		{exitPartial, "applied, but not every approved step was carried out"},
		{exitStorage, "storage or output: locked, corrupt, newer schema, disk full, cannot write"},
		{exitInterrupt, "interrupted"},
		{exitTerminated, "terminated"},
	}
}

// verdictError ends a run whose report has been written and says it all.
type verdictError struct{ verdict engine.Verdict }

func (v verdictError) Error() string { return "verdict: " + string(v.verdict) }

// verdict turns a report's verdict into what a command returns.
func verdict(v engine.Verdict) error { return ended(v, nil) }

// ended is what a command returns that came to a verdict: an error of its own
// outranks it.
func ended(v engine.Verdict, err error) error {
	if err == nil && v != engine.Clean {
		return verdictError{v}
	}
	return err
}

// plural renders a count with its noun.
func plural(n int, noun string) string { return engine.Plural(n, noun) }

// exitCode decides the exit code of an error: one place, in order of precedence.
func exitCode(err error) int {
	var signal interrupted
	var reached verdictError
	known, _ := engine.AsError(err)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &signal) && signal.signal == syscall.SIGTERM:
		return exitTerminated
	case errors.As(err, &signal):
		return exitInterrupt
	case errors.As(err, &reached) && reached.verdict != engine.Incomplete:
		return exitViolations
	case errors.As(err, &reached), known != nil && known.Class == engine.ClassIncomplete:
		return exitIncomplete
	case known != nil && known.Class == engine.ClassRefused:
		return exitRefused
	case known != nil && known.Class == engine.ClassPartial:
		return exitPartial
	case known != nil && known.Class == engine.ClassStorage:
		return exitStorage
	}
	return exitUsage // of a class of its own, or of the command line parser
}

// failure is an error as machines read it.
type failure struct {
	Reason  string `json:"reason"`
	Op      string `json:"op,omitempty"`     // what was being done
	Target  string `json:"target,omitempty"` // on what
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Exit    int    `json:"exit"`
}

// printError writes `reason: message` and a hint, or the same as one line of JSON.
func printError(w io.Writer, err error, asJSON bool) {
	f := describe(err)
	if asJSON {
		jsonLogger(w).Error(f.Message, "error", f)
		return
	}
	fmt.Fprintf(w, "%s: %s\n", f.Reason, engine.SafeLines(f.Message))
	if f.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", engine.SafeLines(f.Hint))
	}
}

func describe(err error) failure {
	f := failure{Reason: "usage", Message: err.Error(), Hint: "See `patrol --help`.", Exit: exitCode(err)}
	var signal interrupted
	if errors.As(err, &signal) {
		f.Reason, f.Hint = "interrupted", "Nothing is left half done: run the same command again, `patrol apply` with --resume."
	} else if known, ok := engine.AsError(err); ok {
		f.Reason, f.Hint, f.Op, f.Target = known.Reason, known.Hint, known.Op, known.Target
	}
	return f
}

// smallHeap is how far the heap may grow before the garbage collector runs. By itself Go
// would begin at 4 MB and run a dozen times in the audit of a small workspace, for an
// eighth of its time. Larger heaps are collected as ever.
const smallHeap = 24 << 20

// goMinimum is the heap below which Go with a GOGC of 100 never collects; it grows with GOGC.
const goMinimum = 4 << 20

// allowSmallHeap keeps smallHeap, from one collection to the next. GOGC of the user's own stands.
func allowSmallHeap() {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := smallHeap*100/max(int(live[0].Value.Uint64()), 1<<20) - 100
	debug.SetGCPercent(min(max(percent, 100), smallHeap*100/goMinimum))
	type after struct{ _ [16]byte }
	runtime.AddCleanup(&after{}, func(struct{}) { allowSmallHeap() }, struct{}{})
}
