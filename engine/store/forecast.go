package store

import (
	"context"
	"iter"
	"sort"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// Forecast streams the tokens of a snapshot, ascending by id and without their raw
// rows, each as Subjects has it at some instants, ascending, which it reads but
// once. How tokens compare with one another is left out where it is not asked for.
func (db *DB) Forecast(ctx context.Context, snapshotID int64, at []time.Time, peers bool) iter.Seq2[engine.FutureToken, error] {
	return func(yield func(engine.FutureToken, error) bool) {
		for p, err := range db.forecast(ctx, snapshotID, at, peers) {
			if !yield(p, damagedRow(snapshotID, sqlite.Failure(opSubjects, db.Path, err))) || err != nil {
				return
			}
		}
	}
}

func (db *DB) forecast(ctx context.Context, id int64, at []time.Time, peers bool) iter.Seq2[engine.FutureToken, error] {
	return func(yield func(engine.FutureToken, error) bool) {
		r, err := db.reader(ctx, id)
		if err != nil {
			yield(nil, err)
			return
		}
		if !usable(r.snapshot, engine.SectionTokens) {
			return
		}
		o := &forecast{at: make([]int64, len(at))}
		for i, t := range at {
			o.at[i] = t.UnixMilli()
		}
		if err := o.prepare(ctx, r, peers); err != nil {
			yield(nil, err)
			return
		}
		defer o.leave()
		for t, err := range ahead(r.tokens(ctx, false)) {
			var p engine.FutureToken
			if err == nil {
				p, err = o.futureToken(t)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
		if err := r.finish(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// forecast is what the tokens of a snapshot share over some instants.
type forecast struct {
	at      []int64
	parties *parties
	ends    map[string][]int64 // owner → when its tokens end between the first and the last instant, ascending
	all     *comparison        // nil: not asked for
}

func (o *forecast) prepare(ctx context.Context, r *reader, peers bool) (err error) {
	if o.parties, err = r.parties(ctx, o.at[0]); err != nil {
		return err
	}
	if o.ends, err = r.ends(ctx, o.at[0], o.at[len(o.at)-1]); err != nil {
		return err
	}
	if peers {
		o.all, err = r.db.compare(ctx, r.snapshot, o.at[0], o.at[1:]...)
	}
	return err
}

func (o *forecast) leave() {
	if o.all != nil {
		o.all.stop()
	}
}

const endsQuery = `SELECT v.owner_id, v.expires_ms FROM token_version v WHERE ` + holds + ` AND v.owner_id <> ''
	AND v.expires_ms > ?3 AND v.expires_ms <= ?4 ORDER BY v.expires_ms`

func (r *reader) ends(ctx context.Context, from, to int64) (map[string][]int64, error) {
	ends := map[string][]int64{}
	for c, err := range sqlite.Scan(ctx, r.db.q, endsQuery, r.snapshot.ID, r.workspace, from, to) {
		if err != nil {
			return nil, err
		}
		owner, end := c.Text(), c.Int()
		if c.Err != nil {
			return nil, c.Err
		}
		ends[owner] = append(ends[owner], end)
	}
	return ends, nil
}

// futureToken must be called for each token, in the order of ids.
func (o *forecast) futureToken(t storedToken) (engine.FutureToken, error) {
	turns := []turn{{}}
	if o.all != nil {
		var err error
		if turns, err = o.all.following(t.ID); err != nil {
			return nil, err
		}
	}
	owner, creator := o.parties.of(t.OwnerID), o.parties.of(t.CreatorID)
	return func(n int) (engine.Subject, bool) {
		last := len(turns) - 1
		for turns[last].from > n {
			last--
		}
		return engine.Subject{
			Token: t.Token, Row: t.row, Facts: engine.Derive(t.Token, o.at[n]),
			Owner: o.later(owner, n), Creator: o.later(creator, n), Peers: turns[last].among,
		}.Named(), true
	}, nil
}

// later is a party once some of its tokens have ended.
func (o *forecast) later(p engine.Party, n int) engine.Party {
	if o.parties.read {
		ends := o.ends[p.ID]
		p.LiveTokens -= sort.Search(len(ends), func(i int) bool { return ends[i] > o.at[n] })
	}
	return p
}
