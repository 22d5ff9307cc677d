package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// createRequest is the body of both ways to create a token.
type createRequest struct {
	ApplicationID    string   `json:"application_id"`
	Comment          string   `json:"comment"`
	LifetimeSeconds  *int64   `json:"lifetime_seconds"`
	Scopes           []string `json:"scopes"`
	AutoscopeEnabled bool     `json:"autoscope_enabled"`
}

func createOwnToken(c *call) *answer {
	var body createRequest
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	t, value, refused := c.create(body, c.who.principal, platformDays*dayMillis)
	if refused != nil {
		return refused
	}
	return ok(obj{"token_value": value, "token_info": c.publicInfo(t)})
}

func createOnBehalf(c *call) *answer {
	var body createRequest
	if bad := c.decode(&body); bad != nil {
		return bad
	}
	p := c.directory.named(body.ApplicationID)
	if p == nil || !p.service || c.ws.outside[p.id] {
		return gone("Service principal with application ID %q does not exist.", body.ApplicationID)
	}
	t, value, refused := c.create(body, p, never)
	if refused != nil {
		return refused
	}
	info := c.tokenAnswer(t, "token_info").body
	secret := appendString([]byte(`{"token_value":`), value)
	return &answer{
		status: http.StatusOK,
		header: http.Header{"Content-Type": {"application/json"}},
		body:   slices.Concat(secret, []byte(`,`), info[1:]),
	}
}

// create stores a new token for p. unlimited is the lifetime, in milliseconds
// or never, of a request that names none.
func (c *call) create(body createRequest, p *principal, unlimited int64) (*token, string, *answer) {
	if off := c.tokensOff(); off != nil {
		return nil, "", off
	}
	switch {
	case !tokensEnabled(c.ws):
		return nil, "", fail(http.StatusBadRequest, "FEATURE_DISABLED", "Personal access tokens are disabled in this workspace.")
	case !c.directory.canUse(c.ws, p):
		return nil, "", fail(http.StatusForbidden, "PERMISSION_DENIED", "'%s' has no permission to use tokens.", p.name)
	case body.LifetimeSeconds != nil && *body.LifetimeSeconds <= 0:
		return nil, "", invalid("Invalid timeout: %d", *body.LifetimeSeconds)
	case c.liveTokens(p) >= tokenQuota:
		return nil, "", fail(http.StatusBadRequest, "QUOTA_EXCEEDED", "Token quota exceeded (%d tokens)", tokenQuota)
	}
	now := c.Now().UnixMilli()
	lifetime, tooLong := c.lifetime(body, unlimited)
	if tooLong != nil {
		return nil, "", tooLong
	}
	value := c.mint("dapi")
	t := &token{
		id: sha256.Sum256([]byte(value)), created: now, expires: never,
		owner: p.id, creator: c.who.principal, comment: body.Comment,
	}
	if lifetime != never {
		t.expires = now + lifetime
	}
	if len(body.Scopes) > 0 || body.AutoscopeEnabled {
		t.scoping = &scoping{scopes: body.Scopes}
		if body.AutoscopeEnabled {
			t.scoping.state = autoscopeRunning
		}
	}
	c.ws.tokens.put(t)
	if c.ws.grantState == GrantsNotInitialised {
		c.ws.grantState = GrantsInitialised // the first PAT creates the ACL
	}
	return t, value, nil
}

// lifetime is what a request gets, in milliseconds or never.
func (c *call) lifetime(body createRequest, unlimited int64) (int64, *answer) {
	limit := int64(platformDays)
	days, err := strconv.ParseInt(c.ws.conf["maxTokenLifetimeDays"], 10, 64)
	limited := err == nil && days > 0
	if limited {
		limit = days
	}
	limit *= dayMillis
	switch {
	case body.LifetimeSeconds == nil && limited:
		return limit, nil
	case body.LifetimeSeconds == nil:
		return unlimited, nil
	case *body.LifetimeSeconds > limit/1000:
		return 0, invalid("Token lifetime exceeds the maximum of %d days.", limit/dayMillis)
	}
	return *body.LifetimeSeconds * 1000, nil
}

func (c *call) liveTokens(p *principal) int {
	now, n := c.Now().UnixMilli(), 0
	for t := range c.ws.tokens.all() {
		if t.owner == p.id && !t.expiredAt(now) {
			n++
		}
	}
	return n
}

// mint makes the next credential; the sequence follows from the seed.
func (a *Account) mint(prefix string) string {
	a.issued++
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%d", a.opts.Seed, prefix, a.issued))
	return prefix + hex.EncodeToString(sum[:16])
}
