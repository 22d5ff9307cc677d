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

const (
	sessionLife = time.Hour
	allAPIs     = "all-apis"
)

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
	identity
	ws      *workspace
	expires time.Time
}

// identify finds workspace and caller from the request's headers, or says why the
// credential is refused. A token of another workspace than the chosen one is
// refused: one PAT opens one workspace.
func (c *call) identify() *answer {
	c.ws = c.workspaces[0]
	chosen, ok := c.chosenWorkspace()
	if !ok {
		return invalid("Unknown workspace in request header")
	}
	if chosen != nil {
		c.ws = chosen
	}
	bearer, ok := strings.CutPrefix(c.request.Header.Get("Authorization"), "Bearer ")
	if !ok || bearer == "" {
		return fail(http.StatusUnauthorized, http.StatusUnauthorized, "Credential was not sent or was of an unsupported type for this API.")
	}
	invalidToken := fail(http.StatusForbidden, http.StatusForbidden, "Invalid access token.")
	if s, ok := c.sessions[bearer]; ok {
		if chosen == nil {
			c.ws = s.ws
		}
		elsewhere := s.management && c.route != nil && c.route.access != azure
		if time.Now().After(s.expires) || !s.principal.Active || elsewhere {
			return invalidToken
		}
		c.who = s.identity
		return nil
	}
	c.bearer = tokenIDOf(bearer)
	var home *workspace // whose PAT it is
	var held *Token
	who := c.ws.admin // any other text is a PAT of the admin
	for _, ws := range c.workspaces {
		held = ws.tokens.get(c.bearer)
		switch {
		case held != nil:
			who = c.directory.member(ws, held.OwnerID)
		case bearer == ws.Token: // good even in a workspace too small to list it
			who = ws.admin
		case bearer == ws.ViewerToken:
			who = ws.viewer
		default:
			continue
		}
		home = ws
		break
	}
	if bearer == ExpiredToken || c.revoked[c.bearer] || home != nil && chosen != nil && chosen != home {
		return invalidToken
	}
	if home != nil {
		c.ws = home
	}
	c.who = identity{principal: who}
	now := c.Now().UnixMilli()
	if who == nil || !who.Active || !tokensEnabled(c.ws) || !c.directory.canUse(c.ws, who) || held != nil && held.expiredAt(now) {
		return invalidToken
	}
	if held != nil && held.LastUsedDay != midnight(now) {
		used := *held
		used.LastUsedDay = midnight(now)
		c.ws.tokens.put(&used)
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

// base is the address under which the client reached the simulator.
func (c *call) base() string {
	if c.request.TLS != nil {
		return "https://" + c.request.Host
	}
	return "http://" + c.request.Host
}

// hostConfig answers the discovery probe. It names a workspace only when there
// is no doubt which one is meant: SDKs copy the id into a header of every later
// call, where it would outrank the credential.
func hostConfig(c *call) *answer {
	doc := obj{"oidc_endpoint": c.base() + "/oidc", "account_id": c.id, "host_type": "workspace"}
	chosen, _ := c.chosenWorkspace()
	if chosen == nil && len(c.workspaces) == 1 {
		chosen = c.workspaces[0]
	}
	if chosen != nil {
		doc["workspace_id"], doc["cloud"] = decimal(chosen.ID), chosen.Cloud
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
	form, p, bad := c.oauthClient()
	account, grant := c.request.PathValue("account"), form.Get("grant_type")
	switch {
	case bad != nil:
		return bad
	case account != "" && account != c.id:
		return oauthError(http.StatusUnauthorized, "invalid_client", "unknown account")
	case p == nil:
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed")
	case grant != "client_credentials":
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "grant_type is "+strconv.Quote(grant))
	}
	scope := form.Get("scope")
	if scope == "" {
		scope = allAPIs
	}
	claims := base64.RawURLEncoding.EncodeToString(encode(obj{"scope": scope, "sub": p.Name}))
	bearer := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + claims + "." + c.mint("sim")
	c.signIn(bearer, identity{principal: p, oauth: true, scopes: strings.Fields(scope)})
	return ok(obj{"access_token": bearer, "token_type": "Bearer", "scope": scope, "expires_in": int(sessionLife / time.Second)})
}

// issueAzure is Entra's client-credentials grant. A token is good for the
// resource that it was issued for, and for nothing else.
func issueAzure(c *call) *answer {
	form, p, bad := c.oauthClient()
	tenant, resource := c.request.PathValue("tenant"), form.Get("resource")
	management := resource == c.base()+"/"
	switch {
	case bad != nil:
		return bad
	case tenant != c.Tenant():
		return oauthError(http.StatusBadRequest, "invalid_request", "AADSTS90002: Tenant '"+tenant+"' not found.")
	case p == nil:
		return oauthError(http.StatusUnauthorized, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
	case !management && resource != databricksApp:
		return oauthError(http.StatusBadRequest, "invalid_resource", "AADSTS500011: The resource principal named "+resource+" was not found.")
	}
	bearer := c.mint("sim-azure-")
	c.signIn(bearer, identity{principal: p, oauth: true, management: management})
	return ok(obj{
		"token_type": "Bearer", "expires_in": strconv.Itoa(int(sessionLife / time.Second)), "resource": resource, "access_token": bearer,
		"expires_on": decimal(time.Now().Add(sessionLife).Unix()),
	})
}

// oauthClient reads the form, and authenticates the client by Basic header or by
// fields of the form; nil is nobody.
func (c *call) oauthClient() (form url.Values, client *principal, bad *answer) {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return nil, nil, oauthError(http.StatusBadRequest, "invalid_request", "the form cannot be parsed")
	}
	id, secret, basic := c.request.BasicAuth()
	if !basic {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	} else { // RFC 6749 has both halves form-encoded
		if plain, err := url.QueryUnescape(id); err == nil {
			id = plain
		}
		if plain, err := url.QueryUnescape(secret); err == nil {
			secret = plain
		}
	}
	p := c.directory.named(id)
	if p == nil || p.secret == "" || p.secret != secret || !p.Active {
		return form, nil, nil
	}
	return form, p, nil
}

// signIn opens a session. When no header names a workspace, a workspace's client
// opens its own. Sessions that have ended are forgotten.
func (a *Account) signIn(bearer string, who identity) {
	now := time.Now()
	maps.DeleteFunc(a.sessions, func(_ string, old session) bool { return now.After(old.expires) })
	s := session{who, a.workspaces[0], now.Add(sessionLife)}
	for _, ws := range a.workspaces {
		if ws.client == who.principal {
			s.ws = ws
		}
	}
	a.sessions[bearer] = s
}

func oauthError(status int, code, description string) *answer {
	return jsonAnswer(status, "application/json", obj{"error": code, "error_description": description})
}

// outOfScope refuses a call that the scopes of an OAuth token do not cover, by the
// documented lists of which scope opens what.
func (c *call) outOfScope() *answer {
	if c.who.scopes == nil {
		return nil
	}
	needed := "authentication"
	for _, family := range [][2]string{
		{"/scim/", "scim"}, {"/permissions/", "access-management"}, {"/ip-access-lists", "networking"}, {"/sql/", "sql"},
		{"/unity-catalog/recipients", "sharing"}, {"/unity-catalog/", "unity-catalog"}, {"/workspace-conf", "settings"},
		{"/settings/", "settings"}, {"/workspaces", "provisioning"},
	} {
		if strings.Contains(c.route.path, family[0]) {
			needed = family[1]
			break
		}
	}
	for _, scope := range c.who.scopes {
		name, modifiers, narrow := strings.Cut(scope, ":")
		switch {
		case name == allAPIs, name == needed && !narrow,
			name == needed && !c.writes() && strings.Contains(":"+modifiers+":", ":read:"),
			name == needed && needed == "sql" && c.request.URL.Path == statementsPath && strings.Contains(modifiers, "restricted-query"):
			return nil
		}
	}
	return c.forbid("Your token is missing the required scopes for this endpoint: %s", needed)
}
