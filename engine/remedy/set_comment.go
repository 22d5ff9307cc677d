package remedy

import "patrol/engine"

// NeutralComment replaces a comment that held a secret.
const NeutralComment = "[comment removed by patrol: it held a secret]"

// SetComment replaces the comment of a token. What stood there before is not
// kept anywhere: it may be a secret, which is why it is replaced.
func (set set) SetComment() Remedy {
	return set.patching("comment", Remedy{
		Name: engine.SetComment, Rank: 2, Safe: "changes the comment only",
		Doc:   "Replaces the comment of a token. What stood there before is not kept: it may have held a secret.",
		Owner: "Its comment will be removed, because it held a secret. Replace that secret.",
		Token: func(Case) (Proposal, string) {
			return Proposal{Expected: map[string]any{"comment": NeutralComment}}, ""
		},
		Reached: func(s engine.Step, seen engine.Observation) bool {
			want, given := s.Expected["comment"].(string)
			return given && seen.Token != nil && seen.Token.Comment == want
		},
	})
}
