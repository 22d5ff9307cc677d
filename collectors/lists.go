package collectors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"patrol/engine"
)

// getBody asks for a small answer: one JSON value, in which no object has a key
// twice and which does not say that there is more. The marks of pages that the
// caller follows are named.
func (c *Client) getBody(ctx context.Context, path string, query url.Values, followed ...string) (json.RawMessage, http.Header, *Problem) {
	answer, p := c.Get(ctx, path, query, answerLimit)
	if p != nil {
		return nil, nil, p
	}
	defer discard(answer)
	var body json.RawMessage
	decoder := json.NewDecoder(answer.Reader())
	if err := decoder.Decode(&body); err != nil {
		return nil, nil, badJSON("GET "+path, err)
	}
	if err := atEnd(decoder); err != nil {
		return nil, nil, badJSON("GET "+path, err)
	}
	if key, nested := repeatedKey(body, 0); nested != nil {
		return nil, nil, badBody("GET %s: %v", path, nested)
	} else if key != "" {
		return nil, nil, implausible(reasonDuplicateKey, "GET %s: the key %q stands twice in one object", path, engine.SafeText(cut([]byte(key))))
	}
	o, _ := parseObject(body)
	for _, key := range engine.SortedKeys(o.members) {
		if !slices.Contains(followed, key) && marksMore(key, o.members[key]) {
			return nil, nil, implausible(reasonPaged, "GET %s: %s says that there is more than the answer holds", path, key)
		}
	}
	return body, answer.Header, nil
}

// getJSON asks for a small answer and decodes it.
func (c *Client) getJSON(ctx context.Context, path string, query url.Values, into any, followed ...string) (http.Header, *Problem) {
	body, header, problem := c.getBody(ctx, path, query, followed...)
	if problem != nil {
		return nil, problem
	}
	if err := json.Unmarshal(body, into); err != nil {
		return nil, badJSON("GET "+path, err)
	}
	return header, nil
}

// getList asks for a list: an object with a list under a key. Whatever else
// comes with status 200, as {}, null or the object of an error, is not believed:
// it would look like a list without rows.
func (c *Client) getList(ctx context.Context, path string, query url.Values, key string, followed ...string) ([]json.RawMessage, object, *Problem) {
	body, _, problem := c.getBody(ctx, path, query, followed...)
	if problem != nil {
		return nil, object{}, problem
	}
	return listUnder(path, body, key)
}

// listUnder is the list under a key of an answer.
func listUnder(path string, body json.RawMessage, key string) ([]json.RawMessage, object, *Problem) {
	var rows []json.RawMessage
	o, isObject := parseObject(body)
	list, listed := o.members[key]
	switch {
	case !isObject:
		return nil, o, implausible(reasonNotAList, "GET %s: the answer is no object with %s", path, key)
	case !absent(o.members["error_code"]), !absent(o.members["detail"]):
		return nil, o, implausible(reasonNotAList, "GET %s: the answer is an error with status 200", path)
	case !listed && key == "Resources" && !absent(o.members["totalResults"]): // an empty page; totals tell whether it may be
		return nil, o, nil
	case !listed, json.Unmarshal(list, &rows) != nil, rows == nil:
		return nil, o, implausible(reasonNotAList, "GET %s: the answer has no list %s", path, key)
	}
	return rows, o, nil
}

// marksMore reports whether a member of an answer says that the answer is not all.
func marksMore(key string, value json.RawMessage) bool {
	switch strings.ToLower(strings.ReplaceAll(key, "_", "")) {
	case "nextpagetoken", "nextcursor", "nextlink":
		return !absent(value) && string(value) != `""`
	case "hasmore", "truncated":
		return !absent(value) && !slices.Contains([]string{"false", `"false"`, "0"}, string(value))
	}
	return false
}

// totalOf is what an answer says of how many rows there are; false where it does not.
func totalOf(o object) (int64, bool) {
	for _, key := range []string{"totalResults", "total_count", "totalCount", "total"} {
		if n, ok := asInt(o.members[key]); ok {
			return n, true
		}
	}
	return 0, false
}

// Bounds of what an answer may hold; no workspace comes near them.
const (
	mostNested = 64
	mostKeys   = 1000
)

var errNested = fmt.Errorf("values are nested deeper than %d", mostNested)

// repeatedKey finds a key that stands twice in one object, in whatever letter
// case, anywhere in valid JSON. Names of tags are free: those may differ in case alone.
func repeatedKey(raw []byte, depth int) (string, error) {
	raw = bytes.TrimLeft(raw, jsonSpace)
	if depth > mostNested {
		return "", errNested
	}
	switch {
	case len(raw) > 0 && raw[0] == '{':
		o, small := parseObject(raw)
		if !small {
			return "", fmt.Errorf("an object has more than %d keys", mostKeys)
		}
		if len(o.twice) > 0 {
			return o.twice[0], nil
		}
		for _, key := range engine.SortedKeys(o.members) {
			if key == "custom_tags" {
				continue
			}
			if found, err := repeatedKey(o.members[key], depth+1); found != "" || err != nil {
				return found, err
			}
		}
	case len(raw) > 0 && raw[0] == '[':
		for rest := bytes.TrimLeft(raw[1:], jsonSpace); len(rest) > 0 && rest[0] != ']'; rest = bytes.TrimLeft(rest, jsonSpace+",") {
			var value []byte
			value, rest = cutValue(rest)
			if found, err := repeatedKey(value, depth+1); found != "" || err != nil {
				return found, err
			}
		}
	}
	return "", nil
}

var errTrailing = errors.New("something follows the JSON value")

func atEnd(decoder *json.Decoder) error {
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}

// badJSON tells a value that breaks off from one that is no JSON, or not of
// the expected shape.
func badJSON(what string, err error) *Problem {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return badBody("%s: the answer is empty", what)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return truncatedBody("%s: the answer breaks off", what)
	case errors.As(err, &syntax):
		return badBody("%s: the answer is no JSON at byte %d", what, syntax.Offset)
	case errors.Is(err, errNoList):
		return implausible(reasonNotAList, "%s: %v", what, err)
	case errors.Is(err, errMore):
		return implausible(reasonPaged, "%s: %v", what, err)
	case errors.Is(err, errTwice):
		return implausible(reasonDuplicateKey, "%s: %v", what, err)
	}
	return badBody("%s: %s", what, engine.SafeText(err.Error()))
}

const (
	mostListPages = 1000
	mostRefusals  = 3 // without a single answer: whoever may read none is not to ask for all
)

// pagedRows reads all pages of a list that names the next one by a page token.
// sparse says that the platform leaves an empty list out, as of none {}.
func pagedRows(ctx context.Context, c *Client, path, key string, query url.Values, sparse bool) ([]json.RawMessage, *Problem) {
	const next = "next_page_token"
	var rows []json.RawMessage
	seen := map[string]bool{}
	if query = maps.Clone(query); query == nil {
		query = url.Values{}
	}
	for {
		body, _, problem := c.getBody(ctx, path, query, next)
		if problem != nil {
			return nil, problem
		}
		page, answer, problem := listUnder(path, body, key)
		_, names := answer.members[next]
		if alone := answer.members != nil && (len(answer.members) == 0 || names && len(answer.members) == 1); sparse && alone {
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

// servicePrincipals are those of the client's directory.
func servicePrincipals(ctx context.Context, c *Client, t *tally) (principals []scimRow, problem *Problem) {
	problem = scimRows(ctx, c, "ServicePrincipals", "id,applicationId,displayName", t, func(row scimRow) { principals = append(principals, row) })
	return principals, problem
}

// eachOfPrincipals hands over the rows of a list that each service principal has, one
// principal after the other: the client's rate is the limit. One that may not be
// read leaves the section partial, unless all are refused.
func eachOfPrincipals(
	ctx context.Context, c *Client, t *tally, principals []scimRow,
	path func(id string) string, key string, sparse bool, each func(scimRow, json.RawMessage),
) *Problem {
	answered, refused := 0, 0
	for _, principal := range principals {
		rows, problem := pagedRows(ctx, c, path(url.PathEscape(principal.id)), key, nil, sparse)
		switch {
		case problem == nil:
			answered++
			for _, raw := range rows {
				each(principal, raw)
			}
		case problem.Code == "RESOURCE_DOES_NOT_EXIST", problem.Code == "NOT_FOUND":
			t.note("service principal %s went away meanwhile", engine.SafeText(principal.id))
		case problem.Reason == reasonPermission:
			if refused++; answered == 0 && refused >= mostRefusals {
				return problem
			}
			t.add(reasonPermission, "the %s of service principal %s may not be read", key, engine.SafeText(principal.id))
		default:
			return problem
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
	fields

	id  string
	raw json.RawMessage
}

// newSCIMRow reads a resource; what is of another type than it should be goes into
// the tally. An id is text that may be written as a number.
func newSCIMRow(raw json.RawMessage, t *tally) scimRow {
	r := scimRow{raw: raw}
	r.object, _ = parseObject(raw)
	r.wrong = func(key, reason string) {
		t.add(reason, "%s: %s is of another type: %s", engine.SafeText(r.id), key, engine.SafeText(cut(r.members[key])))
	}
	r.id = scimID(r.members["id"])
	return r
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
		row := newSCIMRow(raw, t)
		if row.id == "" {
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

func scimID(raw json.RawMessage) string {
	if text, ok := asText(raw); ok {
		return text
	}
	id, _ := asID(raw)
	return id
}

// reference is an entry of a list of members or groups.
type reference struct {
	Value   string `json:"value"`
	Display string `json:"display"`
	Ref     string `json:"$ref"` // Users/…, ServicePrincipals/…, Groups/…
}

func (r scimRow) references(key string) []reference {
	var list []reference
	if raw := r.members[key]; !absent(raw) && json.Unmarshal(raw, &list) != nil {
		r.wrong(key, reasonBadType)
	}
	return list
}
