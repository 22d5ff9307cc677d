package remedy

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"patrol/engine"
)

const tokensPath = "/api/2.0/token-management/tokens/"

func tokenPath(s engine.Step) string { return tokensPath + url.PathEscape(s.Target) }

var errOtherToken = errors.New("the answer is about another token")

// readToken looks at the token of a step.
func (set set) readToken(ctx context.Context, c engine.Client, s engine.Step) (engine.Observation, error) {
	r, absent, err := get(ctx, c, s, tokenPath(s))
	if err != nil || absent {
		return engine.Observation{Absent: absent, HTTP: r.Status}, err
	}
	var answer map[string]json.RawMessage // exact keys: encoding/json would match any letter case
	if err := json.Unmarshal(r.Body, &answer); err != nil {
		return engine.Observation{}, unreadable("GET "+tokenPath(s), err)
	}
	token, err := set.parse.Token(answer["token_info"])
	switch {
	case err != nil:
		return engine.Observation{}, unreadable("GET "+tokenPath(s), err)
	case token.ID != s.Target:
		return engine.Observation{}, &engine.Fault{Kind: engine.FaultEndpoint, HTTP: r.Status, Detail: errOtherToken.Error()}
	}
	return engine.Observation{Token: &token, State: engine.TokenIdentity(s.WorkspaceID, token), HTTP: r.Status}, nil
}

// patchToken changes one field of the token of a step.
func patchToken(ctx context.Context, c engine.Client, s engine.Step, field string) (engine.Receipt, error) {
	value, known := s.Expected[field]
	if !known {
		return engine.Receipt{}, &engine.Fault{Kind: engine.FaultRejected, Detail: "the step does not say which " + field + " it wants"}
	}
	body := engine.CompactJSON(map[string]any{"token": map[string]any{field: value}, "update_mask": field})
	return act(ctx, c, s, http.MethodPatch, tokenPath(s), body, object)
}

// patchCLI is patchToken for the Databricks command line.
func patchCLI(s engine.Step, profile, field string) string {
	body := map[string]any{"token": map[string]any{field: s.Expected[field]}, "update_mask": field}
	return "databricks api patch" + profile + " --json " + ShellQuote(ASCII(body)) + " -- " + ShellQuote(tokensPath+s.Target)
}

// notKept is the undo of what the journal keeps nothing of.
func notKept(engine.Step, map[string]any) (identity, expected map[string]any, why string) {
	return nil, nil, "the journal does not keep what was there before"
}
