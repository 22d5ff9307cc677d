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

func readSecrets(ctx context.Context, c *Client) engine.Section {
	secrets := engine.Secrets{}
	var t tally
	list := principalList{
		path: func(id string) string {
			return "/api/2.0/accounts/servicePrincipals/" + url.PathEscape(id) + "/credentials/secrets"
		},
		key: "secrets", denied: hintSecretsDenied, absent: hintSecretsAbsent,
	}
	problem := list.read(ctx, c, &t, func(principal scimRow, raw json.RawMessage) {
		secret, reason := readSecret(raw)
		if reason != "" {
			t.add(reason, "a secret of service principal %s has no id, status or dates that can be read", engine.SafeText(principal.id))
			return
		}
		secret.OwnerID = principal.id
		secret.OwnerName = principal.text("applicationId", &t)
		secret.OwnerLabel = principal.text("displayName", &t)
		secrets = append(secrets, secret)
	})
	if problem != nil {
		return failed(problem)
	}
	slices.SortFunc(secrets, func(a, b engine.Secret) int {
		return cmp.Or(cmp.Compare(a.OwnerID, b.OwnerID), cmp.Compare(a.ID, b.ID))
	})
	coverage := t.coverage(len(secrets))
	if coverage.Reason == reasonPermission {
		coverage.Hint = hintSecretsDenied
	}
	return engine.Section{Coverage: coverage, Document: document(secrets)}
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
	if s.Scopes, ok = asTexts(o.members["scopes"]); !ok {
		return s, reasonBadType
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
