package simulator

import (
	"crypto/sha256"
	"net/http"
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
	if used != nil {
		c.markUsed(used)
	}
}

// identifyLocked returns the token that authenticated the call, if its day of
// last use is out of date.
func (c *call) identifyLocked() *token {
	c.ws = c.workspaces[0]
	chosen, ok := c.chosenWorkspace()
	if !ok {
		c.reject(http.StatusBadRequest, "INVALID_PARAMETER_VALUE", "Unknown workspace in request header")
		return nil
	}
	if chosen != nil {
		c.ws = chosen
	}
	bearer, ok := strings.CutPrefix(c.request.Header.Get("Authorization"), "Bearer ")
	if !ok || bearer == "" {
		c.reject(http.StatusUnauthorized, http.StatusUnauthorized,
			"Credential was not sent or was of an unsupported type for this API.")
		return nil
	}
	if s, ok := c.sessions[bearer]; ok {
		c.useSession(s, chosen)
		return nil
	}
	return c.useToken(bearer, chosen)
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

func (c *call) useSession(s session, chosen *workspace) {
	if chosen == nil {
		c.ws = s.ws
	}
	if time.Now().After(s.expires) || !s.principal.active {
		c.rejectToken()
		return
	}
	if s.management && c.route != nil && c.route.access != azure {
		c.rejectToken()
		return
	}
	c.who = identity{principal: s.principal, oauth: true, scopes: s.scopes, management: s.management}
}

// useToken authenticates by PAT. A token of another workspace than the chosen
// one is refused: one PAT opens one workspace.
func (c *call) useToken(bearer string, chosen *workspace) *token {
	id := tokenID(sha256.Sum256([]byte(bearer)))
	c.bearer = id
	home, held, who := c.holder(bearer, id)
	switch {
	case bearer == ExpiredToken || c.revoked[id]:
		c.rejectToken()
		return nil
	case home == nil: // any other text is a PAT of the admin
		who = c.ws.admin
	case chosen != nil && chosen != home:
		c.rejectToken()
		return nil
	default:
		c.ws = home
	}
	c.who = identity{principal: who}
	if !c.tokenUsable(held) {
		c.rejectToken()
		return nil
	}
	if held != nil && held.lastUsed != midnight(c.Now().UnixMilli()) {
		return held
	}
	return nil
}

// holder finds whose PAT that is. The admin's and the viewer's are good even in
// a workspace too small to list them.
func (c *call) holder(bearer string, id tokenID) (home *workspace, held *token, who *principal) {
	for _, ws := range c.workspaces {
		if t := ws.tokens.get(id); t != nil {
			return ws, t, c.directory.member(ws, t.owner)
		}
		switch bearer {
		case ws.adminToken:
			return ws, nil, ws.admin
		case ws.viewerToken:
			return ws, nil, ws.viewer
		}
	}
	return nil, nil, nil
}

func (c *call) tokenUsable(held *token) bool {
	who := c.who.principal
	if who == nil || !who.active || !tokensEnabled(c.ws) || !c.directory.canUse(c.ws, who) {
		return false
	}
	return held == nil || !held.expiredAt(c.Now().UnixMilli())
}

// markUsed moves the token's day of last use to today.
func (c *call) markUsed(t *token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if current := c.ws.tokens.get(t.id); current != nil {
		next := *current
		next.lastUsed = midnight(c.Now().UnixMilli())
		c.ws.tokens.put(&next)
	}
}

func (c *call) rejectToken() {
	c.reject(http.StatusForbidden, http.StatusForbidden, "Invalid access token.")
}

func (c *call) reject(status int, code any, message string) {
	c.refusal = fail(status, code, "%s", message)
}
