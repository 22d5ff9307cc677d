package store

import (
	"context"
	"iter"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opSubjects = "read tokens"

// Subjects streams the tokens of a snapshot, ascending by id, each with its
// facts at an instant, with its owner and creator as the directory of that
// snapshot knew them, and with how it stands among the others. It yields
// nothing when the tokens were not read. Slices in a subject are shared with
// others and must not be changed. The tokens are read twice: first to compare
// them, then whole.
func (db *DB) Subjects(ctx context.Context, snapshotID int64, asOf time.Time) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		s, err := db.Snapshot(ctx, snapshotID)
		if err != nil {
			yield(engine.Subject{}, err)
			return
		}
		if !usable(s, engine.SectionTokens) {
			return
		}
		at := asOf.UnixMilli()
		db.standing(ctx, s, at, db.subjects(ctx, s, at))(yield)
	}
}

// Judged streams the tokens of a snapshot as Subjects does, for policies: without
// their raw rows, and with how they stand among each other only where peers says so.
func (db *DB) Judged(ctx context.Context, snapshotID int64, asOf time.Time, peers bool) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		s, err := db.Snapshot(ctx, snapshotID)
		if err != nil {
			yield(engine.Subject{}, err)
			return
		}
		at := asOf.UnixMilli()
		tokens := db.subjectsOf(ctx, s, at, db.judgedTokens(ctx, s))
		if peers && usable(s, engine.SectionTokens) {
			tokens = db.standing(ctx, s, at, tokens)
		}
		tokens(yield)
	}
}

const judgedQuery = `SELECT v.version, v.token_id, v.created_ms, v.expires_ms, v.owner_id, v.creator_id, v.creator_name, v.comment,
	v.scopes, v.autoscope_state, v.inferred_scopes, v.backfill_scopes, v.defects, NULL, NULL, ` + useColumn + `
	FROM token_version v WHERE ` + holds + ` ORDER BY v.token_id`

// judgedTokens reads tokens without their raw rows, which no policy sees.
func (db *DB) judgedTokens(ctx context.Context, s engine.Snapshot) iter.Seq2[storedToken, error] {
	return func(yield func(storedToken, error) bool) {
		if !usable(s, engine.SectionTokens) {
			return
		}
		workspace, err := db.workspaceKey(ctx, s.ID)
		if err != nil {
			yield(storedToken{}, err)
			return
		}
		reader := tokenReader{shapes: &shapes{}}
		for c, err := range sqlite.Scan(ctx, db.SQL, judgedQuery, s.ID, workspace) {
			var t storedToken
			if err == nil {
				t.row = c.Int()
				t.Token, err = reader.read(c)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// standing tells of subjects, all of a snapshot, how they stand among each other.
func (db *DB) standing(ctx context.Context, s engine.Snapshot, asOf int64, subjects iter.Seq2[engine.Subject, error]) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		all, err := db.compare(ctx, s, asOf)
		if err != nil {
			yield(engine.Subject{}, sqlite.Failure(opSubjects, db.Path, err))
			return
		}
		defer all.stop()
		for subject, err := range subjects {
			if err == nil {
				subject.Among, err = all.next(subject.Token.ID)
			}
			if !yield(subject, sqlite.Failure(opSubjects, db.Path, err)) || err != nil {
				return
			}
		}
	}
}

// subjects are those of Subjects, without how they stand among each other.
func (db *DB) subjects(ctx context.Context, s engine.Snapshot, asOf int64) iter.Seq2[engine.Subject, error] {
	return db.subjectsOf(ctx, s, asOf, func(yield func(storedToken, error) bool) {
		for t, err := range db.tokens(ctx, s) {
			if !yield(storedToken{Token: t}, err) {
				return
			}
		}
	})
}

// storedToken is a token with the number of its row, where it was asked for.
type storedToken struct {
	engine.Token
	row int64
}

func (db *DB) subjectsOf(ctx context.Context, s engine.Snapshot, asOf int64, tokens iter.Seq2[storedToken, error]) iter.Seq2[engine.Subject, error] {
	return func(yield func(engine.Subject, error) bool) {
		if !usable(s, engine.SectionTokens) {
			return
		}
		known, err := db.parties(ctx, s, asOf)
		if err != nil {
			yield(engine.Subject{}, sqlite.Failure(opSubjects, db.Path, err))
			return
		}
		for t, err := range tokens {
			if err != nil {
				yield(engine.Subject{}, sqlite.Failure(opSubjects, db.Path, err))
				return
			}
			subject := engine.Subject{Token: t.Token, Row: t.row, Facts: engine.Derive(t.Token, asOf), Owner: known.of(t.OwnerID), Creator: known.of(t.CreatorID)}
			if !yield(subject, nil) {
				return
			}
		}
	}
}

// tokens streams the tokens of a snapshot, ascending by id.
func (db *DB) tokens(ctx context.Context, s engine.Snapshot) iter.Seq2[engine.Token, error] {
	query := `SELECT ` + tokenColumns + `, ` + useColumn + ` FROM token_version v WHERE ` + holds + ` ORDER BY v.token_id`
	return func(yield func(engine.Token, error) bool) {
		if !usable(s, engine.SectionTokens) {
			return
		}
		workspace, err := db.workspaceKey(ctx, s.ID)
		if err != nil {
			yield(engine.Token{}, err)
			return
		}
		known, err := readShapes(ctx, db.SQL)
		if err != nil {
			yield(engine.Token{}, err)
			return
		}
		reader := tokenReader{shapes: known}
		for c, err := range sqlite.Scan(ctx, db.SQL, query, s.ID, workspace) {
			var t engine.Token
			if err == nil {
				t, err = reader.read(c)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

func (db *DB) workspaceKey(ctx context.Context, snapshotID int64) (key int64, err error) {
	err = db.SQL.QueryRowContext(ctx, `SELECT workspace_key FROM snapshot WHERE id = ?`, snapshotID).Scan(&key)
	return key, err
}

// Principals streams the principals of a snapshot, ascending by id. It yields
// nothing when they were not read.
func (db *DB) Principals(ctx context.Context, snapshotID int64) iter.Seq2[engine.Principal, error] {
	return func(yield func(engine.Principal, error) bool) {
		s, err := db.Snapshot(ctx, snapshotID)
		if err != nil {
			yield(engine.Principal{}, err)
			return
		}
		for p, err := range db.principals(ctx, s, nil) {
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
		if known == nil {
			known = &lists{}
		}
		for c, err := range sqlite.Scan(ctx, db.SQL, query, s.ID, workspace) {
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
