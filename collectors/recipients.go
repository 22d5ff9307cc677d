package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"

	"patrol/engine"
)

const (
	recipientsPath       = "/api/2.1/unity-catalog/recipients"
	metastorePath        = "/api/2.1/unity-catalog/metastore_summary"
	reasonOwnRecipients  = "only_own_recipients"
	hintRecipients       = "Ask for it with --with recipients; it takes the rights of a metastore admin."
	hintRecipientsDenied = "Sign in as a metastore admin, or leave recipients out of --with."
	hintRecipientsAbsent = "This workspace has no metastore, or does not share data: leave recipients out of --with."
)

// Recipients reads who gets shared data by a token that the platform issued.
func (set) Recipients() Collector {
	return Collector{
		Section:   engine.SectionRecipients,
		Doc:       "recipients of shared data in the workspace's metastore: how they sign in, and how long their tokens live; never a token or its link",
		Calls:     []string{"GET " + metastorePath, "GET " + recipientsPath},
		Rights:    "metastore admin: others are shown their own recipients only",
		Scopes:    []string{"sharing:read", "unity-catalog:read"},
		OnRequest: hintRecipients,
		Order:     86,
		Read:      readRecipients,
	}
}

// readRecipients also finds out whether the caller is shown all of them: the
// platform leaves others' out without a word.
func readRecipients(ctx context.Context, c *Client) engine.Section {
	var metastore struct {
		Owner string `json:"owner"`
	}
	if _, problem := c.getJSON(ctx, metastorePath, nil, &metastore); problem != nil {
		return failed(recipientsProblem(problem))
	}
	rows, problem := pagedRows(ctx, c, recipientsPath, "recipients", url.Values{"max_results": {"0"}}, true)
	if problem != nil {
		return failed(recipientsProblem(problem))
	}
	recipients := []engine.Recipient{}
	var t tally
	for i, raw := range rows {
		recipient, reason := readRecipient(raw)
		if reason != "" {
			t.add(reason, "recipient %d has no name, kind, addresses or tokens that can be read", i+1)
			continue
		}
		recipients = append(recipients, recipient)
	}
	me := c.session.me
	coverage := t.coverage(len(recipients))
	if metastore.Owner == "" || metastore.Owner != me.Name && !slices.Contains(me.groups, metastore.Owner) {
		coverage.Status, coverage.Reason, coverage.Hint = engine.Partial, reasonOwnRecipients, hintRecipientsDenied
		coverage.Detail = "the caller is no admin of the metastore, and is shown its own recipients only"
	}
	slices.SortFunc(recipients, func(a, b engine.Recipient) int { return cmp.Compare(a.Name, b.Name) })
	return engine.Section{Coverage: coverage, Document: document(recipients)}
}

func recipientsProblem(p *Problem) *Problem {
	if p.Reason == reasonPermission {
		p.Hint = hintRecipientsDenied
	}
	return p.absent(hintRecipientsAbsent)
}

func readRecipient(raw json.RawMessage) (r engine.Recipient, reason string) {
	o, ok := parseObject(raw)
	if !ok {
		return r, reasonBadType
	}
	var oks [5]bool
	var tokens []json.RawMessage
	r.Name, oks[0] = asText(o.members["name"])
	r.Authentication, oks[1] = asText(o.members["authentication_type"])
	r.Owner, oks[2] = asText(o.members["owner"])
	addresses, _ := parseObject(o.members["ip_access_list"])
	r.AllowedIPs, oks[3] = asTexts(addresses.members["allowed_ip_addresses"])
	oks[4] = absent(o.members["tokens"]) || json.Unmarshal(o.members["tokens"], &tokens) == nil
	switch {
	case oks != [5]bool{true, true, true, true, true}:
		return r, reasonBadType
	case r.Name == "", r.Authentication == "", r.Authentication == "TOKEN" && tokens == nil:
		return r, reasonMissing
	}
	if r.AllowedIPs == nil {
		r.AllowedIPs = []string{}
	}
	r.Tokens = []engine.RecipientToken{}
	for _, raw := range tokens {
		row, isObject := parseObject(raw)
		id, okID := asText(row.members["id"])
		created, okCreated := asInt(row.members["created_at"])
		var expires int64
		okExpires := absent(row.members["expiration_time"])
		if !okExpires {
			expires, okExpires = asInt(row.members["expiration_time"])
		}
		if !isObject || !okID || id == "" || !okCreated || !okExpires || expires != 0 && expires < created {
			return r, reasonBadType
		}
		r.Tokens = append(r.Tokens, engine.RecipientToken{ID: id, Created: created, Expires: expires})
	}
	return r, ""
}
