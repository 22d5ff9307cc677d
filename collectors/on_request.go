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

const (
	federationPath       = "/api/2.0/accounts/{account}/federationPolicies"
	federationOfPath     = "/api/2.0/accounts/{account}/servicePrincipals/{id}/federationPolicies"
	reasonNoAccount      = "no_account"
	hintFederation       = "Ask for it with --with federation_policies and --account; it takes the rights of an account admin."
	hintNoAccount        = "Only an account tells this: read its workspaces with --account, or `account:` in patrol.yaml."
	hintFederationDenied = "Sign in to the account as an account admin, or leave federation_policies out of --with."
	hintFederationAbsent = "This account does not answer for federation policies: leave federation_policies out of --with."
)

// FederationPolicies reads who else's tokens may sign in, and as whom.
func (set) FederationPolicies() Collector {
	return Collector{
		Section:   engine.SectionFederation,
		Doc:       "federation policies of the account and of the workspace's service principals: whose tokens may sign in, and as whom",
		Calls:     []string{"GET " + federationPath, "GET /api/2.0/accounts/{account}/scim/v2/ServicePrincipals", "GET " + federationOfPath},
		Rights:    "account admin",
		Scopes:    []string{"authentication:read", "scim:read"},
		OnRequest: hintFederation,
		Order:     82,
		Read: func(ctx context.Context, c *Client) engine.Section {
			owner := func(p engine.FederationPolicy) string { return p.OwnerID }
			return readOfAccount(ctx, c, func(l *accountLists) *accountList[engine.FederationPolicy] { return &l.federation }, readFederation, owner)
		},
	}
}

// readFederation reads the policies of the account and of each of its service principals.
func readFederation(ctx context.Context, a *accountClient, t *tally) ([]engine.FederationPolicy, *Problem) {
	c := a.accountDirectory()
	defer c.http.CloseIdleConnections()
	root := "/api/2.0/accounts/" + a.id
	var policies []engine.FederationPolicy
	take := func(principal scimRow, raw json.RawMessage) {
		policy, reason := readFederationPolicy(raw, principal.id)
		if reason != "" {
			t.add(reason, "a federation policy of %s has no id, issuer or subject that can be read", engine.SafeText(firstOf(principal.id, "the account")))
			return
		}
		if principal.id != "" {
			policy.OwnerID, policy.OwnerName, policy.OwnerLabel = principal.id, principal.text("applicationId"), principal.text("displayName")
		}
		policies = append(policies, policy)
	}
	rows, problem := pagedRows(ctx, c, root+"/federationPolicies", "policies", nil, true)
	for _, raw := range rows {
		take(scimRow{}, raw)
	}
	if problem != nil {
		return nil, problem.hinted(hintFederationDenied, hintFederationAbsent)
	}
	principals, problem := servicePrincipals(ctx, c, t)
	if problem != nil {
		return nil, problem
	}
	path := func(id string) string { return root + "/servicePrincipals/" + id + "/federationPolicies" }
	if problem := eachOfPrincipals(ctx, c, t, principals, path, "policies", true, take); problem != nil {
		return nil, problem.hinted(hintFederationDenied, hintFederationAbsent)
	}
	slices.SortFunc(policies, func(a, b engine.FederationPolicy) int {
		return cmp.Or(cmp.Compare(a.OwnerID, b.OwnerID), cmp.Compare(a.ID, b.ID))
	})
	return policies, nil
}

// readFederationPolicy reads a row of an owner, "" for the account. A policy of a
// service principal names one subject, one of the account none.
func readFederationPolicy(raw json.RawMessage, owner string) (p engine.FederationPolicy, reason string) {
	r := newListRow(raw)
	oidc := r.within("oidc_policy")
	p = engine.FederationPolicy{
		ID: r.text("uid"), Issuer: oidc.text("issuer"), Subject: oidc.text("subject"), SubjectClaim: firstOf(oidc.text("subject_claim"), "sub"),
		Audiences: append([]string{}, oidc.texts("audiences")...),
		OwnKeys:   !absent(oidc.member("jwks_uri")) || !absent(oidc.member("jwks_json")),
	}
	of := r.id("service_principal_id")
	r.must(of == "" || of == owner, reasonBadType)
	r.must(p.ID != "" && p.Issuer != "" && (owner == "" || p.Subject != ""), reasonMissing)
	return p, r.reason
}

const (
	customAppsPath    = "/api/2.0/accounts/{account}/oauth2/custom-app-integrations"
	publishedAppsPath = "/api/2.0/accounts/{account}/oauth2/published-app-integrations"
	hintApps          = "Ask for it with --with oauth_apps and --account; it takes the rights of an account admin."
	hintAppsDenied    = "Sign in to the account as an account admin, or leave oauth_apps out of --with."
	hintAppsAbsent    = "This account does not answer for OAuth apps: leave oauth_apps out of --with."
)

// OAuthApps reads which applications sign people in, and for how long.
func (set) OAuthApps() Collector {
	return Collector{
		Section:   engine.SectionOAuthApps,
		Doc:       "OAuth apps of the account: their scopes, and how long their tokens live",
		Calls:     []string{"GET " + customAppsPath, "GET " + publishedAppsPath},
		Rights:    "account admin",
		Scopes:    []string{"authentication:read"},
		OnRequest: hintApps,
		Order:     84,
		Read: func(ctx context.Context, c *Client) engine.Section {
			return readOfAccount(ctx, c, func(l *accountLists) *accountList[engine.OAuthApp] { return &l.apps }, readApps, nil)
		},
	}
}

func readApps(ctx context.Context, a *accountClient, t *tally) ([]engine.OAuthApp, *Problem) {
	c := a.forSection(engine.SectionOAuthApps)
	defer c.http.CloseIdleConnections()
	var apps []engine.OAuthApp
	for _, kind := range []string{"custom", "published"} {
		rows, problem := pagedRows(ctx, c, "/api/2.0/accounts/"+a.id+"/oauth2/"+kind+"-app-integrations", "apps", nil, true)
		if problem != nil {
			return nil, problem.hinted(hintAppsDenied, hintAppsAbsent)
		}
		for _, raw := range rows {
			app, reason := readApp(raw, kind == "published")
			if reason != "" {
				t.add(reason, "a %s OAuth app has no id, scopes or lifetimes that can be read", kind)
				continue
			}
			apps = append(apps, app)
		}
	}
	slices.SortFunc(apps, func(a, b engine.OAuthApp) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return apps, nil
}

func readApp(raw json.RawMessage, published bool) (app engine.OAuthApp, reason string) {
	r := newListRow(raw)
	lives := r.within("token_access_policy")
	minutes := func(key string) int64 {
		n := lives.number(key)
		r.must(n == nil || *n > 0, reasonBadType)
		if n == nil {
			return 0
		}
		return *n
	}
	scopes, confidential, single := r.texts("scopes"), r.truth("confidential"), lives.truth("enable_single_use_refresh_tokens")
	app = engine.OAuthApp{
		ID: r.text("integration_id"), Name: r.text("name"), Published: published, Scopes: append([]string{}, scopes...),
		Confidential: confidential != nil && *confidential, SingleUse: single != nil && *single,
		AccessTTL: minutes("access_token_ttl_in_minutes"), RefreshTTL: minutes("refresh_token_ttl_in_minutes"), SessionTTL: minutes("absolute_session_lifetime_in_minutes"),
	}
	r.must(app.ID != "" && app.RefreshTTL != 0 && (published || scopes != nil), reasonMissing)
	return app, r.reason
}

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
