package collectors

import (
	"context"
	"encoding/json"
	"net/url"

	"patrol/engine"
)

const (
	mostListPages = 1000
	mostRefusals  = 3 // without a single answer: whoever may read none is not to ask for all
)

// pagedRows reads all pages of a list that names the next one by a page token.
// sparse says that the platform leaves an empty list out, as of none {}.
func pagedRows(ctx context.Context, c *Client, path, key string, query url.Values, sparse bool) ([]json.RawMessage, *Problem) {
	const next = "next_page_token"
	var rows []json.RawMessage
	query, seen := clone(query), map[string]bool{}
	for {
		body, _, problem := c.getBody(ctx, path, query, next)
		if problem != nil {
			return nil, problem
		}
		page, answer, problem := listUnder(path, body, key)
		if sparse && leftOut(answer, key, next) {
			page, problem = nil, nil
		}
		if problem != nil {
			return nil, problem
		}
		rows = append(rows, page...)
		token, ok := asText(answer.members[next])
		switch {
		case !ok:
			return nil, implausible(reasonNotAList, "GET %s: %s is no text", path, next)
		case token == "":
			return rows, nil
		case seen[token]:
			return nil, implausible(reasonTotals, "GET %s: a page names as the next one what was read already", path)
		case len(seen) >= mostListPages:
			return nil, implausible(reasonEndless, "GET %s: the pages do not end: %d so far", path, len(seen)+1)
		}
		seen[token] = true
		query.Set("page_token", token)
	}
}

// leftOut: the object holds nothing but, perhaps, the token of the next page.
func leftOut(o object, key, next string) bool {
	if o.members == nil {
		return false
	}
	for name := range o.members {
		if name != next {
			return false
		}
	}
	return true
}

func clone(query url.Values) url.Values {
	copied := url.Values{}
	for name, values := range query {
		copied[name] = values
	}
	return copied
}

// principalList is a list that each service principal has.
type principalList struct {
	path           func(id string) string
	key            string
	sparse         bool
	denied, absent string // hints
}

// read hands over the rows of every service principal of the client's
// directory, one principal after the other: the client's rate is the limit. One
// that may not be read leaves the section partial, unless all are refused.
func (l principalList) read(ctx context.Context, c *Client, t *tally, each func(scimRow, json.RawMessage)) *Problem {
	var principals []scimRow
	problem := scimRows(ctx, c, "ServicePrincipals", "id,applicationId,displayName", t, func(row scimRow) {
		principals = append(principals, row)
	})
	if problem != nil {
		return problem
	}
	answered, refused := 0, 0
	for _, principal := range principals {
		rows, problem := pagedRows(ctx, c, l.path(principal.id), l.key, nil, l.sparse)
		switch {
		case problem == nil:
			answered++
			for _, raw := range rows {
				each(principal, raw)
			}
		case problem.Code == "RESOURCE_DOES_NOT_EXIST", problem.Code == "NOT_FOUND":
			t.note("service principal %s went away meanwhile", engine.SafeText(principal.id))
		case problem.Reason == reasonPermission:
			problem.Hint = l.denied
			if refused++; answered == 0 && refused >= mostRefusals {
				return problem
			}
			t.add(reasonPermission, "the %s of service principal %s may not be read", l.key, engine.SafeText(principal.id))
		default:
			return problem.absent(l.absent)
		}
	}
	return nil
}
