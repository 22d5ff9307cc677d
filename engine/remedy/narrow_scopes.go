package remedy

import (
	"fmt"
	"slices"
	"strings"

	"patrol/engine"
)

// NarrowScopes restricts a token to the scopes that it needs.
func (set set) NarrowScopes() Remedy {
	return set.patching("scopes", Remedy{
		Name: engine.NarrowScopes, Rank: 4, Partial: true,
		Doc:   "Restricts a token to the scopes that the step names. Calls outside of them are refused from then on.",
		Owner: "Its scopes will be narrowed: calls outside of those that are left will be refused.",
		Token: narrowing,
		Effect: func(s engine.Step) string {
			return fmt.Sprintf("scopes %s → %s", textOf(s.Precondition.Volatile["scopes"], "all"), textOf(s.Expected["scopes"], "all"))
		},
		Reached: func(s engine.Step, seen engine.Observation) bool {
			return seen.Token != nil && slices.Equal(slices.Sorted(slices.Values(seen.Token.Scopes)), slices.Sorted(slices.Values(engine.TextsOf(s.Expected["scopes"]))))
		},
	})
}

// narrowing proposes scopes where it is known which, and says what is known of
// the use of those that the token loses.
func narrowing(c Case) (p Proposal, unable string) {
	minting := []string{"authentication"} // makes tokens of any scope
	for _, policy := range c.Policies {
		minting = append(minting, engine.TextsOf(c.Param(policy, "minting_scopes"))...)
	}
	scopes, why := narrowed(c, minting)
	if c.UseUnknown != "" {
		why = c.UseUnknown
	}
	if why != "" {
		return p, "not narrowed: " + why
	}
	p.Expected = map[string]any{"scopes": scopes}
	seen := slices.Concat(c.Token.InferredScopes, c.Token.BackfillScopes)
	var lost []string
	for _, scope := range seen {
		if !engine.ScopesCover(scopes, scope) && !slices.Contains(lost, scope) {
			lost = append(lost, scope)
		}
	}
	for _, call := range engine.RefusedCalls(scopes, c.Activity) {
		p.Fails = append(p.Fails, call.String())
	}
	p.Loses = len(lost)+len(p.Fails) > 0
	switch {
	case len(lost) > 0:
		p.Why = "loses " + strings.Join(lost, ", ") + ", which the platform saw in use"
	case len(p.Fails) > 0:
		p.Why = "calls that the audit log has will fail: " + strings.Join(p.Fails, ", ")
	case len(seen) > 0:
		p.Why = "keeps the scopes that the platform saw in use"
	case c.Activity != nil && c.Activity.Detail != nil:
		p.Why = "keeps the scopes of all calls that the audit log has; it does not have every call that reads"
	default:
		p.Why = "the platform does not tell which scopes it uses"
	}
	return p, ""
}

// narrowed is what is left of a token's scopes. A token with scopes of its own
// loses the minting ones, or what lets it write where it only reads, and gains
// none; an unrestricted one keeps what was seen in use. An empty list is never the
// answer: the platform reads it as unrestricted.
func narrowed(c Case, minting []string) (scopes []string, why string) {
	t := c.Token
	need, from := engine.NeedOf(&t, c.Activity), t.Scopes
	if len(need.Unknown) > 0 {
		return nil, "patrol cannot tell which scope it needs for " + strings.Join(need.Unknown[:min(len(need.Unknown), 5)], ", ")
	}
	if engine.Unrestricted(t.Scopes) {
		switch state := engine.AutoscopeState(t.AutoscopeState); {
		case state == nil:
			return nil, "whether the platform has finished observing its use is unknown"
		case *state == "running", *state == "api_not_covered":
			return nil, "the platform has not finished observing its use"
		}
		from = need.Scopes
	} else if c.Reads {
		if from = engine.ReadOnlyScopes(&t, c.Activity); from == nil {
			return nil, "it is not known whether it only reads"
		}
	}
	for _, scope := range from {
		base, _ := engine.SplitScope(scope)
		if !hasFold(minting, base) || !engine.ScopeWrites(scope) {
			scopes = append(scopes, scope)
		}
	}
	scopes = engine.LeastScopes(scopes)
	switch {
	case len(scopes) == 0:
		return nil, "it is not known which other scopes it needs"
	case engine.Unrestricted(scopes):
		return nil, "its observed use needs every scope"
	}
	return scopes, ""
}

func hasFold(list []string, text string) bool {
	return slices.ContainsFunc(list, func(item string) bool { return strings.EqualFold(item, text) })
}
