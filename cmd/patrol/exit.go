package main

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"patrol/engine"
)

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
func verdict(v engine.Verdict) error {
	if v == engine.Clean {
		return nil
	}
	return verdictError{v}
}

// ended is what a command returns that came to a verdict: an error of its own
// outranks it.
func ended(v engine.Verdict, err error) error {
	if err != nil {
		return err
	}
	return verdict(v)
}

// plural renders a count with its noun.
func plural(n int, noun string) string { return engine.Plural(n, noun) }

// exitCode decides the exit code of an error: one place, in order of precedence.
func exitCode(err error) int {
	var signal interrupted
	var reached verdictError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &signal):
		if signal.signal == syscall.SIGTERM {
			return exitTerminated
		}
		return exitInterrupt
	case errors.As(err, &reached):
		if reached.verdict == engine.Incomplete {
			return exitIncomplete
		}
		return exitViolations
	}
	if known, ok := engine.AsError(err); ok {
		switch known.Class {
		case engine.ClassIncomplete:
			return exitIncomplete
		case engine.ClassRefused:
			return exitRefused
		case engine.ClassPartial:
			return exitPartial
		case engine.ClassStorage:
			return exitStorage
		}
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
