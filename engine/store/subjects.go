package store

import (
	"context"
	"iter"
	"sort"
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
		for at, err := range db.Forecast(ctx, snapshotID, []time.Time{asOf}, peers) {
			var subject engine.Subject
			if err == nil {
				subject, _ = at(0)
			}
			if !yield(subject, err) || err != nil {
				return
			}
		}
	}
}

// Forecast streams the tokens of a snapshot, ascending by id and without their raw
// rows, each as Subjects has it at some instants, ascending, which it reads but
// once.
func (db *DB) Forecast(ctx context.Context, snapshotID int64, at []time.Time, peers bool) iter.Seq2[engine.FutureToken, error] {
	return func(yield func(engine.FutureToken, error) bool) {
		err := db.futureTokens(ctx, snapshotID, at, peers, func(t engine.FutureToken) bool { return yield(t, nil) })
		if err != nil {
			yield(nil, damagedRow(snapshotID, sqlite.Failure(opSubjects, db.Path, err)))
		}
	}
}

const endsQuery = `SELECT v.owner_id, v.expires_ms FROM token_version v WHERE ` + holds + ` AND v.owner_id <> ''
	AND v.expires_ms > ?3 AND v.expires_ms <= ?4 ORDER BY v.expires_ms`

// futureTokens is Forecast until take has enough.
func (db *DB) futureTokens(ctx context.Context, id int64, at []time.Time, peers bool, take func(engine.FutureToken) bool) error {
	r, err := db.reader(ctx, id)
	if err != nil || !usable(r.snapshot, engine.SectionTokens) {
		return err
	}
	moments := make([]int64, len(at))
	for i, t := range at {
		moments[i] = t.UnixMilli()
	}
	parties, err := r.parties(ctx, moments[0])
	if err != nil {
		return err
	}
	ends := map[string][]int64{} // owner → when its tokens end between the first and the last instant, ascending
	if len(moments) > 1 {
		for c, err := range sqlite.Scan(ctx, db.q, endsQuery, id, r.workspace, moments[0], moments[len(moments)-1]) {
			if err != nil {
				return err
			}
			owner, end := c.Text(), c.Int()
			if c.Err != nil {
				return c.Err
			}
			ends[owner] = append(ends[owner], end)
		}
	}
	party := func(p engine.Party, n int) engine.Party { // once some of its tokens have ended
		if parties.read {
			ended := ends[p.ID]
			p.LiveTokens -= sort.Search(len(ended), func(i int) bool { return ended[i] > moments[n] })
		}
		return p
	}
	peers = peers || usable(r.snapshot, engine.SectionAuditLog) // a token's last use rests on it
	var all *comparison
	if peers {
		if all, err = db.compare(ctx, r.snapshot, moments[0], moments[1:]...); err != nil {
			return err
		}
		defer all.stop()
	}
	for t, err := range ahead(r.tokens(ctx, false)) {
		if err != nil {
			return err
		}
		turns := []turn{{}}
		if peers {
			if turns, err = all.following(t.ID); err != nil {
				return err
			}
		}
		owner, creator := parties.of(t.OwnerID), parties.of(t.CreatorID)
		more := take(func(n int) (engine.Subject, bool) {
			last := len(turns) - 1
			for turns[last].from > n {
				last--
			}
			s := engine.Subject{
				Token: t.Token, Row: t.row,
				Owner: party(owner, n), Creator: party(creator, n), Peers: turns[last].peers,
			}
			s.Derive(moments[n])
			return s.Named(), true
		})
		if !more {
			return nil
		}
	}
	return r.finish(ctx)
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
