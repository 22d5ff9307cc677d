package collectors

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

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

const (
	scimPath     = "/api/2.0/preview/scim/v2/"
	scimPageSize = 500
)

// A listing ends somewhere, whatever its server says: documented are 10,000
// principals and 5,000 groups.
const (
	mostPages     = 20_000
	mostRows      = 1_000_000
	mostRowsBytes = 1 << 30
)

// scimRow is one resource of a directory listing.
type scimRow struct {
	id string
	object
	raw json.RawMessage
}

// scimRows reads a listing and hands over its rows one by one. Pages are not
// isolated: where somebody is removed meanwhile, somebody else is on no page. So
// totals that move, that do not add up, or a row that stands on two pages make
// it read again, once. Rows that cannot be told apart go into the tally.
func scimRows(ctx context.Context, c *Client, kind, attributes string, t *tally, each func(scimRow)) *Problem {
	rows, problem := scimPages(ctx, c, kind, attributes)
	if problem != nil && problem.Reason == reasonTotals {
		first := problem.Detail
		if rows, problem = scimPages(ctx, c, kind, attributes); problem != nil && problem.Reason == reasonTotals {
			problem.Detail = "read twice: " + first + "; " + problem.Detail
		}
	}
	if problem != nil {
		return problem
	}
	for _, raw := range rows {
		row := scimRow{raw: raw}
		row.object, _ = parseObject(raw)
		if row.id = scimID(row.members["id"]); row.id == "" {
			t.add(reasonMissingID, "%s: a row has no id", kind)
			continue
		}
		each(row)
	}
	return nil
}

// scimPages reads all pages. It ends when the total has come or, without one,
// when a page is empty.
func scimPages(ctx context.Context, c *Client, kind, attributes string) ([]json.RawMessage, *Problem) {
	var rows []json.RawMessage
	path, pageOf, total, size := c.scim+kind, map[string]int{}, int64(-1), 0
	for page := 1; ; page++ {
		query := url.Values{"startIndex": {strconv.Itoa(len(rows) + 1)}, "count": {strconv.Itoa(scimPageSize)}, "attributes": {attributes}}
		list, answer, problem := c.getList(ctx, path, query, "Resources")
		if problem != nil {
			return nil, problem
		}
		if n, told := asInt(answer.members["totalResults"]); told {
			if total >= 0 && n != total {
				return nil, implausible(reasonTotals, "GET %s: the total was %d and became %d between pages", path, total, n)
			}
			total = n
		} else if !absent(answer.members["totalResults"]) {
			return nil, implausible(reasonBadType, "GET %s: totalResults is no whole number", path)
		}
		for _, raw := range list {
			o, _ := parseObject(raw)
			id := scimID(o.members["id"])
			if before, seen := pageOf[id]; seen && before != page && id != "" {
				return nil, implausible(reasonTotals, "GET %s: %s stands on pages %d and %d", path, engine.SafeText(id), before, page)
			}
			pageOf[id] = page
			size += len(raw)
		}
		rows = append(rows, list...)
		switch {
		case total >= 0 && int64(len(rows)) > total, total >= 0 && len(list) == 0 && int64(len(rows)) < total:
			return nil, implausible(reasonTotals, "GET %s: %d announced, %d read", path, total, len(rows))
		case len(list) == 0, page == 1 && int64(len(rows)) == total: // of several pages, one more shows that there are no more
			return rows, nil
		case page >= mostPages, len(rows) >= mostRows, size >= mostRowsBytes:
			return nil, implausible(reasonEndless, "GET %s: the pages do not end: %d rows on %d pages so far", path, len(rows), page)
		}
	}
}

// scimID reads an id, which is text that may be written as a number.
func scimID(raw json.RawMessage) string {
	if text, ok := asText(raw); ok {
		return text
	}
	id, _ := asID(raw)
	return id
}

func (r scimRow) text(key string, t *tally) string {
	text, ok := asText(r.members[key])
	if !ok {
		t.add(reasonBadType, "%s: %s is no text: %s", engine.SafeText(r.id), key, engine.SafeText(cut(r.members[key])))
	}
	return text
}

func (r scimRow) truth(key string, t *tally) *bool {
	truth, ok := asBool(r.members[key])
	if !ok {
		t.add(reasonBadType, "%s: %s is no boolean: %s", engine.SafeText(r.id), key, engine.SafeText(cut(r.members[key])))
	}
	return truth
}

// reference is an entry of a list of members or groups.
type reference struct {
	Value   string `json:"value"`
	Display string `json:"display"`
	Ref     string `json:"$ref"` // Users/…, ServicePrincipals/…, Groups/…
}

func (r scimRow) references(key string, t *tally) []reference {
	var list []reference
	if raw := r.members[key]; !absent(raw) && json.Unmarshal(raw, &list) != nil {
		t.add(reasonBadType, "%s: %s is no list of references", engine.SafeText(r.id), key)
	}
	return list
}
