package simulator

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ExpiredToken is a bearer credential that is always refused, for trying out
// what an expired PAT looks like.
const ExpiredToken = "dapi-expired"

// identity is who calls.
type identity struct {
	principal  *principal
	oauth      bool
	scopes     []string // of an OAuth token; nil: all
	management bool     // by a token for Azure Resource Manager, which opens nothing else
}

// session is an OAuth access token that was issued. It ends by real time, not
// by the simulated clock: the client renews by its own clock, and a test that
// moves the simulated one by months must not log everybody out.
type session struct {
	principal  *principal
	ws         *workspace
	management bool
	expires    time.Time
	scopes     []string // nil: all
}

// identify fills in workspace, caller and refusal from the request's headers.
func (c *call) identify() {
	c.mu.RLock()
	used := c.identifyLocked()
	c.mu.RUnlock()
	if used == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if current := c.ws.tokens.get(used.ID); current != nil {
		next := *current
		next.LastUsedDay = midnight(c.Now().UnixMilli())
		c.ws.tokens.put(&next)
	}
}

// identifyLocked returns the token that authenticated the call, if its day of
// last use is out of date. A token of another workspace than the chosen one is
// refused: one PAT opens one workspace.
func (c *call) identifyLocked() *Token {
	c.ws = c.workspaces[0]
	chosen, ok := c.chosenWorkspace()
	if !ok {
		c.refusal = invalid("Unknown workspace in request header")
		return nil
	}
	if chosen != nil {
		c.ws = chosen
	}
	bearer, ok := strings.CutPrefix(c.request.Header.Get("Authorization"), "Bearer ")
	if !ok || bearer == "" {
		c.refusal = fail(http.StatusUnauthorized, http.StatusUnauthorized, "Credential was not sent or was of an unsupported type for this API.")
		return nil
	}
	invalidToken := fail(http.StatusForbidden, http.StatusForbidden, "Invalid access token.")
	if s, ok := c.sessions[bearer]; ok {
		if chosen == nil {
			c.ws = s.ws
		}
		elsewhere := s.management && c.route != nil && c.route.access != azure
		if time.Now().After(s.expires) || !s.principal.Active || elsewhere {
			c.refusal = invalidToken
			return nil
		}
		c.who = identity{principal: s.principal, oauth: true, scopes: s.scopes, management: s.management}
		return nil
	}
	c.bearer = tokenIDOf(bearer)
	home, held, who := c.holder(bearer, c.bearer)
	switch {
	case bearer == ExpiredToken, c.revoked[c.bearer], home != nil && chosen != nil && chosen != home:
		c.refusal = invalidToken
		return nil
	case home == nil: // any other text is a PAT of the admin
		who = c.ws.admin
	default:
		c.ws = home
	}
	c.who = identity{principal: who}
	now := c.Now().UnixMilli()
	usable := who != nil && who.Active && tokensEnabled(c.ws) && c.directory.canUse(c.ws, who)
	switch {
	case !usable, held != nil && held.expiredAt(now):
		c.refusal = invalidToken
	case held != nil && held.LastUsedDay != midnight(now):
		return held
	}
	return nil
}

// chosenWorkspace is the workspace that a header names, by id or by name.
func (c *call) chosenWorkspace() (ws *workspace, ok bool) {
	for _, header := range []string{"X-Databricks-Org-Id", "X-Databricks-Workspace-Id"} {
		if name := c.request.Header.Get(header); name != "" {
			ws = c.find(name)
			return ws, ws != nil
		}
	}
	return nil, true
}

// find returns the workspace of that id or name, or nil.
func (a *Account) find(name string) *workspace {
	for _, ws := range a.workspaces {
		if ws.names(name) {
			return ws
		}
	}
	return nil
}

// holder finds whose PAT that is. The admin's and the viewer's are good even in
// a workspace too small to list them.
func (c *call) holder(bearer, id string) (home *workspace, held *Token, who *principal) {
	for _, ws := range c.workspaces {
		if t := ws.tokens.get(id); t != nil {
			return ws, t, c.directory.member(ws, t.OwnerID)
		}
		switch bearer {
		case ws.Token:
			return ws, nil, ws.admin
		case ws.ViewerToken:
			return ws, nil, ws.viewer
		}
	}
	return nil, nil, nil
}

const sessionLife = time.Hour

// base is the address under which the client reached the simulator.
func (c *call) base() string {
	scheme := "http"
	if c.request.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + c.request.Host
}

// hostConfig answers the discovery probe. It names a workspace only when there
// is no doubt which one is meant: SDKs copy the id into a header of every later
// call, where it would outrank the credential.
func hostConfig(c *call) *answer {
	doc := obj{
		"oidc_endpoint": c.base() + "/oidc",
		"account_id":    c.id,
		"host_type":     "workspace",
	}
	chosen, _ := c.chosenWorkspace()
	if chosen == nil && len(c.workspaces) == 1 {
		chosen = c.workspaces[0]
	}
	if chosen != nil {
		doc["workspace_id"] = strconv.FormatInt(chosen.ID, 10)
		doc["cloud"] = chosen.Cloud
		doc["token_federation_default_oidc_audiences"] = []string{c.base() + "/oidc/v1/token"}
	}
	return ok(doc)
}

func oauthServer(c *call) *answer {
	root := c.base() + "/oidc"
	if account := c.request.PathValue("account"); account != "" {
		if account != c.id {
			return gone("Account %s does not exist", account)
		}
		root += "/accounts/" + account
	}
	return ok(obj{
		"issuer":                                root,
		"authorization_endpoint":                root + "/v1/authorize",
		"token_endpoint":                        root + "/v1/token",
		"grant_types_supported":                 []string{"client_credentials"},
		"response_types_supported":              []string{"code"},
		"scopes_supported":                      []string{allAPIs},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	})
}

// issueOAuth is the client-credentials grant.
func issueOAuth(c *call) *answer {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return oauthError(http.StatusBadRequest, "invalid_request", "the form cannot be parsed")
	}
	if account := c.request.PathValue("account"); account != "" && account != c.id {
		return oauthError(http.StatusUnauthorized, "invalid_client", "unknown account")
	}
	p := c.oauthClient(form)
	if p == nil {
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed")
	}
	if grant := form.Get("grant_type"); grant != "client_credentials" {
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "grant_type is "+strconv.Quote(grant))
	}
	scope := form.Get("scope")
	if scope == "" {
		scope = allAPIs
	}
	claims := base64.RawURLEncoding.EncodeToString(encode(obj{"scope": scope, "sub": p.Name}))
	bearer := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + claims + "." + c.mint("sim")
	c.signIn(bearer, session{principal: p, scopes: strings.Fields(scope)})
	return ok(obj{
		"access_token": bearer, "token_type": "Bearer", "scope": scope,
		"expires_in": int(sessionLife / time.Second),
	})
}

// oauthClient authenticates the client by Basic header or by form fields.
func (c *call) oauthClient(form url.Values) *principal {
	id, secret, basic := c.request.BasicAuth()
	if basic { // RFC 6749 has both halves form-encoded
		id, secret = unescape(id), unescape(secret)
	} else {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	p := c.directory.named(id)
	if p == nil || p.secret == "" || p.secret != secret || !p.Active {
		return nil
	}
	return p
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// signIn opens a session. When no header names a workspace, a workspace's client
// opens its own. Sessions that have ended are forgotten.
func (a *Account) signIn(bearer string, s session) {
	now := time.Now()
	maps.DeleteFunc(a.sessions, func(_ string, old session) bool { return now.After(old.expires) })
	s.ws, s.expires = a.workspaces[0], now.Add(sessionLife)
	for _, ws := range a.workspaces {
		if ws.client == s.principal {
			s.ws = ws
		}
	}
	a.sessions[bearer] = s
}

func oauthError(status int, code, description string) *answer {
	return jsonAnswer(status, "application/json", obj{"error": code, "error_description": description})
}

const allAPIs = "all-apis"

// scopeOf is the API scope that a path belongs to, by the documented lists.
func scopeOf(path string) string {
	for _, family := range []struct{ part, scope string }{
		{"/scim/", "scim"}, {"/permissions/", "access-management"}, {"/ip-access-lists", "networking"}, {"/sql/", "sql"},
		{"/unity-catalog/recipients", "sharing"}, {"/unity-catalog/", "unity-catalog"}, {"/workspace-conf", "settings"}, {"/settings/", "settings"}, {"/workspaces", "provisioning"},
	} {
		if strings.Contains(path, family.part) {
			return family.scope
		}
	}
	return "authentication"
}

// outOfScope refuses a call that the scopes of an OAuth token do not cover.
func (c *call) outOfScope() *answer {
	if c.who.scopes == nil {
		return nil
	}
	needed := scopeOf(c.route.path)
	reads := c.request.Method == http.MethodGet || c.request.Method == http.MethodHead
	for _, scope := range c.who.scopes {
		name, modifiers, narrow := strings.Cut(scope, ":")
		switch {
		case name == allAPIs, name == needed && !narrow,
			name == needed && reads && strings.Contains(":"+modifiers+":", ":read:"),
			name == needed && needed == "sql" && c.request.URL.Path == "/api/2.0/sql/statements" && strings.Contains(modifiers, "restricted-query"):
			return nil
		}
	}
	return c.forbid("Your token is missing the required scopes for this endpoint: %s", needed)
}
