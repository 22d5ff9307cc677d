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
	answer, problem := c.Get(ctx, path, query, answerLimit)
	if problem != nil {
		return nil, nil, problem
	}
	defer discard(answer)
	var body json.RawMessage
	decoder := json.NewDecoder(answer.Reader())
	err := decoder.Decode(&body)
	if err == nil {
		err = atEnd(decoder)
	}
	if err != nil {
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
	return body, answer.header, nil
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

// nextPage is where a list of the platform names its next page.
const nextPage = "next_page_token"

// getList asks for a list: an object with a list under a key. Whatever else
// comes with status 200, as {}, null or the object of an error, is not believed:
// it would look like a list without rows. sparse says that the platform leaves an
// empty list out, as of none {}.
func (c *Client) getList(ctx context.Context, path string, query url.Values, key string, sparse bool, followed ...string) (rows []json.RawMessage, o object, problem *Problem) {
	body, _, problem := c.getBody(ctx, path, query, followed...)
	if problem != nil {
		return nil, o, problem
	}
	o, isObject := parseObject(body)
	list, listed := o.members[key]
	_, named := o.members[nextPage]
	switch {
	case !isObject:
		return nil, o, implausible(reasonNotAList, "GET %s: the answer is no object with %s", path, key)
	case sparse && (len(o.members) == 0 || named && len(o.members) == 1):
		return nil, o, nil
	case !absent(o.members["error_code"]), !absent(o.members["detail"]):
		return nil, o, implausible(reasonNotAList, "GET %s: the answer is an error with status 200", path)
	case !listed && key == "Resources" && !absent(o.members["totalResults"]): // an empty page; totals tell whether it may be
		return nil, o, nil
	}
	rows, isList := elements(list)
	if !isList {
		return nil, o, implausible(reasonNotAList, "GET %s: the answer has no list %s", path, key)
	}
	return rows, o, nil
}

// marksMore reports whether a member of an answer says that the answer is not all.
func marksMore(key string, value json.RawMessage) bool {
	if absent(value) || slices.Contains([]string{`""`, "false", `"false"`, "0", "{}", "[]"}, string(value)) {
		return false
	}
	switch word := letters(strings.TrimPrefix(key, "@odata.")); word {
	case "hasmore", "truncated", "istruncated", "incomplete", "partial", "pagetoken", "cursor", "morepages":
		return true
	case "links":
		links, _ := parseObject(value)
		return slices.ContainsFunc(engine.SortedKeys(links.members), func(key string) bool { return marksMore(key, links.members[key]) })
	default:
		return strings.HasPrefix(word, "next") || strings.HasPrefix(word, "hasnext") || strings.HasPrefix(word, "continu")
	}
}

// Bounds of what an answer may hold; no workspace comes near them.
const (
	mostNested = 64
	mostKeys   = 1000
)

var errNested = fmt.Errorf("values are nested deeper than %d", mostNested)

// repeatedKey finds a key that stands twice in one object, in whatever letter
// case, anywhere in valid JSON.
func repeatedKey(raw []byte, depth int) (string, error) {
	raw = bytes.TrimLeft(raw, jsonSpace)
	if depth > mostNested {
		return "", errNested
	}
	within, _ := elements(raw)
	if len(raw) > 0 && raw[0] == '{' {
		o, small := parseObject(raw)
		if !small {
			return "", fmt.Errorf("an object has more than %d keys", mostKeys)
		}
		if len(o.twice) > 0 {
			return o.twice[0], nil
		}
		delete(o.members, "custom_tags") // names of tags are free: those may differ in case alone
		for _, key := range engine.SortedKeys(o.members) {
			within = append(within, o.members[key])
		}
	}
	for _, value := range within {
		if found, err := repeatedKey(value, depth+1); found != "" || err != nil {
			return found, err
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
	case errors.Is(err, errTotal):
		return implausible(reasonTotals, "%s: %v", what, err)
	case errors.Is(err, errTwice):
		return implausible(reasonDuplicateKey, "%s: %v", what, err)
	}
	return badBody("%s: %s", what, engine.SafeText(err.Error()))
}

const (
	mostListPages = 1000
)

// pagedRows reads all pages of a list that names the next one by a page token.
func pagedRows(ctx context.Context, c *Client, path, key string, query url.Values, sparse bool) ([]json.RawMessage, *Problem) {
	var rows []json.RawMessage
	seen := map[string]bool{}
	if query = maps.Clone(query); query == nil {
		query = url.Values{}
	}
	for {
		page, answer, problem := c.getList(ctx, path, query, key, sparse, nextPage)
		if problem != nil {
			return nil, problem
		}
		rows = append(rows, page...)
		token, ok := asText(answer.members[nextPage])
		switch {
		case !ok:
			return nil, implausible(reasonNotAList, "GET %s: %s is no text", path, nextPage)
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
	var isText bool
	if r.id, isText = asText(r.members["id"]); !isText {
		r.id, _ = asID(r.members["id"])
	}
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
		list, answer, problem := c.getList(ctx, path, query, "Resources", false)
		if problem != nil {
			return nil, problem
		}
		if n, told := asInt(answer.members["totalResults"]); told && n >= 0 {
			if total >= 0 && n != total {
				return nil, implausible(reasonTotals, "GET %s: the total was %d and became %d between pages", path, total, n)
			}
			total = n
		} else if !absent(answer.members["totalResults"]) {
			return nil, implausible(reasonBadType, "GET %s: totalResults is no whole number", path)
		}
		for _, raw := range list {
			id := newSCIMRow(raw, nil).id
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

// reference is an entry of a list of members or groups.
type reference struct {
	Value   string `json:"value"`
	Display string `json:"display"`
	Ref     string `json:"$ref"` // Users/…, ServicePrincipals/…, Groups/…
}

// of reports whether the entry is of a list of the directory: Users, Groups.
func (r reference) of(list string) bool {
	return strings.HasPrefix(r.Ref, list+"/") || strings.Contains(r.Ref, "/"+list+"/")
}

func (r scimRow) references(key string) []reference {
	var list []reference
	if raw := r.members[key]; !absent(raw) && json.Unmarshal(raw, &list) != nil {
		r.wrong(key, reasonBadType)
	}
	return list
}
