package collectors

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"patrol/engine"
)

const (
	scimPath     = "/api/2.0/preview/scim/v2/"
	scimPageSize = 500
)

// scimRow is one resource of a directory listing.
type scimRow struct {
	id string
	object
	raw json.RawMessage
}

type scimPage struct {
	Total     *int              `json:"totalResults"`
	Resources []json.RawMessage `json:"Resources"`
}

// scimRows pages through a listing and hands over its rows one by one, so that
// a directory is never held twice. Servers may give fewer rows than asked for,
// or more, or ignore where to start: it ends when the total has come, when a
// page is empty, or when one brings nothing new. Rows that cannot be told apart,
// and a total that was not met, go into the tally.
func scimRows(ctx context.Context, c *Client, kind, attributes string, t *tally, each func(scimRow)) *Problem {
	seen := map[string]struct{}{}
	received, total := 0, -1
	for {
		page := scimPage{}
		query := url.Values{"startIndex": {strconv.Itoa(received + 1)}, "count": {strconv.Itoa(scimPageSize)}, "attributes": {attributes}}
		if _, problem := c.getJSON(ctx, c.scim+kind, query, &page); problem != nil {
			return problem
		}
		if page.Total != nil {
			total = *page.Total
		}
		before := len(seen)
		newRows(page.Resources, kind, seen, t, each)
		received += len(page.Resources)
		if len(seen) == before || total >= 0 && received >= total {
			break
		}
	}
	if total >= 0 && len(seen) != total {
		t.add(reasonCountMismatch, "%s: %d announced, %d read", kind, total, len(seen))
	}
	return nil
}

func newRows(resources []json.RawMessage, kind string, seen map[string]struct{}, t *tally, each func(scimRow)) {
	for _, raw := range resources {
		row := scimRow{raw: bytes.Clone(raw)}
		row.object, _ = parseObject(row.raw)
		row.id = scimID(row.members["id"])
		if row.id == "" {
			t.add(reasonMissingID, "%s: a row has no id", kind)
			continue
		}
		if _, known := seen[row.id]; !known {
			seen[row.id] = struct{}{}
			each(row)
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

// reference is an entry of a list of members or groups.
type reference struct {
	Value   string `json:"value"`
	Display string `json:"display"`
}

func (r scimRow) references(key string, t *tally) []reference {
	var list []reference
	if raw := r.members[key]; !absent(raw) && json.Unmarshal(raw, &list) != nil {
		t.add(reasonBadType, "%s: %s is no list of references", engine.SafeText(r.id), key)
	}
	return list
}
