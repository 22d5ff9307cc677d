package store

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// comparison is what the tokens of a snapshot are among each other. Its slices
// go by the place of a token in the order of ids; they take some twenty bytes a
// token, and seventy while the tokens are compared.
type comparison struct {
	ctx        context.Context
	db         *DB
	past       []past
	near       near
	successor  []int32 // place; none, doubtful
	successors map[int32]dates
	shifts     map[int32][]shift // by place: at later instants
	place      int
	seen       map[int64]int64 // snapshot → when it was collected
	previous   int64           // complete snapshot before; 0: there is none
	log        func() (engine.Activity, error, bool)
	stop       func()
	logged     engine.Activity // next of the log
	more       bool            // logged holds
}

var errUnequal = errors.New("the tokens of the snapshot were not read twice alike")

// compare compares the tokens of a snapshot at an instant and at later ones.
func (db *DB) compare(ctx context.Context, s engine.Snapshot, asOf int64, later ...int64) (*comparison, error) {
	workspace, err := db.workspaceKey(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	c := &comparison{ctx: ctx, db: db, stop: func() {}}
	if c.previous, err = db.previousWhole(ctx, s.ID, workspace); err != nil {
		return nil, err
	}
	if c.seen, err = db.collectionTimes(ctx, workspace); err != nil {
		return nil, err
	}
	all, err := db.dates(ctx, s, workspace, c.previous, asOf)
	if err != nil {
		return nil, err
	}
	in := order(all)
	c.near, c.successor = in.nearby(all), in.successors(all)
	c.shift(all, in, later)
	c.keep(all)
	if usable(s, engine.SectionAuditLog) {
		c.log, c.stop = iter.Pull2(activities(ctx, db.q, s.ID))
		return c, c.advance()
	}
	return c, nil
}

// past is what stays of a token's dates.
type past struct {
	first  int32 // snapshot that first held it
	before bool  // the complete snapshot before held it
}

// keep keeps what is still to be told, so that the dates can go.
func (c *comparison) keep(all []dates) {
	c.past, c.successors = make([]past, len(all)), map[int32]dates{}
	for i := range all {
		c.past[i] = past{int32(all[i].first), all[i].before} //nolint:gosec // there are not so many snapshots
		if place := c.successor[i]; place >= 0 {
			c.successors[place] = all[place]
		}
	}
	for _, list := range c.shifts {
		for _, s := range list {
			if s.successor >= 0 {
				c.successors[s.successor] = all[s.successor]
			}
		}
	}
}

// shift is how a token stands from a later instant on, where that has changed.
type shift struct {
	from             int // 1: the first of the later instants
	owner, workspace tally
	successor        int32
}

// shift finds what changes because tokens end.
func (c *comparison) shift(all []dates, in *orders, later []int64) {
	c.shifts = map[int32][]shift{}
	was, before := c.near, c.successor
	for i, at := range later {
		if !in.elapse(all, at) {
			continue
		}
		now, after := in.nearby(all), in.successors(all)
		for place := range all {
			s := shift{i + 1, now.owner[place], now.workspace[place], after[place]}
			if s.owner != was.owner[place] || s.workspace != was.workspace[place] || s.successor != before[place] {
				c.shifts[int32(place)] = append(c.shifts[int32(place)], s) //nolint:gosec // there are not so many
			}
		}
		was, before = now, after
	}
}

func (c *comparison) advance() (err error) {
	c.logged, err, c.more = c.log()
	return err
}

// next is how the token in the next place stands.
func (c *comparison) next(id string) (*engine.Among, error) {
	turns, err := c.following(id)
	if err != nil {
		return nil, err
	}
	return turns[0].among, nil
}

// turn is how a token stands from an instant on.
type turn struct {
	from  int // 0: the first
	among *engine.Among
}

// following is how the token in the next place stands, and how it will.
func (c *comparison) following(id string) ([]turn, error) {
	if c.place >= len(c.past) {
		return nil, errUnequal
	}
	i := c.place
	c.place++
	d := c.past[i]
	known := engine.Among{}
	if c.previous > 0 {
		known.InPrevious = &d.before
	}
	if at, seen := c.seen[int64(d.first)]; seen {
		known.FirstSeen = &at
	}
	if err := c.activity(id, &known); err != nil {
		return nil, err
	}
	shifts := append([]shift{{0, c.near.owner[i], c.near.workspace[i], c.successor[i]}}, c.shifts[int32(i)]...) //nolint:gosec // there are not so many
	turns := make([]turn, len(shifts))
	for n, s := range shifts {
		a := known
		a.OwnerExpiringNear, a.WorkspaceExpiringNear = s.owner.count(), s.workspace.count()
		if err := c.succeed(s.successor, &a); err != nil {
			return nil, err
		}
		turns[n] = turn{s.from, &a}
	}
	return turns, nil
}

// activity finds the token in the log, which has the same order. Tokens that
// the snapshot does not hold are passed over.
func (c *comparison) activity(id string, a *engine.Among) error {
	for c.more && c.logged.TokenID < id {
		if err := c.advance(); err != nil {
			return err
		}
	}
	if c.more && c.logged.TokenID == id {
		found := c.logged
		a.Activity = &found
	}
	return nil
}

func (c *comparison) succeed(place int32, a *engine.Among) error {
	switch place {
	case none:
		return nil
	case doubtful:
		a.SuccessorUnknown = true
		return nil
	}
	d := c.successors[place]
	a.Successor = &engine.Successor{Created: d.created, LastUsed: d.used}
	return c.db.q.QueryRowContext(c.ctx, `SELECT token_id FROM token_version WHERE version = ?`, d.version).Scan(&a.Successor.ID)
}

// previousWhole is the last snapshot of a workspace before this one that read
// its tokens whole; 0 when there is none.
func (db *DB) previousWhole(ctx context.Context, snapshot, workspace int64) (id int64, err error) {
	err = db.q.QueryRowContext(ctx, `SELECT coalesce(max(s.id), 0) FROM snapshot s
		JOIN section c ON c.snapshot_id = s.id AND c.name = 'tokens'
			AND (c.status = 'complete' OR c.status = 'partial' AND c.reason IN ('`+strings.Join(engine.OddRowReasons(), "', '")+`'))
		WHERE s.workspace_key = ? AND s.id < ?`, workspace, snapshot).Scan(&id)
	return id, err
}

func (db *DB) collectionTimes(ctx context.Context, workspace int64) (map[int64]int64, error) {
	times := map[int64]int64{}
	for c, err := range sqlite.Scan(ctx, db.q, `SELECT id, collected_ms FROM snapshot WHERE workspace_key = ?1
		UNION ALL SELECT id, collected_ms FROM pruned_snapshot WHERE workspace_key = ?1`, workspace) {
		if err != nil {
			return nil, err
		}
		times[c.Int()] = c.Int()
		if c.Err != nil {
			return nil, c.Err
		}
	}
	return times, nil
}

// datesQuery reads what comparing takes. ?1 is the snapshot, ?2 its workspace,
// ?3 the complete snapshot before, or 0.
const datesQuery = `SELECT v.version, v.owner_id, v.comment, v.created_ms, v.expires_ms, ` + useColumn + `,
	coalesce(v.defects LIKE '%"last_used_day"%', 0),
	v.since <= ?3 OR (?3 > 0 AND EXISTS (SELECT 1 FROM token_version p
		WHERE p.workspace_key = ?2 AND p.token_id = v.token_id AND p.since <= ?3 AND (p.until IS NULL OR p.until > ?3))),
	CASE WHEN v.version = v.token_key THEN v.since ELSE (SELECT f.since FROM token_version f WHERE f.version = v.token_key) END
	FROM token_version v WHERE ` + holds + ` ORDER BY v.token_id`

func (db *DB) dates(ctx context.Context, s engine.Snapshot, workspace, previous, asOf int64) ([]dates, error) {
	all := make([]dates, 0, max(0, s.Tokens)) // growing would hold two of them
	owners := map[string]int32{"": 0}
	for c, err := range sqlite.Scan(ctx, db.q, datesQuery, s.ID, workspace, previous) {
		if err != nil {
			return nil, err
		}
		d := dates{version: c.Int()}
		owner, comment := c.Text(), c.Text()
		created, expires, used := c.IntOrNull(), c.IntOrNull(), c.IntOrNull()
		useUnknown := c.Bool()
		d.before, d.first = c.Bool(), c.Int()
		if c.Err != nil {
			return nil, c.Err
		}
		if _, known := owners[owner]; !known {
			owners[owner] = int32(len(owners)) //nolint:gosec // there are not so many
		}
		d.owner = owners[owner]
		d.set(owner, comment, created, expires, used, useUnknown, asOf)
		all = append(all, d)
	}
	return slices.Clip(all), nil
}
