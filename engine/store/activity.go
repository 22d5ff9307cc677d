package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"patrol/engine"
	"patrol/engine/sqlite"
)

const activityColumns = `token_id, events, first_ms, last_ms, max_ips_per_day, user_agents, days, succeeded, refused, addresses, top_address, calls, more_calls`

const activityWidth = 13

// saveActivity stores the rows of an audit log. Those of a query ascend by token,
// as in the digest; those of a file come in any order, and are read back.
func saveActivity(ctx context.Context, tx *sqlite.Tx, snapshot int64, rows iter.Seq2[engine.Activity, error], digest *digester) error {
	before, err := digest.clone()
	if err != nil {
		return err
	}
	last, ascending := "", true
	insert := sqlite.NewBatch(tx, "INSERT INTO token_activity (snapshot_id, "+activityColumns+")", activityWidth+1)
	for a, err := range ahead(rows) {
		if err := errors.Join(ctx.Err(), err); err != nil {
			return fmt.Errorf("read audit log: %w", err)
		}
		if ascending = ascending && last < a.TokenID; ascending {
			digest.activity(a)
			last = a.TokenID
		}
		values := []any{snapshot, a.TokenID, a.Events, a.First, a.Last, a.MaxIPsPerDay, encodeList(a.UserAgents), nil, nil, nil, nil, nil, nil, nil}
		if d := a.Detail; d != nil {
			calls, err := json.Marshal(d.Calls)
			if err != nil {
				return err
			}
			copy(values[activityWidth-6:], []any{d.Days, d.Succeeded, d.Refused, d.Addresses, d.TopAddress, string(calls), d.MoreCalls})
		}
		if err := insert.Add(values...); err != nil {
			return err
		}
	}
	if err := insert.Flush(); err != nil {
		return err
	}
	if ascending {
		return nil
	}
	*digest = *before
	return digestActivity(digest, activities(ctx, tx, snapshot))
}

// activities streams what the audit log of a snapshot tells, ascending by token.
func activities(ctx context.Context, q sqlite.Querier, snapshot int64) iter.Seq2[engine.Activity, error] {
	query := `SELECT ` + activityColumns + ` FROM token_activity WHERE snapshot_id = ? ORDER BY token_id`
	return func(yield func(engine.Activity, error) bool) {
		var known lists
		for c, err := range sqlite.Scan(ctx, q, query, snapshot) {
			var a engine.Activity
			if err == nil {
				a, err = readActivity(c, &known)
			}
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}

func readActivity(c *sqlite.Row, known *lists) (engine.Activity, error) {
	a := engine.Activity{TokenID: c.Text(), Events: c.Int(), First: c.Int(), Last: c.Int(), MaxIPsPerDay: c.Int()}
	agents := c.TextOrNull()
	days, succeeded, refused, addresses := c.IntOrNull(), c.IntOrNull(), c.IntOrNull(), c.IntOrNull()
	top, calls, more := c.TextOrNull(), c.TextOrNull(), c.IntOrNull()
	if c.Err != nil {
		return a, c.Err
	}
	if days != nil && succeeded != nil && refused != nil && addresses != nil && more != nil {
		a.Detail = &engine.ActivityDetail{Days: *days, Succeeded: *succeeded, Refused: *refused, Addresses: *addresses, TopAddress: top, MoreCalls: *more}
		if err := json.Unmarshal([]byte(calls), &a.Detail.Calls); err != nil {
			return a, fmt.Errorf("calls of token %s: %w", a.TokenID, err)
		}
	}
	var err error
	if a.UserAgents, err = known.decode(agents); err != nil {
		return a, fmt.Errorf("activity of token %s: %w", a.TokenID, err)
	}
	return a, nil
}

// digestActivity adds nothing where there is no log, so that the digests of
// snapshots without one are what they were before there were logs.
func digestActivity(d *digester, rows iter.Seq2[engine.Activity, error]) error {
	for a, err := range rows {
		if err != nil {
			return err
		}
		d.activity(a)
	}
	return nil
}
