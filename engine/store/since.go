package store

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// pair is a policy in a workspace, by their places in an evaluation.
type pair struct{ policy, workspace int64 }

// earlier are the findings of an evaluation that a later one is compared with:
// sixteen bytes each, read once while the evaluation is verified.
type earlier struct {
	findings map[pair][]earlierFinding // ascending by key
	moments  []int64                   // of since, ms
	statuses []engine.Status
}

type earlierFinding struct {
	key    uint64 // 64 bits made of the fingerprint: within one policy and workspace they tell findings apart
	moment uint32 // place in moments, from 1; 0: not known since when
	rank   uint8
	status uint8 // place in statuses
	seen   bool  // the later evaluation has it too
}

var keySeed = maphash.MakeSeed()

func fingerprintKey(fingerprint string) uint64 { return maphash.String(keySeed, fingerprint) }

// earlier reads the findings of an evaluation, which must be what was sealed.
func (db *DB) earlier(ctx context.Context, evaluation int64) (*earlier, error) {
	policies, err := db.policies(ctx, evaluation)
	if err != nil {
		return nil, err
	}
	d, err := evaluationDigest(ctx, db.q, evaluation)
	if err != nil {
		return nil, err
	}
	e := &earlier{findings: map[pair][]earlierFinding{}}
	moments := map[int64]uint32{}
	for c, err := range sqlite.Scan(ctx, db.q, findingQuery, evaluation) {
		if err != nil {
			return nil, err
		}
		d.values('F', c)
		at := pair{c.Int(), c.Int()}
		if !within(at.policy, policies) {
			return nil, fmt.Errorf("stored finding refers to policy %d, which is not there", at.policy)
		}
		c.Skip(2) // the resource
		status := engine.Status(c.Text())
		c.Skip(1)
		severity := engine.Severity(c.TextOr(string(policies[at.policy].Severity)))
		c.Skip(4)
		f := earlierFinding{key: fingerprintKey(decodeFingerprint(c)), rank: uint8(severity.Rank())} //nolint:gosec // there are five
		c.Skip(2)
		if since := c.IntOrNull(); since != nil {
			place, known := moments[*since]
			if !known {
				e.moments = append(e.moments, *since)
				place = uint32(len(e.moments)) //nolint:gosec // there are not so many
				moments[*since] = place
			}
			f.moment = place
		}
		if c.Err != nil {
			return nil, c.Err
		}
		place := slices.Index(e.statuses, status)
		if place < 0 {
			place = len(e.statuses)
			e.statuses = append(e.statuses, status)
		}
		f.status = uint8(place) //nolint:gosec // there are five
		e.findings[at] = append(e.findings[at], f)
	}
	for _, list := range e.findings {
		slices.SortFunc(list, func(a, b earlierFinding) int { return cmp.Compare(a.key, b.key) })
	}
	return e, db.sealed(ctx, evaluation, d.hex())
}

// find is the finding of a fingerprint; nil: there was none.
func (e *earlier) find(at pair, fingerprint string) *earlierFinding {
	list := e.findings[at]
	i, found := slices.BinarySearchFunc(list, fingerprintKey(fingerprint), func(f earlierFinding, key uint64) int { return cmp.Compare(f.key, key) })
	if !found {
		return nil
	}
	return &list[i]
}

// since is the moment in ms since when a finding stands, or NULL: that of the
// verdict before where it stood then, else that of this evaluation. What could
// not be judged keeps what the verdict before had.
func (e *Evaluation) since(at pair, fingerprint string, status engine.Status) (any, error) {
	b, err := e.base(at)
	if err != nil {
		return nil, err
	}
	if b != nil {
		before := e.earlier[b.evaluation]
		if f := before.find(pair{b.policy, b.workspace}, fingerprint); f != nil {
			switch {
			case f.moment > 0:
				return before.moments[f.moment-1], nil
			case before.statuses[f.status].Judged(): // stored before there was a column for it
				return b.asOf, nil
			}
		}
	}
	if status.Judged() {
		return e.asOf, nil
	}
	return nil, nil
}

func (e *Evaluation) base(at pair) (*base, error) {
	if b, known := e.bases[at]; known {
		return b, nil
	}
	b, ok, err := judgedBefore(e.ctx, e.tx, e.id, e.workspaces[at.workspace].snapshot.ID, e.asOf, e.policies[at.policy])
	if err != nil {
		return nil, err
	}
	if !ok {
		e.bases[at] = nil
		return nil, nil
	}
	if e.earlier[b.evaluation] == nil {
		if e.earlier[b.evaluation], err = viewOf(e.db, e.tx).earlier(e.ctx, b.evaluation); err != nil {
			return nil, err
		}
	}
	e.bases[at] = &b
	return &b, nil
}
