package collectors

import (
	"context"
	"sync"

	"patrol/engine"
)

// onceList is a list of an account that is read by the first workspace that asks.
type onceList[T any] struct {
	once    sync.Once
	rows    []T
	tally   tally
	problem *Problem
}

// readOfAccount is the section that a list of the account makes of a workspace.
// Rows that belong to a service principal stay out where the workspace does not
// have it.
func readOfAccount[T any](ctx context.Context, c *Client, of func(*Account) *onceList[T], read func(context.Context, *accountClient, *tally) ([]T, *Problem)) engine.Section {
	account := c.o.Account
	if account == nil || account.client == nil {
		return failed(problem(engine.Failed, reasonNoAccount, hintNoAccount, "the account was not asked"))
	}
	list := of(account)
	list.once.Do(func() { list.rows, list.problem = read(ctx, account.client, &list.tally) })
	if list.problem != nil {
		return failed(list.problem)
	}
	rows := make([]T, 0, len(list.rows))
	var here map[string]bool
	for _, row := range list.rows {
		if policy, ok := any(row).(engine.FederationPolicy); ok && policy.OwnerID != "" {
			if here == nil {
				here = map[string]bool{}
				var t tally
				if problem := scimRows(ctx, c, "ServicePrincipals", "id", &t, func(row scimRow) { here[row.id] = true }); problem != nil {
					return failed(problem)
				}
			}
			if !here[policy.OwnerID] {
				continue
			}
		}
		rows = append(rows, row)
	}
	return engine.Section{Coverage: list.tally.coverage(len(rows)), Document: document(rows)}
}
