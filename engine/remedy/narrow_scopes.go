package remedy

import (
	"context"
	"slices"

	"patrol/engine"
)

// NarrowScopes restricts a token to the scopes that it needs.
func (set set) NarrowScopes() engine.Remedy {
	return engine.Remedy{
		Name: engine.NarrowScopes, OfToken: true,
		Doc:  "Restricts a token to the scopes that the step names. Calls outside of them are refused from then on.",
		Sent: "PATCH " + tokensPath + "{token_id}",
		Read: set.readToken,
		Do: func(ctx context.Context, c engine.Client, s engine.Step, _ engine.Observation) (engine.Receipt, error) {
			return patchToken(ctx, c, s, "scopes")
		},
		Reached: func(s engine.Step, seen engine.Observation) bool {
			return seen.Token != nil && slices.Equal(sorted(seen.Token.Scopes), sorted(texts(s.Expected["scopes"])))
		},
	}
}

// texts reads a list of strings of a step, which may come from JSON.
func texts(value any) []string {
	switch list := value.(type) {
	case []string:
		return list
	case []any:
		var found []string
		for _, item := range list {
			text, _ := item.(string)
			found = append(found, text)
		}
		return found
	}
	return nil
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }
