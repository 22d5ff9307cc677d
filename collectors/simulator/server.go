package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody bounds a request body.
const maxBody = 1 << 20

type obj = map[string]any

// access is what a route asks of its caller.
type access int

const (
	public access = iota // no credential needed
	caller               // any valid credential
	admin                // a workspace admin
	owner                // an admin of the account, by OAuth
	azure                // a token for Azure Resource Manager
)

// route is one thing that the account answers; its path is one of http.ServeMux.
type route struct {
	method, path string
	access       access
	handle       func(*call) *answer
}

func routes() []route {
	const (
		mgmt  = "/api/2.0/token-management"
		perms = "/api/2.0/permissions/authorization/tokens"
		scim  = "/api/2.0/preview/scim/v2"
		acct  = "/api/2.0/accounts/{account}"
		rwa   = "/api/2.0/settings/types/restrict_workspace_admins/names/default"
	)
	table := []route{
		{"GET", mgmt + "/tokens", admin, listTokens},
		{"GET", mgmt + "/tokens/{id}", admin, getToken},
		{"PATCH", mgmt + "/tokens/{id}", admin, patchToken},
		{"DELETE", mgmt + "/tokens/{id}", admin, deleteToken},
		{"POST", mgmt + "/on-behalf-of/tokens", admin, createToken},

		{"GET", "/api/2.0/token/list", caller, listOwnTokens},
		{"POST", "/api/2.0/token/create", caller, createToken},
		{"POST", "/api/2.0/token/delete", caller, deleteOwnToken},
		{"PATCH", "/api/2.0/token/{id}", caller, patchToken},

		{"GET", perms, admin, getGrants},
		{"PUT", perms, admin, writeGrants},
		{"PATCH", perms, admin, writeGrants},
		{"GET", perms + "/permissionLevels", admin, grantLevels},

		{"GET", "/api/2.0/workspace-conf", admin, getConf},
		{"PATCH", "/api/2.0/workspace-conf", admin, patchConf},
		{"GET", "/api/2.0/preview/workspace-conf", admin, getConf},
		{"PATCH", "/api/2.0/preview/workspace-conf", admin, patchConf},
		{"GET", rwa, admin, func(c *call) *answer { return ok(c.ws.restrict.doc()) }},
		{"PATCH", rwa, admin, patchRestrict},
		{"DELETE", rwa, admin, deleteRestrict},
		{"GET", "/api/2.0/ip-access-lists", admin, listIPAccess},
		{"GET", "/api/2.0/ip-access-lists/{id}", admin, listIPAccess},

		{"GET", acct + "/workspaces", owner, listWorkspaces},
		{"GET", acct + "/workspaces/{workspace}", owner, getWorkspace},
		{"GET", acct + "/servicePrincipals/{id}/credentials/secrets", owner, listSecrets},
		{"GET", "/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets", caller, listManagedSecrets},

		{"GET", "/.well-known/databricks-config", public, hostConfig},
		{"GET", "/oidc/.well-known/oauth-authorization-server", public, oauthServer},
		{"GET", "/oidc/accounts/{account}/.well-known/oauth-authorization-server", public, oauthServer},
		{"POST", "/oidc/v1/token", public, issueOAuth},
		{"POST", "/oidc/accounts/{account}/v1/token", public, issueOAuth},

		{"POST", "/{tenant}/oauth2/token", public, issueAzure},
		{"GET", "/subscriptions/{subscription}/providers/Microsoft.Databricks/workspaces", azure, listAzureWorkspaces},

		{"GET", scim + "/Me", caller, scimMe},

		{"GET", acct + "/federationPolicies", owner, listAccountFederation},
		{"GET", acct + "/servicePrincipals/{id}/federationPolicies", owner, listFederation},
		{"GET", acct + "/oauth2/custom-app-integrations", owner, listCustomApps},
		{"GET", acct + "/oauth2/published-app-integrations", owner, listPublishedApps},
		{"GET", "/api/2.1/unity-catalog/metastore_summary", caller, metastoreSummary},
		{"GET", "/api/2.1/unity-catalog/recipients", caller, listRecipients},

		{"POST", statementsPath, caller, executeStatement},
		{"GET", statementsPath + "/{id}", caller, getStatement},
		{"GET", statementsPath + "/{id}/result/chunks/{chunk}", caller, getChunk},
		{"POST", statementsPath + "/{id}/cancel", caller, cancelStatement},
	}
	for _, kind := range []string{kindUsers, kindServices, kindGroups} {
		table = append(table,
			route{"GET", scim + "/" + kind, admin, scimList},
			route{"GET", scim + "/" + kind + "/{id}", admin, scimGet},
			route{"GET", acct + "/scim/v2/" + kind, owner, scimList},
			route{"GET", acct + "/scim/v2/" + kind + "/{id}", owner, scimGet})
	}
	return table
}

// call is one request on its way through the simulator.
type call struct {
	*Account
	request *http.Request
	body    []byte
	route   *route // nil when there is none
	who     identity
	ws      *workspace
	bearer  string  // id of the credential, were it a PAT
	refusal *answer // why the credential was refused

	// What a fault has the call leave out or repeat.
	hide      []string
	firstPage bool
}

// answer is a response before it is sent; stream, when set, replaces body.
type answer struct {
	status int
	header http.Header
	body   []byte
	stream func(io.Writer) error
}

// ServeHTTP answers one request.
func (a *Account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/_sim" || strings.HasPrefix(r.URL.Path, "/_sim/") {
		a.serveControl(w, r)
		return
	}
	a.mux.ServeHTTP(w, r)
}

// serve answers a call of the API, as the first fault that matches it says.
func (a *Account) serve(w http.ResponseWriter, r *http.Request, found *route) {
	body, err := readBody(r)
	if err != nil {
		a.stamp(w.Header(), 0)
		send(w, fail(http.StatusBadRequest, "MALFORMED_REQUEST", "%v", err))
		return
	}
	c := &call{Account: a, request: r, body: body, route: found}
	a.mu.Lock()
	c.refusal = c.identify()
	entry := c.record()
	a.mu.Unlock()
	// The status is read when the deferred call runs, so that an aborted
	// connection is recorded too.
	status, faulted := 0, false
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		entry.Status, entry.Fault = status, faulted
	}()
	if a.opts.OnRequest != nil {
		a.opts.OnRequest(*entry)
	}
	a.stamp(w.Header(), entry.Seq)
	c.stampWorkspace(w.Header())
	if !pause(r, a.opts.Latency, nil) {
		return
	}
	fault, cleared := c.takeFault()
	if faulted = fault != nil; faulted {
		c.serveFault(w, *fault, cleared, &status)
		return
	}
	reply := c.carryOut()
	status = reply.status
	send(w, reply)
}

func readBody(r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	if len(data) > maxBody {
		return nil, errors.New("request body exceeds 1 MiB")
	}
	return data, nil
}

// carryOut checks credential, rate and rights, and then has the effect.
func (c *call) carryOut() *answer {
	if c.route == nil {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if _, pattern := c.mux.Handler(&http.Request{Method: method, URL: c.request.URL}); pattern != "/" {
				return fail(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "%s is not supported for %s", c.request.Method, c.request.URL.Path)
			}
		}
		return fail(http.StatusNotFound, "ENDPOINT_NOT_FOUND", "No API found for '%s %s'", c.request.Method, c.request.URL.Path)
	}
	if c.refusal != nil && c.route.access != public && c.route.access != azure { // the last has refusals of its own
		return c.refusal
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opts.RateLimit > 0 && strings.HasPrefix(c.request.URL.Path, "/api/2.0/token-management/") {
		if now := time.Now(); now.Sub(c.ws.second) >= time.Second {
			c.ws.second, c.ws.calls = now, 0
		}
		if c.ws.calls++; c.ws.calls > c.opts.RateLimit {
			reply := fail(http.StatusTooManyRequests, "REQUEST_LIMIT_EXCEEDED", "Your request was rejected because the rate limit of the Token Management API was exceeded.")
			reply.header.Set("Retry-After", "1")
			return reply
		}
	}
	if refusal := c.denied(); refusal != nil {
		return refusal
	}
	if c.ws.tokensOff && strings.HasPrefix(c.route.path, "/api/2.0/token") {
		return fail(http.StatusNotFound, "FEATURE_DISABLED", "Personal access tokens are not available in this workspace.")
	}
	return c.route.handle(c)
}

func (c *call) writes() bool {
	return c.request.Method != http.MethodGet && c.request.Method != http.MethodHead
}

// denied checks the caller's rights.
func (c *call) denied() *answer {
	if refusal := c.outOfScope(); refusal != nil {
		return refusal
	}
	switch p := c.who.principal; {
	case c.route.access == admin && !c.directory.isAdmin(c.ws, p):
		return c.forbid("Requesting user '%s' is not an admin.", p.Name)
	case c.route.access == owner && !c.who.oauth:
		return c.forbid("Account APIs do not accept personal access tokens; use OAuth.")
	case c.route.access == owner && !p.accountAdmin:
		return c.forbid("'%s' is not an account admin.", p.Name)
	case c.route.access == owner && c.request.PathValue("account") != c.id:
		return c.fail(http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST", "Account %s does not exist", c.request.PathValue("account"))
	case c.route.access == azure && !c.who.management:
		return azureError(http.StatusUnauthorized, "InvalidAuthenticationToken", "The access token is invalid.")
	case c.route.access == azure && !strings.EqualFold(c.request.PathValue("subscription"), azureSubscription):
		return azureError(http.StatusNotFound, "SubscriptionNotFound", fmt.Sprintf("The subscription '%s' could not be found.", c.request.PathValue("subscription")))
	}
	return nil
}

func (c *call) forbid(format string, args ...any) *answer {
	return c.fail(http.StatusForbidden, "PERMISSION_DENIED", format, args...)
}

// fail is an error in the dialect of the endpoint: SCIM has its own.
func (c *call) fail(status int, code, format string, args ...any) *answer {
	if c.route != nil && strings.Contains(c.route.path, "/scim/") {
		return scimError(status, "", fmt.Sprintf(format, args...))
	}
	return fail(status, code, format, args...)
}

// decode reads the request body leniently, as the real API does: unknown
// fields are ignored.
func (c *call) decode(into any) *answer {
	if err := json.Unmarshal(c.body, into); err != nil {
		return fail(http.StatusBadRequest, "MALFORMED_REQUEST", "Could not parse request object: %v", err)
	}
	return nil
}

// int64 is v in the form that the account sends 64-bit integers in.
func (a *Account) int64(v int64) any {
	if a.opts.Int64Strings {
		return decimal(v)
	}
	return v
}

func decimal(v int64) string { return strconv.FormatInt(v, 10) }

// stamp sets the headers that every answer carries.
func (a *Account) stamp(h http.Header, seq uint64) {
	h.Set("Date", a.Now().UTC().Format(http.TimeFormat))
	h.Set("X-Request-Id", fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(a.opts.Seed), seq))
}

// stampWorkspace names the workspace that answers a signed-in caller.
func (c *call) stampWorkspace(h http.Header) {
	if c.route != nil && c.refusal == nil && (c.route.access == caller || c.route.access == admin) {
		h.Set("X-Databricks-Org-Id", decimal(c.ws.ID))
	}
}

// pause waits for d, or less if the client goes away, and reports whether it
// is still there.
func pause(r *http.Request, d time.Duration, until <-chan struct{}) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-until:
		return true
	case <-r.Context().Done():
		return false
	}
}

func send(w http.ResponseWriter, reply *answer) {
	for name, values := range reply.header {
		w.Header()[name] = values
	}
	if reply.stream == nil && reply.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(reply.body)))
	}
	w.WriteHeader(reply.status)
	// A client that went away is no news to a server.
	if reply.stream != nil {
		_ = reply.stream(w)
		return
	}
	_, _ = w.Write(reply.body)
}

func ok(body any) *answer { return jsonAnswer(http.StatusOK, "application/json", body) }

// fail is an API error; code is a string, or an int as the gateway sends it.
func fail(status int, code any, format string, args ...any) *answer {
	return jsonAnswer(status, "application/json", obj{"error_code": code, "message": fmt.Sprintf(format, args...)})
}

// gone is the 404 of what does not exist, tokens aside.
func gone(format string, args ...any) *answer {
	return fail(http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST", format, args...)
}

// invalid is the 400 of a value.
func invalid(format string, args ...any) *answer {
	return fail(http.StatusBadRequest, "INVALID_PARAMETER_VALUE", format, args...)
}

func jsonAnswer(status int, contentType string, body any) *answer {
	return &answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: encode(body)}
}

// encode is JSON as the service writes it: without HTML escapes. The values are
// the simulator's own, so that a failure is a programming error.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("simulator: encode answer: %v", err))
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
