package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const activityColumns = `token_id, events, first_ms, last_ms, max_ips_per_day, user_agents, days, succeeded, refused, addresses, top_address, calls, more_calls`

// saveActivity stores the rows of an audit log, which come in any order, and reads
// them back for the digest.
func saveActivity(ctx context.Context, tx *sqlite.Tx, snapshot int64, rows iter.Seq2[engine.Activity, error], digest *digester) error {
	insert := sqlite.NewBatch(tx, "INSERT INTO token_activity (snapshot_id, "+activityColumns+")", 14)
	for a, err := range ahead(rows) {
		if err := cmp.Or(ctx.Err(), err); err != nil {
			return fmt.Errorf("read audit log: %w", err)
		}
		values := append(make([]any, 0, 14), snapshot, a.TokenID, a.Events, a.First, a.Last, a.MaxIPsPerDay, encodeList(a.UserAgents))
		if d := a.Detail; d != nil {
			calls, err := json.Marshal(d.Calls)
			if err != nil {
				return err
			}
			values = append(values, d.Days, d.Succeeded, d.Refused, d.Addresses, d.TopAddress, string(calls), d.MoreCalls)
		}
		if err := insert.Add(values[:cap(values)]...); err != nil {
			return err
		}
	}
	if err := insert.Flush(); err != nil {
		return err
	}
	for a, err := range activities(ctx, tx, snapshot) {
		if err != nil {
			return err
		}
		digest.activity(a)
	}
	return nil
}

// activities streams what the audit log of a snapshot tells, ascending by token.
func activities(ctx context.Context, q sqlite.Querier, snapshot int64) iter.Seq2[engine.Activity, error] {
	var known lists
	query := `SELECT ` + activityColumns + ` FROM token_activity WHERE snapshot_id = ? ORDER BY token_id`
	return sqlite.Rows(ctx, q, func(c *sqlite.Row) engine.Activity {
		a := engine.Activity{TokenID: c.Text(), Events: c.Int(), First: c.Int(), Last: c.Int(), MaxIPsPerDay: c.Int(), UserAgents: known.read(c)}
		days, succeeded, refused, addresses := c.IntOrNull(), c.IntOrNull(), c.IntOrNull(), c.IntOrNull()
		top, calls, more := c.TextOr(""), c.TextOrNull(), c.IntOrNull()
		if days != nil && succeeded != nil && refused != nil && addresses != nil && more != nil {
			a.Detail = &engine.ActivityDetail{Days: *days, Succeeded: *succeeded, Refused: *refused, Addresses: *addresses, TopAddress: top, MoreCalls: *more}
			c.Fail(json.Unmarshal([]byte(calls), &a.Detail.Calls))
		}
		if c.Err != nil {
			c.Err = fmt.Errorf("activity of token %s: %w", a.TokenID, c.Err)
		}
		return a
	}, query, snapshot)
}
