package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"

	"patrol/engine"
)

// dates is what is compared of a token.
type dates struct {
	version int64
	first   int64    // snapshot that first held it
	kin     [16]byte // of owner and comment; zero for a token that has no kin
	owner   int32    // 0: unknown
	created int64    // ms; unknown
	expires int64    // ms; unknown for one that is endless or has expired, too
	used    int64    // ms; unknown when never used, too
	doubt   bool     // created is not known, or used
	before  bool     // the complete snapshot before held it
}

const unknown = -1

// Places of successors that are none.
const (
	none     int32 = -1
	doubtful int32 = -2
)

// set fills in the dates. A token has kin if it is live and has an owner and a
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
		d.kin = [16]byte(sum[:16])
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

// near counts for each token those that expire near it.
type near struct{ owner, workspace []tally }

// tally is a count that does not apply when it is 0.
type tally int32

func (t tally) count() *int64 {
	if t == 0 {
		return nil
	}
	n := int64(t)
	return &n
}

// orders are the places of tokens in the orders in which they are compared.
type orders struct {
	expiry []int32 // of those that expire
	owner  []int32 // of those of them that have an owner: by owner, then expiry
	kin    []int32 // of those that have kin: by kin, newest first; those of unknown age come last
}

func (d *dates) dated() bool   { return d.expires != unknown }
func (d *dates) owned() bool   { return d.dated() && d.owner != 0 }
func (d *dates) kindred() bool { return d.kin != [16]byte{} }

func order(all []dates) *orders {
	return &orders{
		expiry: places(all, (*dates).dated, func(a, b *dates) int { return cmp.Compare(a.expires, b.expires) }),
		owner: places(all, (*dates).owned, func(a, b *dates) int {
			return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.expires, b.expires))
		}),
		kin: places(all, (*dates).kindred, func(a, b *dates) int {
			return cmp.Or(bytes.Compare(a.kin[:], b.kin[:]), cmp.Compare(b.created, a.created))
		}),
	}
}

// elapse leaves out what has ended at an instant after that of the dates. It
// reports whether anything has.
func (o *orders) elapse(all []dates, at int64) bool {
	n := 0
	for n < len(o.expiry) && all[o.expiry[n]].expires <= at {
		d := &all[o.expiry[n]]
		d.expires, d.kin = unknown, [16]byte{}
		n++
	}
	if n == 0 {
		return false
	}
	o.expiry = o.expiry[n:]
	o.owner = slices.DeleteFunc(o.owner, func(i int32) bool { return !all[i].owned() })
	o.kin = slices.DeleteFunc(o.kin, func(i int32) bool { return !all[i].kindred() })
	return true
}

func (o *orders) nearby(all []dates) near {
	anybody := func(*dates, *dates) bool { return true }
	sameOwner := func(a, b *dates) bool { return a.owner == b.owner }
	return near{owner: window(all, o.owner, sameOwner), workspace: window(all, o.expiry, anybody)}
}

// window counts, for each token in a list that is sorted by group and expiry,
// those of its group within engine.NearExpiry.
func window(all []dates, list []int32, alike func(a, b *dates) bool) []tally {
	counts := make([]tally, len(all))
	from, to := 0, 0
	for _, place := range list {
		d := &all[place]
		for !alike(&all[list[from]], d) || all[list[from]].expires < d.expires-engine.NearExpiry {
			from++
		}
		for to = max(to, from); to < len(list) && alike(&all[list[to]], d) && all[list[to]].expires <= d.expires+engine.NearExpiry; {
			to++
		}
		counts[place] = tally(to - from) //nolint:gosec // there are not so many
	}
	return counts
}

// successors finds the place of each token's successor: among its kin that were
// made later, the one used last. It is doubtful where a date that counts is
// not known.
func (o *orders) successors(all []dates) []int32 {
	found := make([]int32, len(all))
	for i := range found {
		found[i] = none
	}
	list := o.kin
	for len(list) > 0 {
		end := 1
		for end < len(list) && all[list[end]].kin == all[list[0]].kin {
			end++
		}
		succeed(all, list[:end], found)
		list = list[end:]
	}
	return found
}

// succeed works through kin, newest first; those of unknown age come last.
func succeed(all []dates, kin []int32, found []int32) {
	if len(kin) == 1 {
		return
	}
	best, doubt := none, all[kin[len(kin)-1]].created == unknown
	for start := 0; start < len(kin); {
		end := start
		for ; end < len(kin) && all[kin[end]].created == all[kin[start]].created; end++ {
			found[kin[end]] = best
			if doubt {
				found[kin[end]] = doubtful
			}
		}
		for _, place := range kin[start:end] { // they succeed what is older, not each other
			doubt = doubt || all[place].doubt
			if d := all[place]; d.used != unknown && (best == none || later(d, all[best])) {
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
