package simulator

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

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
		doc["workspace_id"] = strconv.FormatInt(chosen.id, 10)
		doc["cloud"] = chosen.cloud
		doc["token_federation_default_oidc_audiences"] = []string{c.base() + "/oidc/v1/token"}
	}
	return ok(doc)
}

func oauthServer(c *call) *answer {
	root := c.base() + "/oidc"
	if account := c.vars["account"]; account != "" {
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
	if account := c.vars["account"]; account != "" && account != c.id {
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
	claims := base64.RawURLEncoding.EncodeToString(encode(obj{"scope": scope, "sub": p.name}))
	bearer := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + claims + "." + c.mint("sim")
	c.forgetSessions()
	c.sessions[bearer] = session{principal: p, ws: c.homeOf(p), scopes: strings.Fields(scope), expires: time.Now().Add(sessionLife)}
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
	if p == nil || p.secret == "" || p.secret != secret || !p.active {
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

// homeOf is the workspace that a client's tokens open when no header names one.
func (a *Account) homeOf(p *principal) *workspace {
	for _, ws := range a.workspaces {
		if ws.client == p {
			return ws
		}
	}
	return a.workspaces[0]
}

func (a *Account) forgetSessions() {
	now := time.Now()
	for bearer, s := range a.sessions {
		if now.After(s.expires) {
			delete(a.sessions, bearer)
		}
	}
}

func oauthError(status int, code, description string) *answer {
	return jsonAnswer(status, "application/json", obj{"error": code, "error_description": description})
}
