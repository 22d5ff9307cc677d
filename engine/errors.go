package engine

import (
	"errors"
	"strings"
)

// Class says what kind of failure an Error is; the command's exit code follows from it.
type Class int

// The classes of failure.
const (
	ClassUsage      Class = iota + 1 // bad flag, configuration or policy: nothing was done
	ClassIncomplete                  // something could not be read or judged
	ClassRefused                     // a plan was refused: nothing was sent
	ClassPartial                     // applied, but not all of it
	ClassStorage                     // database or output could not be read or written
)

// Error tells what failed, on what, why in one stable word, and what to do next.
type Error struct {
	Class  Class
	Reason string // stable word for machines: config, denied, newer_schema, disk_full…
	Op     string // what was being done: "read configuration"
	Target string // on what: a file with its line, a workspace, a policy
	Hint   string // the next step, a full sentence
	Err    error  // the cause; may be nil
}

func (e *Error) Error() string {
	var parts []string
	for _, part := range []string{e.Op, e.Target} {
		if part != "" {
			parts = append(parts, SafeText(part)) // a target is what somebody typed: it must not break the line
		}
	}
	text := strings.Join(parts, " ")
	if e.Err != nil {
		if text != "" {
			text += ": "
		}
		text += e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// UsageError makes the error for a wrong flag or argument.
func UsageError(op, target, hint string, err error) *Error {
	return &Error{Class: ClassUsage, Reason: "usage", Op: op, Target: target, Hint: hint, Err: err}
}

// AsError finds the first Error in a chain.
func AsError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
