package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"patrol/engine"
	"patrol/engine/outfile"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// explanation is the reason word and the next step for a kind of failure.
type explanation struct{ reason, hint string }

var (
	unexplained = explanation{Unexplained, "See the cause."}
	missingFile = explanation{"not_found", "Check the path, or collect first: `patrol collect` creates the database."}
	unwritable  = explanation{"readonly", "Writing needs write access to the database file and to its directory."}
	fullDisk    = explanation{DiskFull, "Free some space and run again; nothing of this step was stored."}
	badDisk     = explanation{"io", "The disk failed; check it and the database (`patrol snapshots verify`) before going on."}
)

// explainCode tells what a primary result code of SQLite means to a user.
func explainCode(code int) explanation {
	switch code {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return explanation{"busy", "Another process is writing to this database; wait for it and run again."}
	case lib.SQLITE_READONLY, lib.SQLITE_PERM:
		return unwritable
	case lib.SQLITE_FULL:
		return fullDisk
	case lib.SQLITE_CORRUPT:
		return explanation{"corrupt", "Restore the database from a copy; `patrol snapshots verify` tells which snapshots are whole."}
	case lib.SQLITE_NOTADB:
		return explanation{"not_a_database", "Name a patrol database, or a new file."}
	case lib.SQLITE_CANTOPEN:
		return explanation{"cannot_open", "Check that the path, its directory and their permissions are right."}
	case lib.SQLITE_IOERR:
		return badDisk
	}
	return unexplained
}

func explain(err error) explanation {
	var coded *driver.Error
	switch {
	case errors.As(err, &coded):
		if coded.Code() == lib.SQLITE_IOERR_SHMSIZE { // no room for -shm, which is not called a full disk
			return fullDisk
		}
		return explainCode(coded.Code() & 0xff)
	case errors.Is(err, fs.ErrNotExist):
		return missingFile
	case outfile.ReadOnly(err):
		return unwritable
	case outfile.DiskFull(err):
		return fullDisk
	case outfile.BadDisk(err):
		return badDisk
	}
	return unexplained
}

// Failure explains an error of the database. Interruptions and errors that
// already tell their story pass unchanged.
func Failure(op, target string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, told := engine.AsError(err); told {
		return err
	}
	why := explain(err)
	return &engine.Error{Class: engine.ClassStorage, Reason: why.reason, Op: op, Target: target, Hint: why.hint, Err: err}
}

// Cause puts an interruption first: database/sql answers it by ending the
// transaction, and every later statement only says so.
func Cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// Refusal is an error that patrol itself decides on.
func Refusal(op, target, reason, hint string, err error) error {
	return &engine.Error{Class: engine.ClassStorage, Reason: reason, Op: op, Target: target, Hint: hint, Err: err}
}

// Missing is for a snapshot or evaluation that was asked for and is not there:
// nothing is wrong with the database.
func Missing(op, target, reason, hint string, err error) error {
	return &engine.Error{Class: engine.ClassUsage, Reason: reason, Op: op, Target: target, Hint: hint, Err: err}
}

// Reasons that others decide by.
const (
	Unexplained = "storage" // nothing more is known
	DiskFull    = "disk_full"
)
