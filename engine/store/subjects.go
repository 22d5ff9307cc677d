package store

import (
	"context"
	"iter"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opSubjects = "read tokens"

// Subjects streams the tokens of a snapshot, ascending by id and without their
// raw rows, each with its facts at an instant, with its owner and creator as the
// directory of that snapshot knew them, and, where peers says so, with how it
// stands among the others. It yields nothing when the tokens were not read.
// Slices in a subject are shared with others and must not be changed.
//
// Reading is verifying: the last thing that it yields is an error, reason
// digest_mismatch, if the rows were not what was sealed.
func (db *DB) Subjects(ctx context.Context, snapshotID int64, asOf time.Time, peers bool) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		for subject, err := range db.subjects(ctx, snapshotID, asOf.UnixMilli(), peers) {
			if !yield(subject, damagedRow(snapshotID, sqlite.Failure(opSubjects, db.Path, err))) || err != nil {
				return
			}
		}
	}
}

func (db *DB) subjects(ctx context.Context, id, asOf int64, peers bool) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		r, err := db.reader(ctx, id)
		if err != nil {
			yield(engine.Subject{}, err)
			return
		}
		if !usable(r.snapshot, engine.SectionTokens) {
			return
		}
		known, err := r.parties(ctx, asOf)
		if err != nil {
			yield(engine.Subject{}, err)
			return
		}
		var all *comparison
		if peers {
			if all, err = db.compare(ctx, r.snapshot, asOf); err != nil {
				yield(engine.Subject{}, err)
				return
			}
			defer all.stop()
		}
		for t, err := range ahead(r.tokens(ctx, false)) {
			var subject engine.Subject
			if err == nil {
				subject = engine.Subject{Token: t.Token, Row: t.row, Facts: engine.Derive(t.Token, asOf), Owner: known.of(t.OwnerID), Creator: known.of(t.CreatorID)}.Named()
				if peers {
					subject.Peers, err = all.next(t.ID)
				}
			}
			if !yield(subject, err) || err != nil {
				return
			}
		}
		if err := r.finish(ctx); err != nil {
			yield(engine.Subject{}, err)
		}
	}
}

// finish is err, once the rest was read.
func (r *reader) finish(ctx context.Context) error {
	if err := drain(r.activity(ctx)); err != nil {
		return err
	}
	return r.err()
}

func (db *DB) workspaceKey(ctx context.Context, snapshotID int64) (key int64, err error) {
	err = db.q.QueryRowContext(ctx, `SELECT workspace_key FROM snapshot WHERE id = ?`, snapshotID).Scan(&key)
	return key, err
}

// Principals streams the principals of a snapshot, ascending by id. It yields
// nothing when they were not read. They are a part of what was sealed: ask
// Intact before they count.
func (db *DB) Principals(ctx context.Context, snapshotID int64) iter.Seq2[engine.Principal, error] {
	return func(yield func(engine.Principal, error) bool) {
		s, err := db.Snapshot(ctx, snapshotID)
		if err != nil {
			yield(engine.Principal{}, err)
			return
		}
		for p, err := range db.principals(ctx, s, &lists{}) {
			if !yield(p, sqlite.Failure("read principals", db.Path, err)) || err != nil {
				return
			}
		}
	}
}

func (db *DB) principals(ctx context.Context, s engine.Snapshot, known *lists) iter.Seq2[engine.Principal, error] {
	query := `SELECT ` + principalColumns + ` FROM principal_version v WHERE ` + holds + ` ORDER BY v.principal_id`
	return func(yield func(engine.Principal, error) bool) {
		if !usable(s, engine.SectionPrincipals) {
			return
		}
		workspace, err := db.workspaceKey(ctx, s.ID)
		if err != nil {
			yield(engine.Principal{}, err)
			return
		}
		for c, err := range sqlite.Scan(ctx, db.q, query, s.ID, workspace) {
			var p engine.Principal
			if err == nil {
				p, err = readPrincipal(c, known)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}
