package remedy

import (
	"context"

	"patrol/engine"
)

// SetComment replaces the comment of a token. What stood there before is not
// kept anywhere: it may be a secret, which is why it is replaced.
func (set set) SetComment() engine.Remedy {
	return engine.Remedy{
		Name: engine.SetComment, OfToken: true,
		Doc:  "Replaces the comment of a token. What stood there before is not kept: it may have held a secret.",
		Sent: "PATCH " + tokensPath + "{token_id}",
		Read: set.readToken,
		Do: func(ctx context.Context, c engine.Client, s engine.Step, _ engine.Observation) (engine.Receipt, error) {
			return patchToken(ctx, c, s, "comment")
		},
		Reached: func(s engine.Step, seen engine.Observation) bool {
			want, given := s.Expected["comment"].(string)
			return given && seen.Token != nil && seen.Token.Comment == want
		},
	}
}
