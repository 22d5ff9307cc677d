package collectors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"patrol/engine"
)

const (
	tokensPath    = "/api/2.0/token-management/tokens"
	ownTokensPath = "/api/2.0/token/list"
)

// Tokens reads every personal access token of the workspace: the list for
// admins, since the list of one's own tokens would miss everybody else's. What
// the latter holds must stand in the former.
func (set) Tokens() Collector {
	return Collector{
		Section: engine.SectionTokens,
		Doc:     "every personal access token of the workspace",
		Calls:   []string{"GET " + ownTokensPath, "GET " + tokensPath},
		Rights:  "workspace admin; Premium plan or above",
		Scopes:  []string{"authentication:read"},
		Order:   20,
		First:   true,
		Read:    readTokens,
	}
}

func readTokens(ctx context.Context, c *Client) engine.Section {
	own, problem := c.ownTokens(ctx) // before the list of all: what is here now, is there then
	if problem != nil && problem.Fatal() {
		return failed(problem)
	}
	answer, problem := c.Get(ctx, tokensPath, nil, tokensLimit)
	if problem != nil {
		return failed(problem)
	}
	c.session.keep(answer.spool) // rows are read from it until the outcome is closed
	seen := newTokensSeen(c.now(), own)
	list, problem := readTokenList(ctx, "GET "+tokensPath, answer.spool, windowAt(c.now()), &seen)
	switch {
	case ctx.Err() != nil:
		return failed(interrupted(ctx))
	case problem != nil:
		return failed(problem)
	case list.bare:
		return failed(implausible(reasonNotAList, "GET %s: the answer is a bare list, which no workspace gives", tokensPath))
	}
	c.warnOfUnknown(seen.unknown)
	if len(seen.missing()) > 0 { // some may have been revoked between the two lists
		still, _ := c.ownTokens(ctx)
		maps.DeleteFunc(seen.own, func(id string, listed bool) bool { return !listed && !slices.Contains(still, id) })
	}
	list.inUse, list.today = c.tokenInUse(ctx), seen.now-seen.now%engine.Day
	e := &c.session.evidence
	e.seen, e.rows, e.tokenInUse = seen, list.rows, list.inUse
	return list.section()
}

// warnOfUnknown reports what rows hold that this patrol does not know, unless the run
// has reported it already.
func (c *Client) warnOfUnknown(unknown map[string]bool) {
	fresh := slices.DeleteFunc(engine.SortedKeys(unknown), func(what string) bool { return !c.o.first("unknown " + what) })
	if len(fresh) == 0 {
		return
	}
	const most = 5
	shown := strings.Join(fresh[:min(len(fresh), most)], ", ")
	if len(fresh) > most {
		shown += ", …"
	}
	c.event(Event{Kind: EventWarning, Reason: "unknown_field",
		Detail: "tokens have what this patrol does not know, and no policy sees: " + shown + "; it is kept as it came. A newer patrol may know it"})
}

// ownTokens are the ids of the caller's own tokens that have not expired, as its
// own list has them. Where that cannot be read it proves nothing: no time is
// spent on asking again.
func (c *Client) ownTokens(ctx context.Context) ([]string, *Problem) {
	once := *c
	once.budget = newBudget(0, 1)
	rows, _, problem := once.getList(ctx, ownTokensPath, nil, "token_infos", false)
	if problem != nil {
		return nil, problem
	}
	var ids []string
	for _, raw := range rows {
		o, _ := parseObject(raw)
		id, ok := asText(o.members["token_id"])
		expires, known := asInt(o.members["expiry_time"])
		if ok && id != "" && known && (expires == engine.NeverExpires || expires > c.now().UnixMilli()) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// tokenInUse hashes the token that goes into the header, so that no copy of it
// is kept. The platform seems to derive ids so; "" without a token.
func (c *Client) tokenInUse(ctx context.Context) string {
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{}, Header: http.Header{}}
	if c.session.authType != "pat" || c.sign(ctx, r) != nil {
		return ""
	}
	_, token, ok := bytes.Cut([]byte(r.Header.Get("Authorization")), []byte("Bearer "))
	if !ok {
		return ""
	}
	sum := sha256.Sum256(token)
	return hex.EncodeToString(sum[:])
}
