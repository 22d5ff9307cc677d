package remedy

import (
	"context"
	"net/http"

	"patrol/engine"
)

// Revoke deletes a token. Nothing brings it back.
func (set set) Revoke() engine.Remedy {
	return engine.Remedy{
		Name: engine.Revoke, OfToken: true,
		Doc:  "Revokes a token: whoever uses it is refused from then on. It cannot be undone.",
		Sent: "DELETE " + tokensPath + "{token_id}",
		Read: set.readToken,
		Do: func(ctx context.Context, c engine.Client, s engine.Step, _ engine.Observation) (engine.Receipt, error) {
			return act(ctx, c, s, http.MethodDelete, tokenPath(s), nil, object)
		},
		Reached: func(_ engine.Step, seen engine.Observation) bool { return seen.Absent },
	}
}
