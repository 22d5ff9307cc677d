package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"patrol/engine"
)

const (
	secretsPath        = "/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets"
	hintSecretsDenied  = "Sign in as an account admin or a manager of the service principals, or leave service_principal_secrets out of --with."
	hintSecretsAbsent  = "This workspace does not answer for OAuth secrets: leave service_principal_secrets out of --with."
	hintSecretsRequest = "Ask for it with --with service_principal_secrets; it takes the rights of an account admin."
	mostSecretPages    = 100 // of one service principal, which has five secrets at most
	mostRefusals       = 3   // without a single answer: whoever may read none is not to ask for all
)

// ServicePrincipalSecrets reads the OAuth secrets of every service principal,
// a call or more for each. An ordinary workspace admin may not read them, so
// that they are read on request only.
func (set) ServicePrincipalSecrets() Collector {
	return Collector{
		Section:   engine.SectionSecrets,
		Doc:       "OAuth secrets of service principals: when they were made and when they expire, never their values",
		Calls:     []string{"GET " + scimPath + "ServicePrincipals", "GET " + secretsPath},
		Rights:    "account admin, or manager of each service principal",
		Scopes:    []string{"authentication:read", "scim:read"},
		OnRequest: hintSecretsRequest,
		Order:     80,
		Read:      readSecrets,
	}
}

// secretReader gathers the secrets of one service principal after the other:
// the client's rate is the limit, so that there is nothing to gain by more at once.
type secretReader struct {
	tally
	secrets  engine.Secrets
	answered int
	refused  int
}

func readSecrets(ctx context.Context, c *Client) engine.Section {
	r := secretReader{secrets: engine.Secrets{}}
	var principals []scimRow
	problem := scimRows(ctx, c, "ServicePrincipals", "id,applicationId,displayName", &r.tally, func(row scimRow) {
		principals = append(principals, row)
	})
	if problem != nil {
		return failed(problem)
	}
	for _, principal := range principals {
		if problem := r.read(ctx, c, principal); problem != nil {
			return failed(problem)
		}
	}
	slices.SortFunc(r.secrets, func(a, b engine.Secret) int {
		return cmp.Or(cmp.Compare(a.OwnerID, b.OwnerID), cmp.Compare(a.ID, b.ID))
	})
	coverage := r.coverage(len(r.secrets))
	if coverage.Reason == reasonPermission {
		coverage.Hint = hintSecretsDenied
	}
	return engine.Section{Coverage: coverage, Document: document(r.secrets)}
}

// read adds the secrets of a service principal. One that may not be read leaves
// the section partial, unless all are refused.
func (r *secretReader) read(ctx context.Context, c *Client, principal scimRow) *Problem {
	rows, problem := secretRows(ctx, c, principal.id)
	switch {
	case problem == nil:
		r.answered++
		r.add(principal, rows)
	case problem.Code == "RESOURCE_DOES_NOT_EXIST", problem.Code == "NOT_FOUND":
		r.note("service principal %s went away meanwhile", engine.SafeText(principal.id))
	case problem.Reason == reasonPermission:
		problem.Hint = hintSecretsDenied
		if r.refused++; r.answered == 0 && r.refused >= mostRefusals {
			return problem
		}
		r.tally.add(reasonPermission, "the secrets of service principal %s may not be read", engine.SafeText(principal.id))
	default:
		return problem.absent(hintSecretsAbsent)
	}
	return nil
}

func (r *secretReader) add(principal scimRow, rows []json.RawMessage) {
	for _, raw := range rows {
		secret, reason := readSecret(raw)
		if reason != "" {
			r.tally.add(reason, "a secret of service principal %s has no id, status or dates that can be read", engine.SafeText(principal.id))
			continue
		}
		secret.OwnerID = principal.id
		secret.OwnerName = principal.text("applicationId", &r.tally)
		secret.OwnerLabel = principal.text("displayName", &r.tally)
		r.secrets = append(r.secrets, secret)
	}
}

// secretRows reads all pages.
func secretRows(ctx context.Context, c *Client, principal string) ([]json.RawMessage, *Problem) {
	const next = "next_page_token"
	var rows []json.RawMessage
	path := "/api/2.0/accounts/servicePrincipals/" + url.PathEscape(principal) + "/credentials/secrets"
	query, seen := url.Values{}, map[string]bool{}
	for {
		page, answer, problem := c.getList(ctx, path, query, "secrets", next)
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
		case len(seen) >= mostSecretPages:
			return nil, implausible(reasonEndless, "GET %s: the pages do not end: %d so far", path, len(seen)+1)
		}
		seen[token] = true
		query.Set("page_token", token)
	}
}

func readSecret(raw json.RawMessage) (s engine.Secret, reason string) {
	o, ok := parseObject(raw)
	if !ok {
		return s, reasonBadType
	}
	var okID, okStatus bool
	s.ID, okID = asText(o.members["id"])
	s.Status, okStatus = asText(o.members["status"])
	switch {
	case !okID, !okStatus:
		return s, reasonBadType
	case s.ID == "", s.Status == "", absent(o.members["create_time"]):
		return s, reasonMissing
	}
	if s.Created, ok = asInstant(o.members["create_time"]); !ok {
		return s, reasonBadTimestamp
	}
	s.Expires = engine.NeverExpires
	if raw := o.members["expire_time"]; !absent(raw) {
		if s.Expires, ok = asInstant(raw); !ok {
			return s, reasonBadTimestamp
		}
	}
	return s, ""
}

// asInstant reads a time of RFC 3339 as ms.
func asInstant(raw json.RawMessage) (int64, bool) {
	text, ok := asText(raw)
	at, err := time.Parse(time.RFC3339Nano, text)
	return at.UnixMilli(), ok && err == nil
}
