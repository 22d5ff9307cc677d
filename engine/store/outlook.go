package store

import (
	"context"
	"iter"
	"sort"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// Outlook streams the tokens of a snapshot, ascending by id and without their raw
// rows, each as Subjects has it at some instants, ascending, which it reads but
// once. How tokens stand among each other is left out where it is not asked for.
func (db *DB) Outlook(ctx context.Context, snapshotID int64, at []time.Time, among bool) iter.Seq2[engine.Prospect, error] {
	return func(yield func(engine.Prospect, error) bool) {
		for p, err := range db.outlook(ctx, snapshotID, at, among) {
			if !yield(p, damagedRow(snapshotID, sqlite.Failure(opSubjects, db.Path, err))) || err != nil {
				return
			}
		}
	}
}

func (db *DB) outlook(ctx context.Context, id int64, at []time.Time, among bool) iter.Seq2[engine.Prospect, error] {
	return func(yield func(engine.Prospect, error) bool) {
		r, err := db.reader(ctx, id)
		if err != nil {
			yield(nil, err)
			return
		}
		if !usable(r.snapshot, engine.SectionTokens) {
			return
		}
		o := &outlook{at: make([]int64, len(at))}
		for i, t := range at {
			o.at[i] = t.UnixMilli()
		}
		if err := o.prepare(ctx, r, among); err != nil {
			yield(nil, err)
			return
		}
		defer o.leave()
		for t, err := range ahead(r.tokens(ctx, false)) {
			var p engine.Prospect
			if err == nil {
				p, err = o.prospect(t)
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

// outlook is what the tokens of a snapshot share over some instants.
type outlook struct {
	at      []int64
	parties *parties
	ends    map[string][]int64 // owner → when its tokens end between the first and the last instant, ascending
	all     *comparison        // nil: not asked for
}

func (o *outlook) prepare(ctx context.Context, r *reader, among bool) (err error) {
	if o.parties, err = r.parties(ctx, o.at[0]); err != nil {
		return err
	}
	if o.ends, err = r.ends(ctx, o.at[0], o.at[len(o.at)-1]); err != nil {
		return err
	}
	if among {
		o.all, err = r.db.compare(ctx, r.snapshot, o.at[0], o.at[1:]...)
	}
	return err
}

func (o *outlook) leave() {
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

// prospect must be called for each token, in the order of ids.
func (o *outlook) prospect(t storedToken) (engine.Prospect, error) {
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
			Owner: o.later(owner, n), Creator: o.later(creator, n), Among: turns[last].among,
		}.Named(), true
	}, nil
}

// later is a party once some of its tokens have ended.
func (o *outlook) later(p engine.Party, n int) engine.Party {
	if o.parties.read {
		ends := o.ends[p.ID]
		p.LiveTokens -= sort.Search(len(ends), func(i int) bool { return ends[i] > o.at[n] })
	}
	return p
}
