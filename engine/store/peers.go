package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"iter"
	"slices"
	"strings"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// comparison is how the tokens of a snapshot compare with their peers. Its slices
// go by the place of a token in the order of ids; they take some twenty bytes a
// token, and seventy while the tokens are compared.
type comparison struct {
	past       []past
	first      []standing                 // at the first instant
	shifts     map[int32][]shift          // by place: at later instants
	successors map[int32]engine.Successor // by place
	place      int
	seen       map[int64]int64 // snapshot → when it was collected
	previous   int64           // complete snapshot before; 0: there is none

	log    func() (engine.Activity, error, bool)
	stop   func()
	logged engine.Activity // next of the log
	more   bool            // logged holds
}

// past is what stays of a token's dates.
type past struct {
	first  int32 // snapshot that first held it
	before bool  // the complete snapshot before held it
}

// standing is how a token stands among the others at an instant.
type standing struct {
	owner, workspace int32 // tokens that expire together with it, itself included; 0: it does not apply
	successor        int32 // place; noSuccessor, unknownSuccessor
}

// shift is how a token stands from an instant on: 0 is the first, 1 the first of the later ones.
type shift struct {
	from int
	standing
}

// Places of successors that are none.
const (
	noSuccessor      int32 = -1
	unknownSuccessor int32 = -2
)

var errUnequal = errors.New("the tokens of the snapshot were not read twice alike")

// compare compares the tokens of a snapshot at an instant and at later ones.
func (db *DB) compare(ctx context.Context, s engine.Snapshot, asOf int64, later ...int64) (*comparison, error) {
	c := &comparison{past: make([]past, 0, max(0, s.Tokens)), seen: map[int64]int64{}, shifts: map[int32][]shift{}, successors: map[int32]engine.Successor{}, stop: func() {}}
	err := db.q.QueryRowContext(ctx, `SELECT coalesce(max(s.id), 0) FROM snapshot s
		JOIN section c ON c.snapshot_id = s.id AND c.name = 'tokens'
			AND (c.status = 'complete' OR c.status = 'partial' AND c.reason IN ('`+strings.Join(engine.OddRowReasons(), "', '")+`'))
		WHERE s.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND s.id < ?1`, s.ID).Scan(&c.previous)
	if err != nil {
		return nil, err
	}
	for row, err := range sqlite.Scan(ctx, db.q, `WITH w AS (SELECT workspace_key FROM snapshot WHERE id = ?1)
		SELECT id, collected_ms FROM snapshot WHERE workspace_key = (SELECT workspace_key FROM w)
		UNION ALL SELECT id, collected_ms FROM pruned_snapshot WHERE workspace_key = (SELECT workspace_key FROM w)`, s.ID) {
		if err != nil {
			return nil, err
		}
		c.seen[row.Int()] = row.Int()
	}
	all := make([]dates, 0, max(0, s.Tokens)) // growing would hold two of them
	owners := map[string]int32{"": 0}
	for row, err := range sqlite.Scan(ctx, db.q, datesQuery, s.ID, c.previous) {
		if err != nil {
			return nil, err
		}
		d := dates{version: row.Int()}
		owner, comment := row.Text(), row.Text()
		created, expires, used := row.IntOrNull(), row.IntOrNull(), row.IntOrNull()
		useUnknown := row.Bool()
		c.past = append(c.past, past{before: row.Bool(), first: int32(row.Int())}) //nolint:gosec // there are not so many snapshots
		if _, known := owners[owner]; !known {
			owners[owner] = int32(len(owners)) //nolint:gosec // there are not so many
		}
		d.owner = owners[owner]
		d.set(owner, comment, created, expires, used, useUnknown, asOf)
		all = append(all, d)
	}
	in := order(all)
	// The ids of successors are looked up, so that the dates can go.
	standings := func() ([]standing, error) {
		found := in.standings(all)
		for _, at := range found {
			if _, known := c.successors[at.successor]; known || at.successor < 0 {
				continue
			}
			d := all[at.successor]
			named := engine.Successor{Created: d.created, LastUsed: d.used}
			if err := db.q.QueryRowContext(ctx, `SELECT token_id FROM token_version WHERE version = ?`, d.version).Scan(&named.ID); err != nil {
				return nil, err
			}
			c.successors[at.successor] = named
		}
		return found, nil
	}
	if c.first, err = standings(); err != nil {
		return nil, err
	}
	was := c.first
	for i, at := range later {
		if !in.elapse(all, at) {
			continue
		}
		now, err := standings()
		if err != nil {
			return nil, err
		}
		for place := range all {
			if now[place] != was[place] {
				c.shifts[int32(place)] = append(c.shifts[int32(place)], shift{i + 1, now[place]}) //nolint:gosec // there are not so many
			}
		}
		was = now
	}
	if usable(s, engine.SectionAuditLog) {
		c.log, c.stop = iter.Pull2(activities(ctx, db.q, s.ID))
		c.logged, err, c.more = c.log()
	}
	return c, err
}

// turn is how a token stands from an instant on.
type turn struct {
	from  int // 0: the first
	peers *engine.Peers
}

// following is how the token in the next place stands, and how it will.
func (c *comparison) following(id string) ([]turn, error) {
	if c.place >= len(c.past) {
		return nil, errUnequal
	}
	i := c.place
	c.place++
	d := c.past[i]
	known := engine.Peers{}
	if c.previous > 0 {
		known.InPrevious = &d.before
	}
	if at, seen := c.seen[int64(d.first)]; seen {
		known.FirstSeen = &at
	}
	for c.more && c.logged.TokenID < id { // the log has the same order; what the snapshot does not hold is passed over
		var err error
		if c.logged, err, c.more = c.log(); err != nil {
			return nil, err
		}
	}
	if c.more && c.logged.TokenID == id {
		known.Activity = new(c.logged)
	}
	shifts := append([]shift{{0, c.first[i]}}, c.shifts[int32(i)]...) //nolint:gosec // there are not so many
	turns := make([]turn, len(shifts))
	for n, s := range shifts {
		peers := known
		peers.OwnerExpiringNear, peers.WorkspaceExpiringNear = countOf(s.owner), countOf(s.workspace)
		if found, there := c.successors[s.successor]; there {
			peers.Successor = &found
		}
		peers.SuccessorUnknown = s.successor == unknownSuccessor
		turns[n] = turn{s.from, &peers}
	}
	return turns, nil
}

// countOf is nil for 0.
func countOf(n int32) *int64 {
	if n == 0 {
		return nil
	}
	return new(int64(n))
}

// datesQuery reads what comparing takes. ?1 is the snapshot, ?2 the complete snapshot
// before, or 0.
var datesQuery = `SELECT v.version, v.owner_id, v.comment, v.created_ms, v.expires_ms, ` + useIn(1) + `,
	coalesce(v.defects LIKE '%"last_used_day"%', 0),
	v.since <= ?2 OR (?2 > 0 AND EXISTS (SELECT 1 FROM token_version p
		WHERE p.workspace_key = v.workspace_key AND p.token_id = v.token_id AND p.since <= ?2 AND (p.until IS NULL OR p.until > ?2))),
	CASE WHEN v.version = v.token_key THEN v.since ELSE (SELECT f.since FROM token_version f WHERE f.version = v.token_key) END
	FROM token_version v WHERE ` + holds + ` ORDER BY v.token_id`

// dates is what is compared of a token.
type dates struct {
	version int64
	group   [16]byte // of owner and comment; zero for a token that is in none
	owner   int32    // 0: unknown
	created int64    // ms; unknown
	expires int64    // ms; unknown for one that is endless or has expired, too
	used    int64    // ms; unknown when never used, too
	doubt   bool     // created is not known, or used
}

const unknown = -1

// set fills in the dates. A token is in a group if it is live and has an owner and a
// comment: one whose expiry is not known counts as live.
func (d *dates) set(owner, comment string, created, expires, used *int64, useUnknown bool, asOf int64) {
	d.created, d.expires, d.used = unknown, unknown, unknown
	if created != nil {
		d.created = *created
	}
	if used != nil {
		d.used = *used
	}
	if expires != nil && *expires > asOf {
		d.expires = *expires
	}
	d.doubt = created == nil || useUnknown
	live := expires == nil || *expires == engine.NeverExpires || d.expires != unknown
	if live && owner != "" && engine.VisibleComment(comment) != "" {
		sum := sha256.Sum256([]byte(owner + "\x00" + comment))
		d.group = [16]byte(sum[:16])
	}
}

// places lists the places of the tokens that keep accepts, in an order.
func places(all []dates, keep func(*dates) bool, order func(a, b *dates) int) []int32 {
	var list []int32
	for i := range all {
		if keep(&all[i]) {
			list = append(list, int32(i)) //nolint:gosec // there are not so many
		}
	}
	slices.SortStableFunc(list, func(a, b int32) int { return order(&all[a], &all[b]) })
	return list
}

// orders are the places of tokens in the orders in which they are compared.
type orders struct {
	expiry []int32 // of those that expire
	owner  []int32 // of those of them that have an owner: by owner, then expiry
	group  []int32 // of those that are in one: by group, newest first; those of unknown age come last
}

func (d *dates) dated() bool   { return d.expires != unknown }
func (d *dates) owned() bool   { return d.dated() && d.owner != 0 }
func (d *dates) grouped() bool { return d.group != [16]byte{} }

func order(all []dates) *orders {
	return &orders{
		expiry: places(all, (*dates).dated, func(a, b *dates) int { return cmp.Compare(a.expires, b.expires) }),
		owner: places(all, (*dates).owned, func(a, b *dates) int {
			return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.expires, b.expires))
		}),
		group: places(all, (*dates).grouped, func(a, b *dates) int {
			return cmp.Or(bytes.Compare(a.group[:], b.group[:]), cmp.Compare(b.created, a.created))
		}),
	}
}

// elapse leaves out what has ended at an instant after that of the dates. It
// reports whether anything has.
func (o *orders) elapse(all []dates, at int64) bool {
	n := 0
	for n < len(o.expiry) && all[o.expiry[n]].expires <= at {
		d := &all[o.expiry[n]]
		d.expires, d.group = unknown, [16]byte{}
		n++
	}
	if n == 0 {
		return false
	}
	o.expiry = o.expiry[n:]
	o.owner = slices.DeleteFunc(o.owner, func(i int32) bool { return !all[i].owned() })
	o.group = slices.DeleteFunc(o.group, func(i int32) bool { return !all[i].grouped() })
	return true
}

// standings is how each token stands among the others.
func (o *orders) standings(all []dates) []standing {
	found := make([]standing, len(all))
	for i := range found {
		found[i].successor = noSuccessor
	}
	anybody := func(*dates, *dates) bool { return true }
	sameOwner := func(a, b *dates) bool { return a.owner == b.owner }
	expiringTogether(all, o.owner, sameOwner, func(place, n int32) { found[place].owner = n })
	expiringTogether(all, o.expiry, anybody, func(place, n int32) { found[place].workspace = n })
	for list := o.group; len(list) > 0; {
		end := 1
		for end < len(list) && all[list[end]].group == all[list[0]].group {
			end++
		}
		succeed(all, list[:end], found)
		list = list[end:]
	}
	return found
}

// expiringTogether counts, for each token in a list that is sorted by what makes tokens
// alike and expiry, those that are like it within engine.NearExpiry.
func expiringTogether(all []dates, list []int32, alike func(a, b *dates) bool, count func(place, n int32)) {
	from, to := 0, 0
	for _, place := range list {
		d := &all[place]
		for !alike(&all[list[from]], d) || all[list[from]].expires < d.expires-engine.NearExpiry {
			from++
		}
		for to = max(to, from); to < len(list) && alike(&all[list[to]], d) && all[list[to]].expires <= d.expires+engine.NearExpiry; {
			to++
		}
		count(place, int32(to-from)) //nolint:gosec // there are not so many
	}
}

// succeed finds the successor of each token of a group, newest first, those of unknown age
// last: the one made later that was used last. It is unknown where a date that counts is
// not known.
func succeed(all []dates, group []int32, found []standing) {
	if len(group) == 1 {
		return
	}
	best, doubt := noSuccessor, all[group[len(group)-1]].created == unknown
	for start := 0; start < len(group); {
		end := start
		for ; end < len(group) && all[group[end]].created == all[group[start]].created; end++ {
			found[group[end]].successor = best
			if doubt {
				found[group[end]].successor = unknownSuccessor
			}
		}
		for _, place := range group[start:end] { // they succeed what is older, not each other
			doubt = doubt || all[place].doubt
			if d := all[place]; d.used != unknown && (best == noSuccessor || later(d, all[best])) {
				best = place
			}
		}
		start = end
	}
}

// later: used later, or, on the same day, made later.
func later(a, b dates) bool {
	return cmp.Or(cmp.Compare(a.used, b.used), cmp.Compare(a.created, b.created)) > 0
}
