package collectors

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"net/http"
	"net/url"
	"slices"

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
	c.session.keep(answer.body) // rows are read from it until the outcome is closed
	seen := newTokensSeen(c.now(), own)
	list, problem := readTokenList(ctx, "GET "+tokensPath, answer.body, windowAt(c.now()), &seen)
	switch {
	case ctx.Err() != nil:
		return failed(interrupted(ctx))
	case problem != nil:
		return failed(problem)
	case list.bare:
		return failed(implausible(reasonNotAList, "GET %s: the answer is a bare list, which no workspace gives", tokensPath))
	}
	c.warnOfUnknown(list.unknown)
	missing := slices.DeleteFunc(slices.Clone(own), func(id string) bool { return seen.ids[id] })
	if len(missing) > 0 { // some may have been revoked between the two lists
		still, _ := c.ownTokens(ctx)
		missing = slices.DeleteFunc(missing, func(id string) bool { return !slices.Contains(still, id) })
	}
	e := &c.session.evidence
	e.own, e.ownMissing, e.seen, e.rows, e.tokenInUse = own, missing, seen, list.rows, c.tokenInUse(ctx)
	section := list.section(list.parts[0])
	section.Tokens = usedToday(section.Tokens, e.tokenInUse, seen.now)
	return section
}

// ownTokens are the ids of the caller's own tokens that have not expired, as its
// own list has them. Where that cannot be read it proves nothing: no time is
// spent on asking again.
func (c *Client) ownTokens(ctx context.Context) ([]string, *Problem) {
	once := *c
	once.budget = newBudget(0, 1)
	rows, _, problem := once.getList(ctx, ownTokensPath, nil, "token_infos")
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

// usedToday adds what is known at first hand: the token that signs in has been
// used, whatever its row does not tell yet.
func usedToday(tokens iter.Seq2[engine.Token, error], id string, now int64) iter.Seq2[engine.Token, error] {
	return func(yield func(engine.Token, error) bool) {
		for t, err := range tokens {
			if t.ID == id && t.LastUsed == nil {
				t.Defects = slices.DeleteFunc(slices.Clone(t.Defects), func(d engine.Defect) bool { return d.Field == "last_used_day" && d.Reason == reasonNotListed })
				if !slices.ContainsFunc(t.Defects, func(d engine.Defect) bool { return d.Field == "last_used_day" }) {
					t.LastUsed = new(now - now%engine.Day)
				}
			}
			if !yield(t, err) {
				return
			}
		}
	}
}
