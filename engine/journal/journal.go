// Package journal is the durable record of what apply did, in a database of its
// own: plans and approvals as the bytes that were given, where each step
// stands, and a chain of events that vouches for all of it.
package journal

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

//go:embed *.sql
var migrations embed.FS

const application = 0x5054524a // "PTRJ"

func schema() sqlite.Schema { return sqlite.MustLoad(migrations, ".", application) }

// Journal is the durable record of what apply did, in a file of its own, so
// that no long transaction of a collection can delay a line that must be on
// disk before a request is sent. At most one process writes to it: a lock on
// the file keeps others of this machine out, and the epoch of each workspace,
// which every write compares in its own transaction, keeps out a run that was
// overtaken while it slept.
type Journal struct {
	db     *sqlite.DB
	lock   *os.File // nil: reading only
	epochs map[string]int64
}

// Options of Open.
type Options struct {
	Mode      sqlite.Mode
	MustExist bool
	Now       func() time.Time
	room      func(dir string) (int64, error) // free bytes; a stand-in for tests
	tuning    sqlite.Tuning
}

const (
	opJournal = "open journal"
	// journalRoom is the free space below which no run begins: its lines must
	// fit, however long it gets.
	journalRoom = 64 << 20
	// lockedByte is the byte of the file that a writer locks: far behind those that
	// SQLite locks, and behind the end of any journal.
	lockedByte = 1 << 60
)

// Open opens the journal at path. ReadWrite creates it when it is
// missing, refuses to begin without room on the disk, and locks out every other
// writer until Close.
//
// The lock is on the file itself: by a link, by another name, or moved meanwhile,
// it is the same journal.
func Open(ctx context.Context, path string, o Options) (*Journal, error) {
	j := &Journal{}
	if o.Mode == sqlite.ReadWrite {
		dir := filepath.Dir(path)
		if _, err := os.Stat(dir); err != nil {
			return nil, sqlite.Failure(opJournal, path, err)
		}
		measure := o.room
		if measure == nil {
			measure = freeBytes
		}
		switch free, err := measure(dir); {
		case err != nil:
			return nil, sqlite.Failure(opJournal, path, err)
		case free < journalRoom:
			return nil, sqlite.Refusal(opJournal, dir, sqlite.DiskFull, "Free some space first; nothing was sent.",
				fmt.Errorf("%d MiB are free, a journal wants %d", free>>20, journalRoom>>20))
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() { // what it is else, sqlite.Open says
			if err := j.exclude(path); err != nil {
				return nil, err
			}
		}
	}
	db, err := sqlite.Open(ctx, path, sqlite.Options{Mode: o.Mode, MustExist: o.MustExist, Now: o.Now, Schema: schema(), Tuning: o.tuning})
	if err == nil && o.Mode == sqlite.ReadWrite && j.lock == nil { // it was missing
		if err = j.exclude(path); err != nil {
			err = errors.Join(err, db.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, j.unlock())
	}
	j.db = db
	return j, nil
}

// exclude takes the lock.
func (j *Journal) exclude(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return sqlite.Failure(opJournal, path, err)
	}
	got, err := lockByte(file, lockedByte)
	switch {
	case err != nil:
		return sqlite.Failure(opJournal, path, errors.Join(err, file.Close()))
	case !got:
		return sqlite.Refusal(opJournal, path, "locked", "Another patrol is applying with this journal: wait for it, or stop it.", errors.Join(errors.New("is in use"), file.Close()))
	}
	j.lock = file
	return nil
}

func (j *Journal) unlock() error {
	if j.lock == nil {
		return nil
	}
	return j.lock.Close()
}

// Close closes the journal and lets others in.
func (j *Journal) Close() error { return errors.Join(j.db.Close(), j.unlock()) }

// Path is where the journal lies.
func (j *Journal) Path() string { return j.db.Path }

// fenced refuses what a run that was overtaken wants to write.
func (j *Journal) fenced(what string) error {
	return sqlite.Refusal("write journal", j.db.Path, "fenced", "Another run has taken over, or the step has ended; run `patrol apply --resume` when that one is done.",
		fmt.Errorf("%s: this run may no longer write", what))
}

// begun is the kind of the event that tells how a run began.
const begun = "begun"

// Begin takes in a plan with its approval, takes the next epoch of each
// workspace, and puts down as pending the approved steps that are not known
// already. It is the first thing that a run writes, and so also the proof that
// it can.
func (j *Journal) Begin(ctx context.Context, r engine.Registration) error {
	epochs, at := map[string]int64{}, j.db.Now().UnixMilli()
	err := j.db.Write(ctx, "begin run in journal", func(tx *sqlite.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO plan (sha, body, registered_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, r.SHA, r.Bytes, at); err != nil {
			return err
		}
		approval := engine.TextDigest(string(r.Approval))
		if r.Approval != nil {
			var approvers any
			if len(r.By) > 0 {
				approvers = string(engine.CompactJSON(r.By))
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO approval (plan_sha, sha, body, approvers, registered_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				r.SHA, approval, r.Approval, approvers, at); err != nil {
				return err
			}
		}
		for _, step := range r.Steps {
			workspace := step.WorkspaceID
			if _, taken := epochs[workspace]; !taken {
				var epoch int64
				err := tx.QueryRowContext(ctx, `INSERT INTO lease (workspace_id, epoch, host, pid, since_ms) VALUES (?, 1, ?, ?, ?)
					ON CONFLICT (workspace_id) DO UPDATE SET epoch = epoch + 1, host = excluded.host, pid = excluded.pid, since_ms = excluded.since_ms
					RETURNING epoch`, workspace, r.Host, r.PID, at).Scan(&epoch)
				if err != nil {
					return err
				}
				epochs[workspace] = epoch
				detail := engine.CompactJSON(map[string]any{"host": r.Host, "pid": r.PID, "approvers": r.By, "approval_sha256": approval})
				if err := appendEvent(ctx, tx, engine.JournalEvent{Plan: r.SHA, Workspace: workspace, To: begun, Epoch: epoch, At: at, Detail: detail}); err != nil {
					return err
				}
			}
			entry := engine.Entry{
				Plan: r.SHA, Step: step.ID, Workspace: workspace, Action: step.Action, Target: step.Target,
				State: engine.StatePending, Epoch: epochs[workspace], At: at,
			}
			result, err := tx.ExecContext(ctx, `INSERT INTO item (plan_sha, item_id, workspace_id, action, target, state, reason, detail, attempt, epoch, http, request_id, observed, after, prior, at_ms)
				VALUES (?, ?, ?, ?, ?, ?, '', '', 0, ?, 0, '', '', '', NULL, ?) ON CONFLICT DO NOTHING`,
				entry.Plan, entry.Step, entry.Workspace, string(entry.Action), entry.Target, string(entry.State), entry.Epoch, entry.At)
			if err != nil {
				return err
			}
			added, err := result.RowsAffected()
			if err == nil && added > 0 {
				err = appendEvent(ctx, tx, eventOf("", entry))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		j.epochs = epochs
	}
	return err
}

// Epoch is the epoch that this run holds of a workspace.
func (j *Journal) Epoch(workspace string) int64 { return j.epochs[workspace] }

// LastEpoch is the latest epoch of a workspace, whoever holds it; 0 without any.
func (j *Journal) LastEpoch(ctx context.Context, workspace string) (epoch int64, err error) {
	_, err = sqlite.First(ctx, j.db.SQL, `SELECT epoch FROM lease WHERE workspace_id = ?`, []any{workspace}, &epoch)
	return epoch, sqlite.Failure("read journal", j.db.Path, err)
}

// Move writes that a step went from one state to that of to, with everything
// that is known by then. State and epoch are compared in the same transaction:
// if either is not as this run believes, nothing is written and the error's
// reason is "fenced". It returns when the line is on disk.
func (j *Journal) Move(ctx context.Context, from engine.StepState, to engine.Entry) error {
	to.Epoch = j.epochs[to.Workspace]
	return j.db.Write(ctx, "write journal", func(tx *sqlite.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE item SET state = ?, reason = ?, detail = ?, attempt = ?, epoch = ?, http = ?, request_id = ?, observed = ?, after = ?, prior = ?, at_ms = ?
			WHERE plan_sha = ? AND item_id = ? AND state = ? AND (SELECT epoch FROM lease WHERE lease.workspace_id = item.workspace_id) = ?`,
			string(to.State), to.Reason, to.Detail, to.Attempt, to.Epoch, to.HTTP, to.Request, to.Before, to.After, sqlite.TextOrNil(string(to.Prior)), to.At,
			to.Plan, to.Step, string(from), to.Epoch)
		if err != nil {
			return err
		}
		if moved, err := result.RowsAffected(); err != nil || moved != 1 {
			return errors.Join(err, j.fenced("step "+to.Step))
		}
		return appendEvent(ctx, tx, eventOf(from, to))
	})
}

// Note writes an event of the run.
func (j *Journal) Note(ctx context.Context, n engine.Note) error {
	mine := j.epochs[n.Workspace]
	return j.db.Write(ctx, "write journal", func(tx *sqlite.Tx) error {
		var epoch int64
		if err := tx.QueryRowContext(ctx, `SELECT epoch FROM lease WHERE workspace_id = ?`, n.Workspace).Scan(&epoch); err != nil {
			return err
		}
		if epoch != mine {
			return j.fenced("note on workspace " + n.Workspace)
		}
		return appendEvent(ctx, tx, engine.JournalEvent{Plan: n.Plan, Workspace: n.Workspace, To: string(n.Kind), Epoch: epoch, At: n.At, Detail: n.Detail})
	})
}

// eventOf is the event of a transition. It tells the whole entry, so that the
// chain covers every field of it.
func eventOf(from engine.StepState, to engine.Entry) engine.JournalEvent {
	return engine.JournalEvent{
		Plan: to.Plan, Step: to.Step, Workspace: to.Workspace, From: string(from), To: string(to.State),
		Epoch: to.Epoch, At: to.At, Detail: engine.CompactJSON(to),
	}
}

// chainHash is the hash of an event: over everything in it and the hash before.
func chainHash(e engine.JournalEvent) string {
	return engine.TextDigest(string(engine.CompactJSON([]any{
		e.Seq, e.Plan, e.Step, e.Workspace, e.From, e.To, e.Epoch, e.At, string(e.Detail), e.Previous,
	})))
}

// appendEvent writes the next event of the chain.
func appendEvent(ctx context.Context, tx *sqlite.Tx, e engine.JournalEvent) error {
	if _, err := sqlite.First(ctx, tx, `SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1`, nil, &e.Seq, &e.Previous); err != nil {
		return err
	}
	e.Seq++
	e.Hash = chainHash(e)
	_, err := tx.ExecContext(ctx, `INSERT INTO event (seq, plan_sha, item_id, workspace_id, from_state, to_state, epoch, at_ms, detail, prev_hash, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Seq, e.Plan, e.Step, e.Workspace, e.From, e.To, e.Epoch, e.At, string(e.Detail), e.Previous, e.Hash)
	return err
}

const eventColumns = `seq, plan_sha, item_id, workspace_id, from_state, to_state, epoch, at_ms, detail, prev_hash, hash`

func readEvent(c *sqlite.Row) engine.JournalEvent {
	return engine.JournalEvent{
		Seq: c.Int(), Plan: c.Text(), Step: c.Text(), Workspace: c.Text(), From: c.Text(), To: c.Text(), Epoch: c.Int(), At: c.Int(),
		Detail: json.RawMessage(c.Text()), Previous: c.Text(), Hash: c.Text(),
	}
}

const entryColumns = `plan_sha, item_id, workspace_id, action, target, state, reason, detail, attempt, epoch, http, request_id, observed, after, prior, at_ms`

func readEntry(c *sqlite.Row) engine.Entry {
	e := engine.Entry{
		Plan: c.Text(), Step: c.Text(), Workspace: c.Text(), Action: engine.Action(c.Text()), Target: c.Text(), State: engine.StepState(c.Text()),
		Reason: c.Text(), Detail: c.Text(), Attempt: int(c.Int()), Epoch: c.Int(), HTTP: int(c.Int()), Request: c.Text(), Before: c.Text(), After: c.Text(),
	}
	if prior := c.TextOr(""); prior != "" {
		e.Prior = json.RawMessage(prior)
	}
	e.At = c.Int()
	return e
}
