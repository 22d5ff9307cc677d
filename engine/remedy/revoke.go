package remedy

import (
	"context"
	"net/http"

	"patrol/engine"
)

// Revoke deletes a token. Nothing brings it back.
func (set set) Revoke() Remedy {
	return Remedy{
		Name: engine.Revoke, Rank: 3, For: []engine.Resource{engine.ResourceToken}, Section: engine.SectionTokens, Removes: true,
		Doc:   "Revokes a token: whoever uses it is refused from then on. It cannot be undone.",
		Owner: "It will be revoked: whatever signs in with it stops working.",
		Sent:  "DELETE " + tokensPath + "{token_id}",
		Token: func(Case) (Proposal, string) { return Proposal{Expected: map[string]any{"absent": true}}, "" },
		CLI: func(s engine.Step, profile string) string {
			return "databricks token-management delete" + profile + " -- " + ShellQuote(s.Target)
		},
		Read: set.readToken,
		Do: func(ctx context.Context, c engine.Client, s engine.Step, _ engine.Observation) (engine.Receipt, error) {
			return act(ctx, c, s, http.MethodDelete, tokenPath(s), nil, object)
		},
		Reached: func(_ engine.Step, seen engine.Observation) bool { return seen.Absent },
		Undo: func(engine.Step, map[string]any) (identity, expected map[string]any, why string) {
			return nil, nil, "a revoked token cannot be restored: its owner has to make a new one"
		},
	}
}
