package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"patrol/engine"
	"patrol/engine/sqlite"
)

// base is the last verdict of a policy on a workspace before an evaluation:
// what the results of that evaluation are compared with. All but the snapshot
// and the moment are places in the evaluation that came to the verdict.
type base struct {
	evaluation int64
	workspace  int64
	policy     int64
	snapshot   int64
	asOf       int64 // ms
}

// A snapshot that could not be judged, or a policy whose section nobody asked
// for, says nothing of what stood before it: the one before that counts. Of the
// evaluations of a snapshot the first that was not narrowed counts: what
// somebody tried later on it changes no audit. Evaluations at a later moment
// than this one are of the future.
//
// A policy that judged no token where there is none had nothing to find.
const baseQuery = `SELECT e.id, w.place, p.place, s.id, e.as_of_ms
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

// judgedBefore finds the base of a policy on a snapshot in an evaluation as of a
// moment in ms; false where the policy never came to a verdict before.
func judgedBefore(ctx context.Context, q sqlite.Querier, evaluation, snapshot, asOf int64, policy engine.Policy) (b base, ok bool, err error) {
	needs, err := json.Marshal(neededSections(policy))
	if err != nil {
		return base{}, false, err
	}
	err = q.QueryRowContext(ctx, baseQuery, snapshot, evaluation, asOf, string(needs), policy.ID).
		Scan(&b.evaluation, &b.workspace, &b.policy, &b.snapshot, &b.asOf)
	if errors.Is(err, sql.ErrNoRows) {
		return base{}, false, nil
	}
	return b, err == nil, err
}

// neededSections are the sections that hold what a policy needs.
func neededSections(p engine.Policy) []string {
	sections := make([]string, len(p.Needs))
	for i, need := range p.Needs {
		sections[i], _, _ = strings.Cut(need, ".")
	}
	return sections
}
