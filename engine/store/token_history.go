package store

import (
	"context"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const opHistory = "read history of token"

// TokenHistory is everything that the database remembers of the tokens whose id
// begins with a text, by workspace and token: versions, moves of the last use,
// and findings, each oldest first. Nothing found is an empty list. It is made only
// of what is intact: the reason of the error is digest_mismatch else.
func (db *DB) TokenHistory(ctx context.Context, prefix string) (_ []engine.TokenHistory, err error) {
	query := `SELECT DISTINCT v.workspace_key, v.token_key, v.token_id FROM workspace w JOIN token_version v ON v.workspace_key = w.key
		WHERE v.token_id >= ?1 AND v.token_id < ?2 ORDER BY v.token_id, v.workspace_key LIMIT 100`
	keys, err := sqlite.List(ctx, db.q, func(c *sqlite.Row) [2]int64 { return [2]int64{c.Int(), c.Int()} }, query, prefix, prefix+"\U0010ffff")
	if err != nil {
		return nil, sqlite.Failure(opHistory, prefix, err)
	}
	var all []engine.TokenHistory
	for _, key := range keys {
		h, err := db.history(ctx, key[0], key[1])
		if err != nil {
			return nil, sqlite.Failure(opHistory, prefix, err)
		}
		if len(h.Versions) > 0 { // else only its trace is left of what was pruned
			all = append(all, h)
		}
	}
	return all, db.intactHistory(ctx, all)
}

// intactHistory verifies what histories are made of: the snapshots in which a
// token began, changed or ended, those before them, and the evaluations. A row
// that was edited, added or taken away makes one of these another.
func (db *DB) intactHistory(ctx context.Context, histories []engine.TokenHistory) error {
	if len(histories) == 0 {
		return nil
	}
	snapshots, err := db.Snapshots(ctx) // newest first
	if err != nil {
		return err
	}
	edges, evaluations := map[string]map[int64]bool{}, map[int64]bool{} // by workspace id
	for _, h := range histories {
		at := edges[h.Workspace.ID]
		if at == nil {
			at = map[int64]bool{}
			edges[h.Workspace.ID] = at
		}
		for _, v := range h.Versions {
			at[v.Since] = true
			if v.Until != nil {
				at[*v.Until] = true
			}
		}
		for _, use := range h.Uses {
			at[use.Snapshot] = true
		}
		for _, result := range h.Results {
			evaluations[result.Evaluation] = true
		}
		for _, run := range h.Runs {
			evaluations[run.Evaluation] = true
		}
	}
	var touched []engine.Snapshot
	later, oldest := map[string]bool{}, map[string]int{} // by workspace id: whether the snapshot after is an edge
	for i, s := range snapshots {
		at, wanted := edges[s.Workspace.ID]
		if !wanted {
			continue
		}
		_, known := later[s.Workspace.ID]
		if at[s.ID] || later[s.Workspace.ID] || !known { // the newest too: a token that is still there
			touched = append(touched, s)
		}
		later[s.Workspace.ID], oldest[s.Workspace.ID] = at[s.ID], i
	}
	for _, i := range oldest { // versions may have begun with one that was pruned
		touched = append(touched, snapshots[i])
	}
	if err := db.Intact(ctx, touched...); err != nil {
		return err
	}
	for _, id := range engine.SortedKeys(evaluations) {
		if err := db.IntactEvaluation(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// history reads what is remembered of a token of a workspace, by their keys.
func (db *DB) history(ctx context.Context, workspace, token int64) (h engine.TokenHistory, err error) {
	var columns tokenReader
	h.Versions, err = sqlite.List(ctx, db.q, func(c *sqlite.Row) engine.TokenVersion {
		v := engine.TokenVersion{Since: c.Int(), SinceAt: c.Int(), Until: c.IntOrNull(), UntilAt: c.IntOrNull()}
		v.Token, _ = columns.read(c)
		return v
	}, historyVersionsQuery, workspace, token)
	if err != nil {
		return h, err
	}
	h.Uses, err = sqlite.List(ctx, db.q, func(c *sqlite.Row) engine.TokenUse {
		return engine.TokenUse{Snapshot: c.Int(), At: c.Int(), LastUsed: c.IntOrNull()}
	}, historyUsesQuery, token)
	if err != nil {
		return h, err
	}
	h.Results, err = sqlite.List(ctx, db.q, func(c *sqlite.Row) engine.TokenResult {
		return engine.TokenResult{Evaluation: c.Int(), AsOf: c.Int(), Policy: c.Text(), Status: engine.Status(c.Text()), Message: c.Text()}
	}, historyResultsQuery, workspace, token)
	if err != nil {
		return h, err
	}
	named := map[string]bool{}
	for _, r := range h.Results {
		named[r.Policy] = true
	}
	h.Runs, err = sqlite.List(ctx, db.q, func(c *sqlite.Row) engine.PolicyRun {
		return engine.PolicyRun{Evaluation: c.Int(), AsOf: c.Int(), Policy: c.Text()}
	}, historyRunsQuery, workspace, string(engine.CompactJSON(engine.SortedKeys(named))))
	if err != nil {
		return h, err
	}
	if err := db.q.QueryRowContext(ctx, firstSeenQuery, token).Scan(&h.FirstSeen); err != nil {
		return h, err
	}
	newest, err := db.snapshots(ctx, ` WHERE s.workspace_key = ? ORDER BY s.id DESC LIMIT 1`, workspace)
	if err == nil && len(newest) > 0 {
		h.Workspace = newest[0].Workspace
	}
	return h, err
}

const firstSeenQuery = `SELECT coalesce((SELECT s.collected_ms FROM snapshot s WHERE s.id = v.since),
	(SELECT p.collected_ms FROM pruned_snapshot p WHERE p.id = v.since)) FROM token_version v WHERE v.version = ?`

// A version may have begun with a snapshot that was pruned since; one that ended
// with it is told no more.
var historyVersionsQuery = `SELECT v.since, coalesce(a.collected_ms, (SELECT p.collected_ms FROM pruned_snapshot p WHERE p.id = v.since)),
	v.until, b.collected_ms, ` + diffColumns + `
	FROM token_version v LEFT JOIN snapshot a ON a.id = v.since LEFT JOIN snapshot b ON b.id = v.until
	WHERE v.workspace_key = ? AND v.token_key = ? AND (v.until IS NULL OR EXISTS (SELECT 1 FROM snapshot k WHERE k.workspace_key = v.workspace_key AND k.id < v.until))
	ORDER BY v.since`

// A last use that still holds may have been seen first by a snapshot that was
// pruned since.
const historyUsesQuery = `SELECT u.since, coalesce(s.collected_ms, p.collected_ms), u.day * 86400000 + coalesce(u.ms, 0)
	FROM token_use u LEFT JOIN snapshot s ON s.id = u.since LEFT JOIN pruned_snapshot p ON p.id = u.since
	WHERE u.token_key = ? ORDER BY u.since`

const historyResultsQuery = `SELECT f.evaluation_id, e.as_of_ms, p.policy_id, f.status, f.message
	FROM evaluation e JOIN evaluation_policy p ON p.evaluation_id = e.id
	JOIN finding f ON f.evaluation_id = e.id AND f.policy = p.place
	JOIN token_version v ON v.version = f.token_version
	WHERE v.workspace_key = ? AND v.token_key = ? AND f.resource = 'token' AND e.what_if = '' ORDER BY e.id, f.rank, p.policy_id`

// A policy that came to no verdict on the workspace said nothing of the token.
const historyRunsQuery = `SELECT e.id, e.as_of_ms, p.policy_id
	FROM snapshot s JOIN evaluation_workspace w ON w.snapshot_id = s.id JOIN evaluation e ON e.id = w.evaluation_id
	JOIN evaluation_policy p ON p.evaluation_id = e.id AND p.policy_id IN (SELECT value FROM json_each(?2))
	WHERE s.workspace_key = ?1 AND e.what_if = '' AND EXISTS (SELECT 1 FROM tally t WHERE t.evaluation_id = e.id AND t.workspace = w.place AND t.policy = p.place
		AND t.status NOT IN ('unknown', 'error') AND t.count > 0)
	ORDER BY e.id, p.policy_id`
