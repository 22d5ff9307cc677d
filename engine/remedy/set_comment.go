package remedy

import (
	"context"

	"patrol/engine"
)

// NeutralComment replaces a comment that held a secret.
const NeutralComment = "[comment removed by patrol: it held a secret]"

// SetComment replaces the comment of a token. What stood there before is not
// kept anywhere: it may be a secret, which is why it is replaced.
func (set set) SetComment() Remedy {
	return Remedy{
		Name: engine.SetComment, Rank: 2, For: []engine.Resource{engine.ResourceToken}, Section: engine.SectionTokens, Safe: "changes the comment only",
		Doc:   "Replaces the comment of a token. What stood there before is not kept: it may have held a secret.",
		Owner: "Its comment will be removed, because it held a secret. Replace that secret.",
		Sent:  "PATCH " + tokensPath + "{token_id}",
		Token: func(Case) (Proposal, string) {
			return Proposal{Expected: map[string]any{"comment": NeutralComment}}, ""
		},
		CLI:  func(s engine.Step, profile string) string { return patchCLI(s, profile, "comment") },
		Read: set.readToken,
		Do: func(ctx context.Context, c engine.Client, s engine.Step, _ engine.Observation) (engine.Receipt, error) {
			return patchToken(ctx, c, s, "comment")
		},
		Reached: func(s engine.Step, seen engine.Observation) bool {
			want, given := s.Expected["comment"].(string)
			return given && seen.Token != nil && seen.Token.Comment == want
		},
		Undo: notKept,
	}
}
