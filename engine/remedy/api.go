package remedy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"patrol/engine"
)

// Sort tells what an answer means: nil for success; absent when the API itself
// says that the target does not exist; otherwise a fault. Only the API's own
// word counts as absence, in either of its two spellings: a 404 of a proxy, of
// another service or of a feature that is off says nothing about a token.
func Sort(what string, r engine.Response) (absent bool, fault *engine.Fault) {
	var e struct {
		Code    any    `json:"error_code"` // a word, or a number
		Message string `json:"message"`
	}
	if r.Status >= 400 && json.Unmarshal(r.Body, &e) != nil {
		e.Code, e.Message = nil, ""
	}
	code, _ := e.Code.(string)
	message := strings.ToLower(e.Message)
	fail := func(kind engine.FaultKind) (bool, *engine.Fault) {
		detail := fmt.Sprintf("%s: status %d", what, r.Status)
		if said := strings.TrimSpace(code + " " + e.Message); said != "" { // of foreign text the API's own message only
			detail += ": " + clip(said)
		}
		return false, &engine.Fault{Kind: kind, Detail: detail, HTTP: r.Status, Request: r.RequestID(), Wait: wait(r.Header)}
	}
	switch {
	case r.Status == http.StatusTooManyRequests, code == "REQUEST_LIMIT_EXCEEDED":
		return fail(engine.FaultBusy)
	case r.Status >= 500, r.Status == http.StatusRequestTimeout:
		return fail(engine.FaultUnclear)
	case r.Status >= 300 && r.Status < 400, !isJSON(r):
		return fail(engine.FaultEndpoint)
	case r.Status == http.StatusOK, r.Status == http.StatusNoContent:
		return false, nil
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden && (strings.Contains(message, "invalid access token") || strings.Contains(message, "invalid token")):
		return fail(engine.FaultUnauthenticated)
	case r.Status == http.StatusForbidden:
		return fail(engine.FaultForbidden)
	case r.Status == http.StatusNotFound && (code == "RESOURCE_DOES_NOT_EXIST" || code == "NOT_FOUND"):
		return true, nil
	case r.Status == http.StatusNotFound:
		return fail(engine.FaultEndpoint)
	case r.Status >= 400:
		return fail(engine.FaultRejected)
	}
	return fail(engine.FaultUnclear)
}

// isJSON accepts what says that it is JSON, and an empty body, which has no
// kind; a login page with status 200 is neither.
func isJSON(r engine.Response) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if len(bytes.TrimSpace(r.Body)) == 0 {
		return kind != "text/html"
	}
	return strings.HasSuffix(kind, "json") || kind == "" && json.Valid(r.Body)
}

// clip makes foreign text, which may repeat a token's comment, fit to be kept.
func clip(text string) string {
	const most = 200
	return engine.SafeText(engine.Clip(engine.RedactSecrets(strings.Join(strings.Fields(text), " ")), most))
}

// maxWait bounds what a server may ask us to wait.
const maxWait = 5 * time.Minute

func wait(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return min(max(0, time.Duration(seconds)*time.Second), maxWait)
	}
	at, err := http.ParseTime(text)
	now, dated := http.ParseTime(h.Get("Date"))
	if err != nil || dated != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), maxWait)
}

// send sends a request to the workspace of a step, and sorts the answer. A request
// without a whole answer, or with that of another workspace, is a fault.
func send(ctx context.Context, c engine.Client, s engine.Step, method, target string, body []byte) (r engine.Response, absent bool, err error) {
	what := method + " " + path(target)
	r, err = c.Send(ctx, method, target, body)
	if err != nil {
		var fault *engine.Fault
		if errors.As(err, &fault) {
			return r, false, fault
		}
		return r, false, &engine.Fault{Kind: engine.FaultUnclear, Detail: clip(err.Error())}
	}
	if id := r.WorkspaceID(); id != "" && id != s.WorkspaceID {
		return r, false, &engine.Fault{Kind: engine.FaultWorkspace, HTTP: r.Status, Request: r.RequestID(),
			Detail: clip(fmt.Sprintf("%s: workspace %s answers, the step is for %s", what, id, s.WorkspaceID))}
	}
	absent, fault := Sort(what, r)
	if fault != nil {
		return r, false, fault
	}
	return r, absent, nil
}

// get looks at a path in the workspace of a step.
func get(ctx context.Context, c engine.Client, s engine.Step, target string) (r engine.Response, absent bool, err error) {
	r, absent, err = send(ctx, c, s, http.MethodGet, target, nil)
	if err == nil && !absent && r.Status != http.StatusOK {
		err = &engine.Fault{Kind: engine.FaultEndpoint, Detail: fmt.Sprintf("GET %s: status %d", path(target), r.Status), HTTP: r.Status}
	}
	return r, absent, err
}

// act sends the one request of a step. done tells a success from an answer
// that merely looks like one.
func act(ctx context.Context, c engine.Client, s engine.Step, method, target string, body []byte, done func(engine.Response) bool) (engine.Receipt, error) {
	r, absent, err := send(ctx, c, s, method, target, body)
	receipt := engine.Receipt{HTTP: r.Status, Request: r.RequestID(), Gone: absent}
	if err == nil && !absent && !done(r) {
		err = &engine.Fault{
			Kind: engine.FaultUnclear, HTTP: r.Status, Request: receipt.Request,
			Detail: fmt.Sprintf("%s %s: status %d with an answer that is not the API's", method, path(target), r.Status),
		}
	}
	return receipt, err
}

func path(target string) string {
	before, _, _ := strings.Cut(target, "?")
	return before
}

// object is a whole JSON object.
func object(r engine.Response) bool {
	body := bytes.TrimSpace(r.Body)
	return r.Status == http.StatusOK && len(body) > 0 && body[0] == '{' && json.Valid(body)
}

// unreadable is the fault of an answer with status 200 that cannot be read.
// Nothing is concluded from it.
func unreadable(what string, err error) *engine.Fault {
	return &engine.Fault{Kind: engine.FaultUnclear, HTTP: http.StatusOK, Detail: clip(what + ": " + err.Error())}
}

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

// patching completes a remedy that changes one field of a token. The journal does not
// keep what was there before.
func (set set) patching(field string, r Remedy) Remedy {
	body := func(s engine.Step) map[string]any {
		return map[string]any{"token": map[string]any{field: s.Expected[field]}, "update_mask": field}
	}
	r.For, r.Section, r.Sent, r.Read = []engine.Resource{engine.ResourceToken}, engine.SectionTokens, "PATCH "+tokensPath+"{token_id}", set.readToken
	r.CLI = func(s engine.Step, profile string) string {
		return "databricks api patch" + profile + " --json " + ShellQuote(ASCII(body(s))) + " -- " + ShellQuote(tokensPath+s.Target)
	}
	r.Do = func(ctx context.Context, c engine.Client, s engine.Step, _ engine.Observation) (engine.Receipt, error) {
		if _, known := s.Expected[field]; !known {
			return engine.Receipt{}, &engine.Fault{Kind: engine.FaultRejected, Detail: "the step does not say which " + field + " it wants"}
		}
		return act(ctx, c, s, http.MethodPatch, tokenPath(s), engine.CompactJSON(body(s)), object)
	}
	r.Undo = func(engine.Step, map[string]any) (identity, expected map[string]any, why string) {
		return nil, nil, notKept
	}
	return r
}

const notKept = "the journal does not keep what was there before"

const directoryPath = "/api/2.0/preview/scim/v2/"

var errOtherPrincipal = errors.New("the answer is about another principal")

// ReadPrincipal asks the workspace of a step for one principal by its id, as a
// user and as a service principal, the likelier first. It is Missing when the
// directory itself says of both that there is none; every other refusal is a
// fault, of which nothing follows.
func (p Parsers) ReadPrincipal(ctx context.Context, c engine.Client, s engine.Step, id string, likely engine.Kind) (engine.Principal, error) {
	kinds := []engine.Kind{engine.User, engine.ServicePrincipal}
	if likely == engine.ServicePrincipal {
		slices.Reverse(kinds)
	}
	for _, kind := range kinds {
		target := directoryPath + "Users/" + url.PathEscape(id)
		if kind == engine.ServicePrincipal {
			target = directoryPath + "ServicePrincipals/" + url.PathEscape(id)
		}
		r, absent, err := get(ctx, c, s, target)
		var fault *engine.Fault
		if errors.As(err, &fault) && fault.Kind == engine.FaultEndpoint && noSuchResource(r) {
			absent, err = true, nil
		}
		if err != nil {
			return engine.Principal{}, err
		}
		if absent {
			continue
		}
		principal, err := p.Principal(r.Body, kind)
		if err == nil && principal.ID != id {
			err = errOtherPrincipal
		}
		if err != nil {
			return engine.Principal{}, unreadable("GET "+target, err)
		}
		return principal, nil
	}
	return engine.Principal{ID: id, Kind: engine.Missing}, nil
}

// noSuchResource is how a SCIM directory says that it does not hold a resource.
func noSuchResource(r engine.Response) bool {
	var wire struct {
		Schemas []string `json:"schemas"`
		Status  any      `json:"status"` // text, or a number
	}
	return r.Status == http.StatusNotFound && isJSON(r) && json.Unmarshal(r.Body, &wire) == nil &&
		slices.Contains(wire.Schemas, "urn:ietf:params:scim:api:messages:2.0:Error") && (wire.Status == "404" || wire.Status == 404.0)
}

// readState looks at what a workspace says at a path. read makes a state of the
// answer, and what an undo needs of it.
func readState(ctx context.Context, c engine.Client, s engine.Step, target string, read func(body []byte) (state, prior map[string]any, err error)) (engine.Observation, error) {
	r, absent, err := get(ctx, c, s, target)
	if err != nil || absent {
		return engine.Observation{Absent: absent, HTTP: r.Status}, err
	}
	state, prior, err := read(r.Body)
	if err != nil {
		return engine.Observation{}, unreadable("GET "+path(target), err)
	}
	return engine.Observation{State: state, Prior: engine.CompactJSON(prior), HTTP: r.Status}, nil
}
