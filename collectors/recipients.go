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
	_, problem := c.getJSON(ctx, metastorePath, nil, &metastore)
	var rows []json.RawMessage
	if problem == nil {
		rows, problem = pagedRows(ctx, c, recipientsPath, "recipients", url.Values{"max_results": {"0"}}, true)
	}
	if problem != nil {
		return failed(problem.hinted(hintRecipientsDenied, hintRecipientsAbsent))
	}
	recipients := []engine.Recipient{}
	var t tally
	for i, raw := range rows {
		recipient, reason := readRecipient(raw, windowAt(c.now()))
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

func readRecipient(raw json.RawMessage, w window) (recipient engine.Recipient, reason string) {
	r := newListRow(raw)
	var tokens []json.RawMessage
	r.must(absent(r.member("tokens")) || json.Unmarshal(r.member("tokens"), &tokens) == nil, reasonBadType)
	recipient = engine.Recipient{
		Name: r.text("name"), Authentication: r.text("authentication_type"), Owner: r.text("owner"), Tokens: []engine.RecipientToken{},
		AllowedIPs: append([]string{}, r.within("ip_access_list").texts("allowed_ip_addresses")...),
	}
	r.must(recipient.Name != "" && recipient.Authentication != "" && (recipient.Authentication != "TOKEN" || tokens != nil), reasonMissing)
	for _, raw := range tokens {
		t := newListRow(raw)
		id, created, expires := t.text("id"), t.number("created_at"), int64(0)
		if given := t.number("expiration_time"); given != nil {
			expires = *given
		}
		if t.reason != "" || id == "" || created == nil || expires != 0 && expires < *created {
			return recipient, reasonBadType
		}
		if *created < w.from || *created > w.now || expires > w.to {
			return recipient, reasonBadTimestamp
		}
		recipient.Tokens = append(recipient.Tokens, engine.RecipientToken{ID: id, Created: *created, Expires: expires})
	}
	return recipient, r.reason
}
