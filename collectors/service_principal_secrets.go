package collectors

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

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
	principals, problem := servicePrincipals(ctx, c, &t)
	if problem != nil {
		return failed(problem)
	}
	path := func(id string) string { return "/api/2.0/accounts/servicePrincipals/" + id + "/credentials/secrets" }
	problem = eachOfPrincipals(ctx, c, &t, principals, path, "secrets", false, func(principal scimRow, raw json.RawMessage) {
		secret, reason := readSecret(raw, windowAt(c.now()))
		if reason != "" {
			t.add(reason, "a secret of service principal %s has no id, status or dates that can be read", engine.SafeText(principal.id))
			return
		}
		secret.OwnerID, secret.OwnerName, secret.OwnerLabel = principal.id, principal.text("applicationId"), principal.text("displayName")
		secrets = append(secrets, secret)
	})
	if problem != nil {
		return failed(problem.hinted(hintSecretsDenied, hintSecretsAbsent))
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

func readSecret(raw json.RawMessage, w window) (s engine.Secret, reason string) {
	r := newListRow(raw)
	s = engine.Secret{ID: r.text("id"), Status: r.text("status"), Scopes: r.texts("scopes"), Expires: engine.NeverExpires}
	r.must(s.ID != "" && s.Status != "" && !absent(r.member("create_time")), reasonMissing)
	s.Created = r.instant("create_time")
	if !absent(r.member("expire_time")) {
		s.Expires = r.instant("expire_time")
		r.must(s.Expires >= s.Created && s.Expires <= w.to, reasonBadTimestamp)
	}
	r.must(s.Created >= w.from && s.Created <= w.now, reasonBadTimestamp)
	return s, r.reason
}
