package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const seenQuery = `SELECT policy, workspace, rank, fingerprint, status, resource FROM finding WHERE evaluation_id = ?`

// trend compares an evaluation with what its policies said of the workspaces
// before. It is nil where no snapshot before was judged. Later evaluations than
// this one never count, so that a report stays as it is.
//
// Each finding is looked up among those of the verdict before; what nobody looked up
// there is gone, unless the policy could not judge the workspace at all now.
func (db *DB) trend(ctx context.Context, evaluation int64, r engine.Report, policies []engine.Policy) (*engine.Trend, error) {
	t := &engine.Trend{Counts: map[engine.Change]map[engine.Severity]int{}, Fixes: map[engine.Severity]engine.Fix{}}
	verdicts, err := db.verdictsBefore(ctx, evaluation, r, policies, t)
	if err != nil || t.Workspaces == 0 {
		return nil, err
	}
	before := map[int64]*earlier{}
	for _, v := range verdicts {
		if v != nil && before[v.evaluation] == nil {
			if before[v.evaluation], err = db.earlier(ctx, v.evaluation); err != nil {
				return nil, err
			}
		}
	}
	count := func(change engine.Change, severity engine.Severity) {
		if change == "" {
			return
		}
		if t.Counts[change] == nil {
			t.Counts[change] = map[engine.Severity]int{}
		}
		t.Counts[change][severity]++
	}
	unjudged := map[pair]bool{} // the workspace as a whole: its findings are not gone, only unseen
	var worst []newFinding      // of those that are new or worse
	for c, err := range sqlite.Scan(ctx, db.q, seenQuery, evaluation) {
		if err != nil {
			return nil, err
		}
		at := pair{c.Int(), c.Int()}
		rank, fingerprint := c.Int(), readFingerprint(c)
		now := &engine.Seen{Status: engine.Status(c.Text()), Severity: severityAt(rank)}
		if engine.Resource(c.Text()) == engine.ResourceWorkspace && (now.Status == engine.Unknown || now.Status == engine.Errored) {
			unjudged[at] = true
		}
		last, takesPart := verdicts[at]
		switch {
		case !takesPart:
			continue
		case last == nil:
			if now.Status == engine.Fail {
				count(engine.ChangeUnsure, now.Severity)
			}
			continue
		}
		var was *engine.Seen
		if f := before[last.evaluation].find(last, fingerprint); f != nil {
			f.seen = true
			was = before[last.evaluation].lastJudged(f)
		}
		change := engine.CompareSeen(was, now)
		count(change, now.Severity)
		if change == engine.ChangeNew || change == engine.ChangeWorse {
			n := newFinding{rank, at, fingerprint}
			if i, _ := slices.BinarySearchFunc(worst, n, newFinding.compare); i < engine.TrendShown {
				worst = slices.Insert(worst, i, n)
				worst = worst[:min(len(worst), engine.TrendShown)]
			}
		}
	}
	lasted := map[engine.Severity]time.Duration{}
	for at, last := range verdicts {
		if last == nil {
			continue
		}
		of := before[last.evaluation]
		for _, f := range of.findings[pair{last.policy, last.workspace}] {
			if f.seen {
				continue
			}
			was := of.lastJudged(&f)
			var now *engine.Seen
			if unjudged[at] {
				now = &engine.Seen{Status: engine.Unknown, Severity: was.Severity}
			}
			change := engine.CompareSeen(was, now)
			count(change, was.Severity)
			if change != engine.ChangeFixed {
				continue
			}
			from := last.asOf // where its beginning was not stored, it lasted at least from the verdict
			if f.moment > 0 {
				from = of.moments[f.moment-1]
			}
			lasted[was.Severity] += max(0, r.AsOf.Sub(time.UnixMilli(from)))
			fix := t.Fixes[was.Severity]
			t.Fixes[was.Severity] = engine.Fix{Count: fix.Count + 1, AtLeast: fix.AtLeast || f.moment == 0}
		}
	}
	for severity, fix := range t.Fixes {
		fix.Mean = lasted[severity] / time.Duration(fix.Count)
		t.Fixes[severity] = fix
	}
	for _, n := range worst {
		found, err := sqlite.List(ctx, db.q, func(c *sqlite.Row) engine.Finding { return readFinding(c, r.Workspaces, policies) },
			findingSelect+findingFrom+`WHERE f.evaluation_id = ? AND f.rank = ? AND f.policy = ? AND f.workspace = ? AND f.fingerprint = ? LIMIT 1`,
			evaluation, n.rank, n.at.policy, n.at.workspace, encodeFingerprint(n.fingerprint))
		if err != nil {
			return nil, err
		}
		t.New = append(t.New, found...)
	}
	return t, nil
}

// verdictsBefore finds what each policy in each workspace is compared with; nil where
// it never came to a verdict before. Those that did not run now are left out. It fills
// in since when, and how many workspaces were judged before.
func (db *DB) verdictsBefore(ctx context.Context, evaluation int64, r engine.Report, policies []engine.Policy, t *engine.Trend) (map[pair]*verdict, error) {
	const newestQuery = `SELECT s.id, e.as_of_ms
	FROM snapshot s JOIN evaluation_workspace w ON w.snapshot_id = s.id JOIN evaluation e ON e.id = w.evaluation_id
	WHERE s.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND s.id < ?1 AND e.id < ?2 AND e.as_of_ms <= ?3 AND e.what_if = ''
	ORDER BY s.id DESC, e.narrowed, e.id LIMIT 1`
	verdicts := map[pair]*verdict{}
	for place, w := range r.Workspaces {
		var newest, asOf int64 // the newest snapshot before that was judged, and as of when
		judged, err := sqlite.First(ctx, db.q, newestQuery, []any{w.Snapshot.ID, evaluation, r.AsOf.UnixMilli()}, &newest, &asOf)
		if err != nil {
			return nil, err
		}
		if !judged {
			continue
		}
		t.Workspaces++
		if at := time.UnixMilli(asOf).UTC(); at.After(t.Since) {
			t.Since = at
		}
		for policy, p := range policies {
			if !takesPart(w, p) {
				continue
			}
			last, err := verdictBefore(ctx, db.q, evaluation, w.Snapshot.ID, r.AsOf.UnixMilli(), p)
			if err != nil {
				return nil, err
			}
			verdicts[pair{int64(policy), int64(place)}] = last
			if last == nil || last.snapshot == newest {
				continue
			}
			if at := time.UnixMilli(last.asOf).UTC(); t.Earliest.IsZero() || at.Before(t.Earliest) {
				t.Earliest = at
			}
		}
	}
	return verdicts, nil
}

// takesPart reports whether a policy was run on a workspace, with what it needs
// asked for. One that is disabled there has no results; nor has any where there
// is no token.
func takesPart(w engine.WorkspaceReport, p engine.Policy) bool {
	for _, section := range neededSections(p) {
		if coverage, known := w.Snapshot.Coverage[engine.SectionName(section)]; known && !coverage.Requested() {
			return false
		}
	}
	for _, count := range w.Policies[p.ID] {
		if count > 0 {
			return true
		}
	}
	return w.Snapshot.Tokens == 0 && usable(w.Snapshot, engine.SectionTokens)
}

// newFinding is a finding that is new or worse: the order of its members is that of
// reports, as far as a fingerprint tells.
type newFinding struct {
	rank        int64
	at          pair
	fingerprint string
}

func (n newFinding) compare(o newFinding) int {
	return cmp.Or(cmp.Compare(n.rank, o.rank), cmp.Compare(n.at.policy, o.at.policy), cmp.Compare(n.at.workspace, o.at.workspace), cmp.Compare(n.fingerprint, o.fingerprint))
}

// verdict is the last verdict of a policy on a workspace before an evaluation: what
// the results of that evaluation are compared with. Workspace and policy are places
// in the evaluation that came to it.
type verdict struct {
	evaluation, workspace, policy int64
	snapshot                      int64
	asOf                          int64 // ms
}

// A snapshot that could not be judged, or a policy whose section nobody asked
// for, says nothing of what stood before it: the one before that counts. Of the
// evaluations of a snapshot the first that was not narrowed counts: what
// somebody tried later on it changes no audit. Evaluations at a later moment
// than this one are of the future.
//
// A policy that judged no token where there is none had nothing to find.
const verdictQuery = `SELECT e.id, w.place, p.place, s.id, e.as_of_ms
	FROM snapshot s JOIN evaluation_workspace w ON w.snapshot_id = s.id JOIN evaluation e ON e.id = w.evaluation_id
	JOIN evaluation_policy p ON p.evaluation_id = e.id AND p.policy_id = ?5
	WHERE s.workspace_key = (SELECT workspace_key FROM snapshot WHERE id = ?1) AND s.id < ?1 AND e.id < ?2 AND e.as_of_ms <= ?3 AND e.what_if = ''
	AND NOT EXISTS (SELECT 1 FROM section c WHERE c.snapshot_id = s.id AND c.status = 'not_collected' AND c.reason = 'not_requested'
		AND c.name IN (SELECT value FROM json_each(?4)))
	AND (EXISTS (SELECT 1 FROM tally t WHERE t.evaluation_id = e.id AND t.workspace = w.place AND t.policy = p.place
			AND t.status NOT IN ('unknown', 'error') AND t.count > 0)
		OR s.tokens = 0 AND EXISTS (SELECT 1 FROM section c WHERE c.snapshot_id = s.id AND c.name = 'tokens' AND c.status IN ('complete', 'partial'))
			AND NOT EXISTS (SELECT 1 FROM tally t WHERE t.evaluation_id = e.id AND t.workspace = w.place AND t.policy = p.place AND t.count > 0))
	ORDER BY s.id DESC, e.narrowed, e.id LIMIT 1`

// verdictBefore finds the last verdict of a policy on the workspace of a snapshot
// before an evaluation as of a moment in ms; nil where it never came to one.
func verdictBefore(ctx context.Context, q sqlite.Querier, evaluation, snapshot, asOf int64, policy engine.Policy) (*verdict, error) {
	args := []any{snapshot, evaluation, asOf, string(engine.CompactJSON(neededSections(policy))), policy.ID}
	var v verdict
	there, err := sqlite.First(ctx, q, verdictQuery, args, &v.evaluation, &v.workspace, &v.policy, &v.snapshot, &v.asOf)
	if err != nil || !there {
		return nil, err
	}
	return &v, nil
}

// neededSections are the sections that hold what a policy needs.
func neededSections(p engine.Policy) []string {
	sections := make([]string, len(p.Needs))
	for i, need := range p.Needs {
		sections[i], _, _ = strings.Cut(need, ".")
	}
	return sections
}

// pair is a policy in a workspace, by their places in an evaluation.
type pair struct{ policy, workspace int64 }

// earlier are the findings of an evaluation that a later one is compared with:
// 24 bytes each, read once while the evaluation is verified.
type earlier struct {
	findings map[pair][]earlierFinding // ascending by key
	moments  []int64                   // of since, ms
	statuses []engine.Status
}

type earlierFinding struct {
	key    fingerprintKey
	moment uint32 // place in moments, from 1; 0: not known since when
	rank   uint8
	status uint8 // place in statuses
	seen   bool  // the later evaluation has it too
}

// fingerprintKey is half of the sha256 of a fingerprint: no two that anybody can
// make have the same, so that none has another's date.
type fingerprintKey [16]byte

func keyOf(fingerprint string) fingerprintKey {
	sum := sha256.Sum256([]byte(fingerprint))
	return fingerprintKey(sum[:16])
}

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
		d.values('F', c.Values())
		at := pair{c.Int(), c.Int()}
		if !within(at.policy, policies) {
			return nil, fmt.Errorf("stored finding refers to policy %d, which is not there", at.policy)
		}
		c.Skip(2) // the resource
		status := engine.Status(c.Text())
		c.Skip(1)
		severity := engine.Severity(c.TextOr(string(policies[at.policy].Severity)))
		c.Skip(4)
		f := earlierFinding{key: keyOf(readFingerprint(c)), rank: uint8(severity.Rank())} //nolint:gosec // there are five
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
		place := slices.Index(e.statuses, status)
		if place < 0 {
			place = len(e.statuses)
			e.statuses = append(e.statuses, status)
		}
		f.status = uint8(place) //nolint:gosec // there are five
		e.findings[at] = append(e.findings[at], f)
	}
	for _, list := range e.findings {
		slices.SortFunc(list, func(a, b earlierFinding) int { return bytes.Compare(a.key[:], b.key[:]) })
	}
	return e, db.sealed(ctx, evaluation, d.hex())
}

// find is the finding of a fingerprint; nil: there was none.
func (e *earlier) find(v *verdict, fingerprint string) *earlierFinding {
	list, key := e.findings[pair{v.policy, v.workspace}], keyOf(fingerprint)
	i, found := slices.BinarySearchFunc(list, key, func(f earlierFinding, key fingerprintKey) int { return bytes.Compare(f.key[:], key[:]) })
	if !found {
		return nil
	}
	return &list[i]
}

// lastJudged is a finding as its last verdict had it: what could not be judged
// and has a beginning failed when it was judged last.
func (e *earlier) lastJudged(f *earlierFinding) *engine.Seen {
	seen := &engine.Seen{Status: e.statuses[f.status], Severity: severityAt(int64(f.rank))}
	if !seen.Status.Judged() && f.moment > 0 {
		seen.Status = engine.Fail
	}
	return seen
}

// severityAt is "" where a stored rank is none.
func severityAt(rank int64) engine.Severity {
	if known := engine.Severities(); within(rank, known) {
		return known[rank]
	}
	return ""
}

// since is the moment in ms since when a finding stands, or NULL: that of the
// verdict before where it stood then, else that of this evaluation. What could
// not be judged keeps what the verdict before had.
func (e *Evaluation) since(at pair, fingerprint string, status engine.Status) (any, error) {
	last, known := e.verdicts[at]
	if !known {
		var err error
		if last, err = verdictBefore(e.ctx, e.tx, e.id, e.workspaces[at.workspace].ID, e.asOf, e.policies[at.policy]); err != nil {
			return nil, err
		}
		if last != nil && e.earlier[last.evaluation] == nil {
			if e.earlier[last.evaluation], err = viewOf(e.db, e.tx).earlier(e.ctx, last.evaluation); err != nil {
				return nil, err
			}
		}
		e.verdicts[at] = last
	}
	if last != nil {
		before := e.earlier[last.evaluation]
		if f := before.find(last, fingerprint); f != nil {
			switch {
			case f.moment > 0:
				return before.moments[f.moment-1], nil
			case before.statuses[f.status].Judged(): // stored before there was a column for it
				return last.asOf, nil
			}
		}
	}
	if status.Judged() {
		return e.asOf, nil
	}
	return nil, nil
}
